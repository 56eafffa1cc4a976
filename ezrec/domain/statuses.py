"""The order of a booking's statuses, for every backend alike: forward only, and never out of cancelled."""

from __future__ import annotations

from ezrec.domain.booking import FINISHED

# A row without a status is as good as confirmed.
OPEN = ("", "confirmed", "scheduled")


def statuses_before(status: str) -> tuple[str, ...]:
    """The statuses from which a booking may move to `status`; "" stands for NULL as well.

    A status that is not in the order, `cancelled` above all, is in no answer: nothing moves it.
    Raises `ValueError` for a `status` that nothing may move to.
    """
    if status not in FINISHED:
        raise ValueError(f"{status!r} is no step of a booking: {', '.join(FINISHED)}")
    return OPEN + FINISHED[: FINISHED.index(status)]


def normal(status: str | None) -> str:
    """A status as it is compared: rows have been seen with capitals and blanks."""
    return (status or "").strip().lower()
