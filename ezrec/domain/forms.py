"""Reads JSON into types. The one place that makes msgspec's decoders: their making is not safe in threads.

msgspec (0.22) describes a dataclass when it first meets it; two threads that do so at once crash the
interpreter. Two lanes that read `status.json` at their start did, about once in forty starts.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_guard = threading.Lock()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def decode(data: bytes | bytearray, form: type[T]) -> T:
    """Raises `msgspec.DecodeError`, a `ValueError`, for what has another form."""
    decoder = _decoders.get(form)
    if decoder is None:
        with _guard:
            decoder = _decoders.get(form) or _decoders.setdefault(form, msgspec.json.Decoder(form))
    made: T = decoder.decode(data)
    return made
