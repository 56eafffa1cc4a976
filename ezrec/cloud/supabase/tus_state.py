"""Where an upload stands over there: the state file beside a job's video. Knows no HTTP."""

from __future__ import annotations

import base64
import binascii
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from ezrec.domain import json_decode
from ezrec.domain.booking import Instant
from ezrec.domain.chunk_size import LONGEST_S, ChunkSize, is_hosted
from ezrec.system import durable, plain_files

_log = logging.getLogger("ezrec.upload")


@dataclass(frozen=True, slots=True)
class UploadState:
    """What the state file holds: where the upload is, and of which bytes."""

    url: str
    bucket: str
    key: str
    size: int
    mtime_ns: int
    expires: Instant | None = None  # the address, counted from its making

    def is_of(self, other: UploadState) -> bool:
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


class UploadStateFile:
    """Keeps a `UploadState`, or nothing where `path` is None."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def recall(self, endpoint: str, wanted: UploadState) -> UploadState | None:
        """The place of the same bytes as `wanted`, whose `url` is yet to be known."""
        place = self.last()
        # The token goes where the URL points: a state file from elsewhere must not lead it astray.
        is_ours = place is not None and place.is_of(wanted) and place.url.startswith(f"{endpoint}/")
        return place if is_ours else None

    def last(self) -> UploadState | None:
        """The last place that was remembered, of whichever bytes."""
        if self._path is None:
            return None
        try:
            return json_decode.decode(plain_files.read(self._path, _LARGEST), UploadState)
        except (OSError, msgspec.DecodeError):
            return None

    def remember(self, place: UploadState) -> None:
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


class ChunkSizes:
    """For one upload. `looks`: who the server is may be told by its answers, and then counts.

    `on_limit` hears the largest piece of a server that has refused a larger one and taken this.
    """

    def __init__(
        self,
        pieces: ChunkSize,
        *,
        looks: bool = False,
        on_limit: Callable[[int], None] = lambda most: None,
        longest_s: float = LONGEST_S,
    ) -> None:
        self.pieces = pieces
        self._looks, self._on_limit, self._longest_s = looks, on_limit, longest_s
        self._offset = self._length = 0  # of the piece under way; no length: none is
        self._began = 0.0
        self._was_refused = False

    def heard(self, headers: Iterable[str]) -> None:
        if self._looks and is_hosted(headers):
            self.pieces = self.pieces.hosted()

    def begin(self, offset: int, left: int) -> int:
        """The length of the next piece."""
        self._offset, self._length = offset, min(self.pieces.size, left)
        self._began = time.monotonic()
        return self._length

    def is_too_long(self) -> bool:
        """True when a grown piece has had its time. Others have no limit: a line may be that slow."""
        return self.pieces.has_grown(self._length) and time.monotonic() - self._began > self._longest_s

    def taken(self) -> None:
        self.pieces = self.pieces.taken(self._length, time.monotonic() - self._began)
        self._length = 0
        if self._was_refused:
            self._was_refused = False
            self._on_limit(self.pieces.most)

    def refused(self, status: int, *, by_server: bool) -> bool:
        """True when the piece under way was called too large and the next one will be smaller."""
        is_for_size = status == 413
        smaller = self.pieces.refused(self._length) if is_for_size and self._length else None
        if is_for_size or (by_server and status < 500):
            self._length = 0  # whatever else the server has against it, its size is as good as before
        if smaller is None:
            return False
        self.pieces, self._was_refused = smaller, True
        return True

    def resumed(self, offset: int) -> None:
        """The server has named this offset, whatever went before."""
        if self._length:
            self.pieces = self.pieces.cut(self._length, max(0, offset - self._offset))
            self._length = 0
