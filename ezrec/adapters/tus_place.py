"""Where an upload stands over there: the state file beside a job's video. Knows no HTTP."""

from __future__ import annotations

import base64
import binascii
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from ezrec import durable, plain
from ezrec.domain import forms
from ezrec.domain.booking import Instant

_log = logging.getLogger("ezrec.upload")


@dataclass(frozen=True, slots=True)
class Place:
    """What the state file holds: where the upload is, and of which bytes."""

    url: str
    bucket: str
    key: str
    size: int
    mtime_ns: int
    expires: Instant | None = None  # the address, counted from its making

    def is_of(self, other: Place) -> bool:
        """True when both are of the same bytes for the same object."""
        mine, theirs = (replace(each, url="", expires=None) for each in (self, other))
        return mine == theirs


def version_of(url: str) -> str:
    """The version that an object gets by the upload at `url`; empty where the URL does not tell."""
    last = url.rpartition("/")[2]
    try:
        named = base64.urlsafe_b64decode(last + "=" * (-len(last) % 4)).decode()
    except (binascii.Error, ValueError):
        return ""
    return named.rpartition("/")[2]


_LARGEST = 1 << 16


class PlaceFile:
    """Keeps a `Place`, or nothing where `path` is None."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def recall(self, endpoint: str, wanted: Place) -> Place | None:
        """The place of the same bytes as `wanted`, whose `url` is yet to be known."""
        place = self.last()
        # The token goes where the URL points: a state file from elsewhere must not lead it astray.
        is_ours = place is not None and place.is_of(wanted) and place.url.startswith(f"{endpoint}/")
        return place if is_ours else None

    def last(self) -> Place | None:
        """The last place that was remembered, of whichever bytes."""
        if self._path is None:
            return None
        try:
            return forms.decode(plain.read(self._path, _LARGEST), Place)
        except (OSError, msgspec.DecodeError):
            return None

    def remember(self, place: Place) -> None:
        if self._path is None:
            return
        try:
            durable.write(self._path, msgspec.json.encode(place))
        except OSError as fault:
            # A full disk must not stop the upload that would empty it.
            _log.warning("%s: not resumable after a restart: %s", place.key, fault.strerror)

    def forget(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)
