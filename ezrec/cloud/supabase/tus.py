"""Resumable uploads: TUS 1.0 over HTTP, as Supabase's storage speaks it. Knows no table and no booking.

1. A known upload (the state file) is asked for its offset; an unknown one is created, empty.
2. The state file is durable before the first byte is sent.
3. Pieces (`domain/chunk_size.py` says how large) are sent from the offset that the *server* names, never from
   what we have counted: after a crash over there the offset can go back.
4. A cut or a busy answer: wait, ask for the offset, go on. 404 or 410: the upload has expired, start over.
5. A piece that is called too large is no fault of the video: a smaller one is sent.
6. A name that is taken (`replaces` is false) ends the upload: the server says so to the first request and
   once more to the last, when another was faster.
7. The caller asks for the object afterwards: "offset equals length" does not prove that it exists.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from ezrec.cloud.supabase.errors import (
    PORTAL,
    CloudError,
    ErrorKind,
    is_about_the_token,
    is_from_the_future,
    redacted,
    rule_for,
)
from ezrec.cloud.supabase.tus_state import ChunkSizes, UploadState, UploadStateFile
from ezrec.domain.chunk_size import USUAL, ChunkSize
from ezrec.domain.errors import Reject, Retry, Stopped
from ezrec.system import plain_files

if TYPE_CHECKING:
    import httpx

    from ezrec.cloud.supabase.connection import Connection

_BLOCK = 256 * 1024
_TOLD = USUAL  # within a larger piece, progress is told for each so many bytes …
_IN_HAND = USUAL  # … without those that the kernel may still have in its hands
_PATIENCE = 5  # faults in a row without a byte of progress before the job is laid aside
_RESTARTS = 3
_LONGEST_WAIT_S = 30.0
_FINISHING = 4.0  # times the usual silence: storage answers the last piece when it has built the object
_TICK_S = 0.1
_log = logging.getLogger("ezrec.upload")


class UploadThrottle:
    """Holds an upload to a number of bytes a second; 0 is unlimited."""

    def __init__(self, bytes_s: float) -> None:
        self.bytes_s = bytes_s
        self.block = _BLOCK if not bytes_s else max(1024, min(_BLOCK, int(bytes_s / 8)))
        self._free_at = 0.0

    def wait_s(self, count: int) -> float:
        """Seconds to wait before `count` more bytes may go."""
        if not self.bytes_s:
            return 0.0
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + count / self.bytes_s
        return self._free_at - now


class Upload:
    """One file on its way to one object."""

    def __init__(
        self,
        connection: Connection,
        bucket: str,
        key: str,
        source: Path,
        *,
        progress: Callable[[float], None],
        is_stopped: Callable[[], bool] = lambda: False,
        state: Path | None = None,
        pace: UploadThrottle | None = None,
        wait_s: float = 0.25,
        sizes: ChunkSizes | None = None,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        replaces: bool = True,
    ) -> None:
        self._connection = connection
        self._endpoint = f"{connection.credentials.url}/storage/v1/upload/resumable"
        self._bucket, self._key, self._source = bucket, key, source
        self._state = UploadStateFile(state)
        self._progress, self._is_stopped = progress, is_stopped
        self._pace = pace or UploadThrottle(0)
        self._wait_s = wait_s
        self._sizes = sizes or ChunkSizes(ChunkSize())
        self._metadata = {"contentType": content_type, **(metadata or {})}
        self._replaces = replaces
        self._place: UploadState | None = None
        self._best = self._shown = 0
        self._size = self._mtime_ns = 0

    def run(self) -> bool:
        """Send what is missing; False when the name is taken, and nothing is to be replaced. Raises `Retry`,
        `Reject` or `Stopped`, or a `CloudError` that is no matter of patience; the state file stays for the
        next try.
        """
        with _opened(self._source) as file:
            info = os.fstat(file.fileno())
            self._size, self._mtime_ns = info.st_size, info.st_mtime_ns
            if not self._size:
                raise Reject(
                    f"{self._source.name} is empty", "an empty file cannot be uploaded: remove the job"
                )
            return self._send(file)

    # ---- steps 1 to 6

    def _send(self, file: BinaryIO) -> bool:
        import httpx

        self._place = self._state.recall(self._endpoint, self._wanted())
        faults = restarts = 0
        while True:
            self._check()
            before = self._best
            try:
                self._go_on(file)
                return True
            except CloudError as error:
                if not self._replaces and _is_taken(error, is_new=self._place is None):
                    return False
                if self._place is not None and error.status in (404, 410) and error.code != PORTAL:
                    restarts = self._start_over(restarts, error)
                    continue
                if self._sizes.refused(error.status, by_server=error.code != PORTAL):
                    _log.info("%s: too large a piece over there: %s", self._key, redacted(str(error)))
                    continue
                fault: Exception = error
                self._judge(error, faults)
            except httpx.TransportError as error:
                fault = error
            faults = 1 if self._best > before else faults + 1
            if faults > _PATIENCE:
                raise fault
            self._rest(fault, faults)

    def _go_on(self, file: BinaryIO) -> None:
        """Send the rest, from where the server stands."""
        if self._place is None:
            self._place, offset = self._create(), 0
        else:
            offset = self._offset(self._place)
            self._sizes.resumed(offset)
        while offset < self._size:
            offset = self._send_piece(file, self._place, offset)

    def _start_over(self, restarts: int, error: CloudError) -> int:
        _log.info("%s: the upload has expired over there: starting over", self._key)
        self._state.forget()
        self._place = None
        self._best = self._shown = 0  # else what is sent anew would not count as progress
        if restarts >= _RESTARTS:
            raise Retry(f"the upload of {self._key} expired {restarts + 1} times") from error
        return restarts + 1

    def _judge(self, error: CloudError, faults: int) -> None:
        """Return when waiting and asking again may help; else raise."""
        if is_about_the_token(error):
            if faults > 1:
                raise error
            if not is_from_the_future(error):
                self._connection.sign_in.renew()
            return
        if rule_for(error).kind is not ErrorKind.PASSING or (error.after_s or 0) > _LONGEST_WAIT_S:
            raise error

    def _rest(self, fault: Exception, faults: int) -> None:
        named = fault.after_s if isinstance(fault, CloudError) else None
        wait_s = named if named is not None else min(self._wait_s * 2 ** (faults - 1), _LONGEST_WAIT_S)
        _log.debug("%s: %s; going on in %.1f s", self._key, fault, wait_s)
        self._sleep(wait_s)

    def _create(self) -> UploadState:
        names = {
            "bucketName": self._bucket,
            "objectName": self._key,
            "cacheControl": "3600",
            **self._metadata,
        }
        metadata = ",".join(
            f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in names.items()
        )
        answer = self._request(
            "POST", self._endpoint, {"Upload-Length": str(self._size), "Upload-Metadata": metadata}
        )
        # Only its last part is believed: behind a proxy the scheme or the host may be wrong.
        name = urlsplit(answer.headers.get("location", "")).path.rpartition("/")[2]
        if not name:
            raise CloudError(502, PORTAL, "the upload was created without a place")
        place = replace(self._wanted(f"{self._endpoint}/{name}"), expires=_expires(answer.headers))
        self._state.remember(place)
        return place

    def _wanted(self, url: str = "") -> UploadState:
        return UploadState(url, self._bucket, self._key, self._size, self._mtime_ns)

    def _offset(self, place: UploadState) -> int:
        answer = self._request("HEAD", place.url, {})
        return self._told(answer)

    def _send_piece(self, file: BinaryIO, place: UploadState, offset: int) -> int:
        self._check()
        length = self._sizes.begin(offset, self._size - offset)
        file.seek(offset)
        headers = {
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(length),
        }
        blocks = self._blocks(file, offset, length)
        offset = self._told(self._request("PATCH", place.url, headers, blocks, _FINISHING))
        self._sizes.taken()
        return offset

    def _blocks(self, file: BinaryIO, offset: int, length: int) -> Iterator[bytes]:
        import httpx

        left, sent = length, offset
        while left > 0:
            self._check()
            if self._sizes.is_too_long():
                raise httpx.WriteTimeout("a large piece took too long")
            self._show(sent - _IN_HAND)
            block = file.read(min(self._pace.block, left))
            if not block:
                raise Retry(f"{self._source.name} became shorter while it was uploaded")
            self._sleep(self._pace.wait_s(len(block)))
            yield block
            left, sent = left - len(block), sent + len(block)

    def _told(self, answer: httpx.Response) -> int:
        """The offset in an answer; one without it is not from a TUS server."""
        text = answer.headers.get("upload-offset", "")
        if not text.isdigit() or int(text) > self._size:
            raise CloudError(502, PORTAL, "the upload was answered without a usable offset")
        offset = int(text)
        if offset > self._best:
            self._best = offset
            self._show(offset, at_once=True)
        return offset

    def _show(self, offset: int, *, at_once: bool = False) -> None:
        """Tell the progress, which never falls. The whole is told by the caller, once the object is there."""
        if self._shown + (0 if at_once else _TOLD) < offset < self._size:
            self._shown = offset
            self._progress(offset / self._size)

    def _request(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        content: Iterator[bytes] | None = None,
        patience: float = 1.0,
    ) -> httpx.Response:
        import httpx

        cloud, upsert = self._connection, {"x-upsert": "true"} if self._replaces else {}
        answer = cloud.http.request(
            method,
            _parsed(url),
            headers={"Tus-Resumable": "1.0.0", **upsert, **headers},
            content=content,
            timeout=httpx.Timeout(cloud.silence_s * patience, connect=cloud.connect_s, write=cloud.silence_s),
        )
        self._sizes.heard(answer.headers)
        return answer

    # ---- waiting

    def _check(self) -> None:
        if self._is_stopped():
            raise Stopped("asked to stop")

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._check()
            time.sleep(min(left, _TICK_S))


def _expires(headers: Mapping[str, str]) -> datetime | None:
    """When the upload's address ends, by our clock: the server names it by its own."""
    try:
        until = parsedate_to_datetime(headers.get("upload-expires", ""))
        now = datetime.now(UTC)
        with contextlib.suppress(ValueError):
            return now + (until - parsedate_to_datetime(headers.get("date", "")))
        return until if until.tzinfo else None
    except (ValueError, TypeError, OverflowError):
        return None


def _is_taken(error: CloudError, *, is_new: bool) -> bool:
    """True when an object stands under the name. Of an upload under way a 409 may also mean its offset."""
    return error.status == 409 and error.code != PORTAL and (is_new or "already exists" in error.message)


@functools.lru_cache(maxsize=8)
def _parsed(url: str) -> httpx.URL:
    """Once an upload: looked through anew for every piece it was a tenth of the CPU."""
    import httpx

    return httpx.URL(url)


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[BinaryIO]:
    try:
        fd = plain_files.open_fd(source)
    except OSError as fault:
        raise Reject(
            f"{source} cannot be read: {fault.strerror}", "name a plain file that is there"
        ) from None
    with open(fd, "rb", buffering=0) as file:
        yield file
