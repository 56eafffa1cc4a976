"""Prints what is generated from the settings' table, or brings a clone's pages up to date.

`python -m ezrec.settings env|table` prints; `python -m ezrec.settings write` rewrites `.env.example`,
`docs/settings.md` and the README's table, in the working directory.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ezrec.settings.docs import env_example, page, refreshed, table

if __name__ == "__main__":
    if sys.argv[1] == "write":
        readme = Path("README.md")
        readme.write_text(refreshed(readme.read_text()))
        Path(".env.example").write_text(env_example())
        Path("docs/settings.md").write_text(page())
    else:
        print({"env": env_example, "table": table}[sys.argv[1]](), end="")
