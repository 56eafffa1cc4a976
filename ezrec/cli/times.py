"""Moments as a person types them. Pure: the day and the zone that are meant are given."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo

import click

from ezrec.domain.booking import OVERNIGHT
from ezrec.domain.names import shown

_YEARS = range(2000, 2200)  # outside of them it is a typing error


class BadTime(click.UsageError):
    """Not a time; the message says what would be one."""


def parse_end(text: str, start: datetime, zone: tzinfo) -> datetime:
    """Read the end of what begins at `start`: a bare time of day is one of the start's day, or one soon
    after midnight that belongs to the same night."""
    day = start.astimezone(zone).date()
    end = parse_time(text, day, zone)
    if end <= start and _is_bare(text):
        next_day = parse_time(text, day + timedelta(days=1), zone)
        return next_day if next_day - start <= OVERNIGHT else end
    return end


def parse_time(text: str, day: date, zone: tzinfo) -> datetime:
    """Read `18:00`, `18:00:30`, `2026-06-01 18:00`, or ISO 8601, to an instant in UTC.

    `day` is meant by a time that names none, `zone` by a time without an offset.
    """
    text = text.strip()
    try:
        if _is_bare(text):
            moment = datetime.combine(day, time.fromisoformat(text))
        else:
            moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadTime(f"{shown(text)} is not a time such as 18:00 or '2026-06-01 18:00'") from None
    if moment.year not in _YEARS:
        raise BadTime(f"{shown(text)} is in the year {moment.year}")
    instant = (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    if moment.tzinfo is None and instant.astimezone(zone).replace(tzinfo=None) != moment:
        raise BadTime(f"{shown(text)} is never on the clock that night: it goes forward over it")
    return instant


def whole_second_after(moment: datetime) -> datetime:
    """The next whole second: a start that is seconds away is never moved into the past."""
    return moment if not moment.microsecond else moment.replace(microsecond=0) + timedelta(seconds=1)


def _is_bare(text: str) -> bool:
    """True for a time of day, which has its colon where a date has its third digit."""
    return text.strip()[2:3] == ":"
