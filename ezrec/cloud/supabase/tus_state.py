"""How far an upload is (the state file beside a job's video), and how large its chunks are. Knows no HTTP."""

from __future__ import annotations

import base64
import binascii
import logging
import time
from collections.abc import Iterable
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
    """What the state file holds: the upload's URL, and of which bytes it is."""

    url: str
    bucket: str
    key: str
    size: int
    mtime_ns: int
    expires: Instant | None = None  # when the server drops the upload

    def is_of(self, other: UploadState) -> bool:
        """True when both are of the same bytes for the same object."""
        mine, theirs = (replace(each, url="", expires=None) for each in (self, other))
        return mine == theirs


def version_of(url: str) -> str:
    """The version that the object of the upload at `url` gets; empty where the URL does not show it."""
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

    def load(self, endpoint: str, wanted: UploadState) -> UploadState | None:
        """The state of an upload of the same bytes to the same object; the `url` of `wanted` is ignored."""
        state = self.read()
        # The token goes where the URL points: a state file from elsewhere must not lead it astray.
        is_ours = state is not None and state.is_of(wanted) and state.url.startswith(f"{endpoint}/")
        return state if is_ours else None

    def read(self) -> UploadState | None:
        """The state that was saved last, of whichever bytes."""
        if self._path is None:
            return None
        try:
            return json_decode.decode(plain_files.read(self._path, _LARGEST), UploadState)
        except (OSError, msgspec.DecodeError):
            return None

    def save(self, state: UploadState) -> None:
        if self._path is None:
            return
        try:
            durable.write(self._path, msgspec.json.encode(state))
        except OSError as fault:
            # A full disk must not stop the upload that would empty it.
            _log.warning("%s: not resumable after a restart: %s", state.key, fault.strerror)

    def delete(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)


class ChunkSizer:
    """The chunks of one upload. `detects_hosted`: the headers of answers may limit them too."""

    def __init__(
        self,
        current: ChunkSize,
        *,
        detects_hosted: bool = False,
        longest_s: float = LONGEST_S,
    ) -> None:
        self.current = current
        self._detects_hosted, self._longest_s = detects_hosted, longest_s
        self._offset = self._length = 0  # of the chunk under way; length 0: there is none
        self._began = 0.0

    def note_headers(self, headers: Iterable[str]) -> None:
        if self._detects_hosted and is_hosted(headers):
            self.current = self.current.hosted()

    def start(self, offset: int, left: int) -> int:
        """The length of the next chunk."""
        self._offset, self._length = offset, min(self.current.size, left)
        self._began = time.monotonic()
        return self._length

    def is_too_long(self) -> bool:
        """True when a grown chunk has had its time. A usual one has no limit: the line may be that slow."""
        return self.current.is_grown(self._length) and time.monotonic() - self._began > self._longest_s

    def accepted(self) -> None:
        self.current = self.current.accepted(self._length, time.monotonic() - self._began)
        self._length = 0

    def refused(self, status: int, *, by_server: bool) -> bool:
        """True when the chunk under way was refused for its size, and the next one will be smaller."""
        is_for_size = status == 413
        smaller = self.current.refused(self._length) if is_for_size and self._length else None
        if is_for_size or (by_server and status < 500):
            self._length = 0  # refused for something else: its size stays as good as before
        if smaller is None:
            return False
        self.current = smaller
        return True

    def resumed(self, offset: int) -> None:
        """After an error, with the offset that the server now names."""
        if self._length:
            self.current = self.current.cut(self._length, max(0, offset - self._offset))
            self._length = 0
