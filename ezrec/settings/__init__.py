"""The settings: read once at the top, all faults at once. Nothing below `app/` reads the environment.

Each field of `definitions.py` carries its own help; `.env.example` and `docs/settings.md` are generated
from them (`python -m ezrec.settings write`), and a test says when they are stale.
"""

from ezrec.settings.definitions import DEFAULT_HOME, Settings
from ezrec.settings.load import NO_KEY, load
from ezrec.settings.types import Resolution

__all__ = ["DEFAULT_HOME", "NO_KEY", "Resolution", "Settings", "load"]
