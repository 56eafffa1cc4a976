"""The settings: read once at the top, all faults at once. Nothing below `app.py` reads the environment.

Each field of `table.py` carries its own help; `.env.example` and the README's table are generated from them
(`python -m ezrec.settings env|table`), and a test says when they are stale.
"""

from ezrec.settings.definitions import DEFAULT_HOME, Settings
from ezrec.settings.load import NO_KEY, load
from ezrec.settings.types import Resolution

__all__ = ["DEFAULT_HOME", "NO_KEY", "Resolution", "Settings", "load"]
