"""The pages made of the table of settings are those that `python -m ezrec.settings write` makes."""

from __future__ import annotations

import re
from pathlib import Path

from ezrec.settings import docs

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_table_of_settings_is_fresh() -> None:
    made = re.search(r"<!-- settings: [^\n]*-->\n(.*)<!-- end of settings -->", README, re.DOTALL)
    assert made, "the README has lost its markers"
    assert made[1] == docs.table(docs.COMMON), "stale: python -m ezrec.settings write"
    assert len(docs.COMMON) == made[1].count("\n") - 2, "a name in COMMON is no setting"
    assert (ROOT / "docs" / "settings.md").read_text() == docs.page(), "stale: python -m ezrec.settings write"


def test_the_example_of_the_settings_is_fresh() -> None:
    assert (ROOT / ".env.example").read_text() == docs.env_example(), "stale: python -m ezrec.settings write"
