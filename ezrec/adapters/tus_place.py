"""Where an upload stands over there: the state file beside a job's video. Knows no HTTP."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ezrec import durable, plain
from ezrec.domain import forms

_log = logging.getLogger("ezrec.upload")


@dataclass(frozen=True, slots=True)
class Place:
    """What the state file holds: where the upload is, and of which bytes it is."""

    url: str
    bucket: str
    key: str
    size: int
    mtime_ns: int


_LARGEST = 1 << 16


class PlaceFile:
    """Keeps a `Place`, or nothing where `path` is None."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def recall(self, endpoint: str, wanted: Place) -> Place | None:
        """The place of the same bytes as `wanted`, whose `url` is yet to be known."""
        if self._path is None:
            return None
        try:
            place = forms.decode(plain.read(self._path, _LARGEST), Place)
        except (OSError, msgspec.DecodeError):
            return None
        # The token goes where the URL points: a state file from elsewhere must not lead it astray.
        same = Place(place.url, wanted.bucket, wanted.key, wanted.size, wanted.mtime_ns)
        return place if place == same and place.url.startswith(f"{endpoint}/") else None

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
