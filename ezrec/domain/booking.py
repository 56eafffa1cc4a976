"""A booking: who plays where, and when. Read from rows of every form that was seen in use.

A window is the half-open interval [start, end). Inside the program every instant
is zone-aware UTC; times that carry no zone are read in the device's zone.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Annotated

from msgspec import Meta

from ezrec.domain.names import BadName, JobId, safe_id, shown

Instant = Annotated[datetime, Meta(tz=True)]

# A bare end time before the bare start time is read as "after midnight" only up to this length:
# 23:00–00:30 is a late match, 20:00–19:00 is a typing error.
OVERNIGHT = timedelta(hours=6)
# No court is let for longer; a row that says so is a typing error and would fill the disk.
LONGEST = timedelta(hours=24)

# Other years are a typing error, and arithmetic with them could leave the calendar.
YEARS = range(2000, 2200)
_TEXTS = ("status", "date", "start_time", "end_time", "user_id", "camera_id")  # the columns that are read
_REMEMBERED = 2048  # rows; two seasons of a busy court
_LONGEST_TEXT = 200  # characters of any field; an id has its own, shorter limit

# A file's time may be anything; a box without a battery clock begins in 1970.
_STAMPED_YEARS = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2199, 12, 31, tzinfo=UTC))

CANCELLED = ("cancelled", "canceled")
FINISHED = ("completed", "video_processed", "video_uploaded")


class BadBooking(ValueError):
    """The row is not a booking; the message says what is wrong, in one line."""


def instant_of(stamp: float) -> datetime:
    """The instant of a file's time in seconds since 1970; kept between 1970 and 2199."""
    first, last = _STAMPED_YEARS
    return first + timedelta(seconds=min(max(0.0, stamp), (last - first).total_seconds()))


@dataclass(frozen=True, slots=True)
class Window:
    """The half-open interval [start, end), both aware."""

    start: Instant
    end: Instant

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    def padded(self, before_s: float, after_s: float) -> Window:
        """The window with `before_s` and `after_s` seconds added at its edges."""
        return Window(self.start - timedelta(seconds=before_s), self.end + timedelta(seconds=after_s))

    @property
    def length_s(self) -> float:
        return (self.end - self.start).total_seconds()


@dataclass(frozen=True, slots=True)
class Booking:
    """One row of `bookings` that is fit for use."""

    id: JobId
    start: Instant
    end: Instant
    user_id: str = ""
    camera_id: str = "0"
    status: str = "confirmed"

    @property
    def window(self) -> Window:
        return Window(self.start, self.end)

    @property
    def is_cancelled(self) -> bool:
        return self.status in CANCELLED

    @property
    def is_finished(self) -> bool:
        """True when the cloud already says that this booking was recorded."""
        return self.status in FINISHED


def parse_booking(row: object, zone: tzinfo) -> Booking:
    """Make a `Booking` of one row of `bookings`. Raises `BadBooking`.

    `zone` is the device's zone, for times without one. Rows are cached, because the same rows come with every
    fetch.
    """
    if not isinstance(row, Mapping):
        raise BadBooking(f"a booking must be a JSON object, not {type(row).__name__}")
    try:
        booking_id = safe_id(row["id"])
    except KeyError:
        raise BadBooking("the booking has no id") from None
    except BadName as fault:
        raise BadBooking(str(fault)) from None
    return _parsed(booking_id, tuple(_text(row, name) for name in _TEXTS), zone)


@functools.lru_cache(_REMEMBERED)
def _parsed(booking_id: JobId, texts: tuple[str | None, ...], zone: tzinfo) -> Booking:
    row = dict(zip(_TEXTS, texts, strict=True))
    day = _date(row)
    start, start_is_bare = _instant(row, "start_time", day, zone)
    end, end_is_bare = _instant(row, "end_time", day, zone)
    if end <= start and start_is_bare and end_is_bare:
        end = _later_reading(row, day, start, end, zone)
    if start.year not in YEARS or end.year not in YEARS:
        raise BadBooking(f"booking {booking_id} is in the year {start.year}, which cannot be")
    if end <= start:
        raise BadBooking(f"booking {booking_id} ends before it starts: {span_text(Window(start, end), zone)}")
    if end - start > LONGEST:
        raise BadBooking(f"booking {booking_id} lasts {end - start}: longer than {LONGEST}")
    return Booking(
        id=booking_id,
        start=start,
        end=end,
        user_id=row["user_id"] or "",
        camera_id=row["camera_id"] or "0",
        status=normal(row["status"] or "confirmed"),
    )


def _later_reading(
    row: Mapping[str, object], day: date | None, start: datetime, end: datetime, zone: tzinfo
) -> datetime:
    """A second reading of a bare end that is before its start: the time that comes twice in the night in
    which summer time ends, or the next morning.
    """
    second, _ = _instant(row, "end_time", day, zone, fold=1)
    if start < second:
        return second
    if day is None or day == date.max:
        return end
    morning, _ = _instant(row, "end_time", day + timedelta(days=1), zone)
    is_midnight = not (local := morning.astimezone(zone)).hour and not local.minute  # the end of the day
    return morning if (is_midnight and end < start) or morning - start <= OVERNIGHT else end


