"""A window as the columns of a row: the other direction of `booking.parse_booking`."""

from __future__ import annotations

from datetime import tzinfo

from ezrec.domain.booking import BadBooking, Window, parse_booking


def window_columns(window: Window, zone: tzinfo) -> dict[str, str]:
    """The columns `date`, `start_time` and `end_time`, in the zone's local time.

    Bare times of day wherever they say enough. A window over midnight, or over a change of the clocks, is
    written with its offsets: 02:30 can be twice in one night, or never. Raises `BadBooking`.
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
