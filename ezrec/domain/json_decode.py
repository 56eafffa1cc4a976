"""Reads JSON into types. The one place that makes msgspec's decoders: their making is not safe in threads.

msgspec (0.22) describes a dataclass when it first meets it; two threads that do so at once crash the
interpreter. Two lanes that read `status.json` at their start did, about once in forty starts.

No date that leaves here leaves the calendar when an hour is taken from it or another zone is asked for.
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
# Looked for in the bytes, because looking at every value would cost more than reading them: a date of other
# years. Begins with a sign, which is found faster than a digit.
_ODD_DATE = re.compile(rb"-\d\d-\d\d(?<!19\d\d-\d\d-\d\d)(?<!2[0-4]\d\d-\d\d-\d\d)")

_guard = threading.Lock()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def decode(data: bytes | bytearray, form: type[T]) -> T:
    """Raises `msgspec.DecodeError`, a `ValueError`: for another form, and for a date of no time of ours."""
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
                raise msgspec.ValidationError(f"the year {date.year} is not of our time")
    return made


def _may_be_odd(data: bytes | bytearray) -> bool:
    is_hidden = b"\\" in data and b"\\u" in data  # a digit may be written by its number
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
    else:  # a dataclass or a Struct, with slots or without; anything else has no such fields
        names = getattr(value, "__struct_fields__", ()) or getattr(value, "__dataclass_fields__", ())
        for name in names:
            yield from _dates_in(getattr(value, name))