def _text(row: Mapping[str, object], key: str) -> str | None:
    value = row.get(key)
    if value is not None and not isinstance(value, str):
        raise BadBooking(f"{key} must be text, not {type(value).__name__}")
    if value is not None and len(value) > _LONGEST_TEXT:
        raise BadBooking(f"{key} has {len(value)} characters, more than {_LONGEST_TEXT}")
    return value


def _date(row: Mapping[str, object]) -> date | None:
    text = _text(row, "date")
    if text is None:
        return None
    text = text.strip()
    try:
        if text[10:11] not in ("", "T", " "):  # the date of a timestamp will do, other text will not
            raise ValueError(text)
        return date.fromisoformat(text[:10])
    except ValueError:
        raise BadBooking(f"date {shown(text)} is not YYYY-MM-DD") from None


def _instant(
    row: Mapping[str, object], key: str, day: date | None, zone: tzinfo, fold: int = 0
) -> tuple[datetime, bool]:
    """The instant under `key` in UTC, and whether it was a bare time of day.

    Of a time that comes twice in a night `fold` chooses: 0 the first, 1 the second.
    """
    text = _text(row, key)
    if text is None:
        raise BadBooking(f"the booking has no {key}")
    text = text.strip()
    try:
        if "T" in text or (len(text) > 10 and text[4:5] == "-"):
            moment = datetime.fromisoformat(text)
            return _utc(moment, zone), False
        if text[1:2] == ":":  # `9:00`, as people write it
            text = f"0{text}"
        if text[2:3] != ":":  # `18-00` would pass as 18 o'clock at the offset -00
            raise ValueError(text)
        if day is None:
            time.fromisoformat(text)
            raise BadBooking(f"{key} {shown(text)} needs a date beside it")
        if text in ("24:00", "24:00:00"):  # what SQL calls the end of the day
            day, text = day + timedelta(days=1), "00:00"
        clock = time.fromisoformat(text).replace(fold=fold)
        return _utc(datetime.combine(day, clock), zone), True
    except BadBooking:
        raise
    except (ValueError, OverflowError):
        raise BadBooking(f"{key} {shown(text)} is not a time") from None


def _utc(moment: datetime, zone: tzinfo) -> datetime:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return moment.astimezone(UTC)


# A row without a status counts as confirmed.
OPEN = ("", "confirmed", "scheduled")


def statuses_before(status: str) -> tuple[str, ...]:
    """The statuses from which a booking may move to `status`; "" also means NULL.

    Other statuses, such as `cancelled`, are never moved. Raises `ValueError` for an unknown `status`.
    """
    if status not in FINISHED:
        raise ValueError(f"{status!r} is no step of a booking: {', '.join(FINISHED)}")
    return OPEN + FINISHED[: FINISHED.index(status)]


def normal(status: str | None) -> str:
    """A status for comparison: some rows have capitals and blanks."""
    return (status or "").strip().lower()


def overlapping(booking: Booking, others: Iterable[Booking]) -> list[Booking]:
    """Those of `others` that the same camera is to record at the same time, earliest first."""
    found = [
        other
        for other in others
        if other.id != booking.id
        and other.camera_id == booking.camera_id
        and not other.is_cancelled
        and other.start < booking.end
        and booking.start < other.end
    ]
    return sorted(found, key=lambda other: other.start)


def span_text(window: Window, zone: tzinfo) -> str:
    """A window on the club's clock, for people: `2026-06-01 18:00 – 19:30 CEST`.

    The second date, and seconds, only where they say something.
    """
    begins, ends = window.start.astimezone(zone), window.end.astimezone(zone)
    clock = "%H:%M" if begins.second == ends.second == 0 else "%H:%M:%S"
    second = clock if begins.date() == ends.date() else f"%Y-%m-%d {clock}"
    return f"{begins:%Y-%m-%d} {begins.strftime(clock)} – {ends.strftime(second)} {begins:%Z}".rstrip()


def window_columns(window: Window, zone: tzinfo) -> dict[str, str]:
    """The columns `date`, `start_time` and `end_time`, in the zone's local time.

    Bare times of day where they are clear. A window over midnight or over a change of the clocks is written
    with offsets: 02:30 may come twice in a night, or never. Raises `BadBooking`.
    """
    start, end = window.start.astimezone(zone), window.end.astimezone(zone)
    bare = {
        "date": start.date().isoformat(),
        "start_time": start.time().isoformat(),
        "end_time": end.time().isoformat(),
    }
    if start.date() == end.date() and start.utcoffset() == end.utcoffset() and _says(bare, zone, window):
        return bare
    whole = {**bare, "start_time": start.isoformat(), "end_time": end.isoformat()}
    parse_booking({"id": "window", **whole}, zone)
    return whole


def _says(columns: dict[str, str], zone: tzinfo, window: Window) -> bool:
    try:
        return parse_booking({"id": "window", **columns}, zone).window == window
    except BadBooking:
        return False
