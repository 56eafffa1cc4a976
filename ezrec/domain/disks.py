"""Disks beside the spool's that hold something of ours: state, logs, caches. What is wrong with one. Pure.

None of them can stop a recording; a full one makes the box mute, which somebody has to hear in time.
"""

from __future__ import annotations

from dataclasses import dataclass

from ezrec.domain.room import LEAST_INODES

NEARLY_FULL = 32 << 20  # bytes: some hours of logs, and every file of the state many times


@dataclass(frozen=True, slots=True)
class OtherDisk:
    """One disk. `holds`: the settings that point to it. `inodes` None: it does not count them."""

    holds: tuple[str, ...]
    place: str
    free_bytes: int
    inodes: int | None = None
    is_read_only: bool = False

    @property
    def is_short(self) -> bool:
        return self.free_bytes < NEARLY_FULL or (self.inodes is not None and self.inodes < LEAST_INODES)

    @property
    def wrong(self) -> str:
        """What is wrong with it, for a person; empty while nothing is."""
        named = f"the disk of {', '.join(self.holds)} ({self.place})"
        if self.is_read_only:
            return f"{named} is read-only"
        if not self.is_short:
            return ""
        if self.free_bytes < NEARLY_FULL:
            return f"{named} is nearly full: {self.free_bytes / 1e6:.0f} MB free"
        return f"{named} takes only {self.inodes} more files"
