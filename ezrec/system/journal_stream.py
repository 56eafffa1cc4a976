"""What a service writes goes to the system's journal: there a line begins with its level, as `<4>`.

The journal takes the level from it (sd-daemon(3)), so `journalctl -p warning` finds the warnings. It dates
each line itself. systemd says in JOURNAL_STREAM which file leads there: whoever has redirected the output
since, to a file or a pipe, gets plain lines.
"""

from __future__ import annotations

import os
from typing import Any

_PRIORITIES = ((50, 2), (40, 3), (30, 4), (20, 6))  # levels of `logging`, and syslog's
_DEBUG = 7
ERROR = 40


def leads_to_journal(stream: Any) -> bool:
    """Whether what is written to this file is read by the journal."""
    told = os.environ.get("JOURNAL_STREAM")
    if not told:
        return False
    try:
        info = os.fstat(stream.fileno())
    except (AttributeError, OSError, ValueError):  # closed, or no file at all
        return False
    return told == f"{info.st_dev}:{info.st_ino}"


def marked(text: str, level: int) -> str:
    """Each line of a text with its level in front: the journal makes an entry of each."""
    mark = f"<{next((number for least, number in _PRIORITIES if level >= least), _DEBUG)}>"
    return "\n".join(mark + line if line else line for line in text.split("\n"))


def for_stream(text: str, stream: Any, level: int = ERROR) -> str:
    """The text as it is to be written to this file."""
    return marked(text, level) if leads_to_journal(stream) else text
