"""How much of a campaign a test run does: a share of it each time, all of it when it is asked for."""

from __future__ import annotations

import os


def large_campaigns() -> bool:
    """With EZREC_TEST_MATRIX=full: every pairing, every mutation, every kill. It takes many minutes more."""
    return os.environ.get("EZREC_TEST_MATRIX") == "full"


def times(few: int, many: int) -> int:
    """How often to do something."""
    return many if large_campaigns() else few
