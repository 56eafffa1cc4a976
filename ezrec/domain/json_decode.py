"""Reads JSON into types. The only place that makes msgspec's decoders, because making one is not thread-safe.

msgspec (0.22) analyses a dataclass when it first meets it; two threads that do so at once crash the
interpreter. Two threads that read `status.json` at their start did so about once in forty starts.

Dates are kept within years in which adding hours or changing the zone cannot leave the calendar.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_YEARS = range(1900, 2500)
# Finds a date of other years in the bytes: looking at every value would cost more than reading them all. It
# begins with `-`, which is found faster than a digit.
_ODD_DATE = re.compile(rb"-\d\d-\d\d(?<!19\d\d-\d\d-\d\d)(?<!2[0-4]\d\d-\d\d-\d\d)")

_guard = threading.Lock()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def decode(data: bytes | bytearray, form: type[T]) -> T:
    """Read JSON as the type `form`. Raises `msgspec.DecodeError`, a `ValueError`, also for odd years."""
    decoder = _decoders.get(form)
    if decoder is None:
        with _guard:
            decoder = _decoders.get(form) or _decoders.setdefault(form, msgspec.json.Decoder(form))
    try:
        made: T = decoder.decode(data)
    except RecursionError:
        raise msgspec.DecodeError("nested too deep") from None
    if _may_be_odd(data):
        for date in _dates_in(made):
            if date.year not in _YEARS:
                raise msgspec.ValidationError(f"the year {date.year} cannot be")
    return made


def _may_be_odd(data: bytes | bytearray) -> bool:
    is_hidden = b"\\" in data and b"\\u" in data  # a digit may be written as an escape
    return is_hidden or _ODD_DATE.search(data) is not None


def _dates_in(value: Any) -> Iterator[datetime]:
    if isinstance(value, datetime):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _dates_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _dates_in(inner)
    else:  # a dataclass or a Struct; anything else has no such fields
        names = getattr(value, "__struct_fields__", ()) or getattr(value, "__dataclass_fields__", ())
        for name in names:
            yield from _dates_in(getattr(value, name))
