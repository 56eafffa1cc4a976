"""What a clock that nobody vouches for means here, in the words that every command uses. Pure.

A booking is recorded by the clock as it stands; what is past is judged by one that can be trusted only.
"""

from __future__ import annotations


def clock_words(*, is_synchronised: bool, waiting: int = 0) -> str:
    """`waiting`: bookings that are over, have no footage, and wait to be judged."""
    if is_synchronised:
        return "synchronised"
    means = "NOT synchronised: bookings are recorded by it as it stands, and none is called missed"
    if not waiting:
        return means
    over = "1 booking that is over waits" if waiting == 1 else f"{waiting} bookings that are over wait"
    return f"{means}; {over} for it"
