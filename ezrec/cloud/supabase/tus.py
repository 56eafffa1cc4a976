"""Resumable uploads: TUS 1.0 over HTTP, as Supabase's storage implements it. Knows no table and no booking.

1. An upload in the state file is asked for its offset; otherwise one is created, empty.
2. The state file is durable before the first byte is sent.
3. Chunks (`domain/chunk_size.py` decides their size) are sent from the offset that the *server* names, never
   from our own count: after a crash of the server the offset can go back.
4. After a broken connection or a busy server: wait, ask for the offset, go on. After 404 or 410 (expired):
   start over.
5. After 413 (too large) smaller chunks are sent.
6. With `replaces` false, a name that is taken ends the upload. The server checks it at the first request, and
   again at the last, because another upload may have been faster.
7. The caller checks the object afterwards: "offset equals length" does not prove that it exists.
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
from ezrec.cloud.supabase.tus_state import ChunkSizer, UploadState, UploadStateFile
from ezrec.domain.chunk_size import USUAL, ChunkSize
from ezrec.domain.errors import Reject, Retry, Stopped
from ezrec.system import plain_files

if TYPE_CHECKING:
    import httpx

    from ezrec.cloud.supabase.connection import Connection

_BLOCK = 256 * 1024
_REPORT_BYTES = USUAL  # within a larger chunk, progress is reported every so many bytes …
_KERNEL_BYTES = USUAL  # … minus those that the kernel may not have sent yet
_MOST_FAULTS = 5  # faults in a row without a byte of progress before the upload is given up for now
_RESTARTS = 3
_LONGEST_WAIT_S = 30.0
_FINISHING = 4.0  # times the usual silence: storage responds to the last chunk once it has built the object
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
        throttle: UploadThrottle | None = None,
        wait_s: float = 0.25,
        chunks: ChunkSizer | None = None,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        replaces: bool = True,
    ) -> None:
        self._connection = connection
        self._endpoint = f"{connection.credentials.url}/storage/v1/upload/resumable"
        self._bucket, self._key, self._source = bucket, key, source
        self._state_file = UploadStateFile(state)
        self._progress, self._is_stopped = progress, is_stopped
        self._throttle = throttle or UploadThrottle(0)
        self._wait_s = wait_s
        self._chunks = chunks or ChunkSizer(ChunkSize())
        self._metadata = {"contentType": content_type, **(metadata or {})}
        self._replaces = replaces
        self._state: UploadState | None = None
        self._confirmed = self._reported = 0
        self._size = self._mtime_ns = 0

    def run(self) -> bool:
        """Send what is missing; False when the name is taken and `replaces` is false.

        Raises `Retry`, `Reject`, `Stopped`, or a `CloudError` for which waiting does not help. The state file
        stays for the next try.
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

        self._state = self._state_file.load(self._endpoint, self._wanted())
        faults = restarts = 0
        while True:
            self._check()
            before = self._confirmed
            try:
                self._send_rest(file)
                return True
            except CloudError as error:
                if not self._replaces and _is_taken(error, is_new=self._state is None):
                    return False
                if self._state is not None and error.status in (404, 410) and error.code != PORTAL:
                    restarts = self._start_over(restarts, error)
                    continue
                if self._chunks.refused(error.status, by_server=error.code != PORTAL):
                    _log.info("%s: a chunk was too large: %s", self._key, redacted(str(error)))
                    continue
                fault: Exception = error
                self._raise_unless_passing(error, faults)
            except httpx.TransportError as error:
                fault = error
            faults = 1 if self._confirmed > before else faults + 1
            if faults > _MOST_FAULTS:
                raise fault
            self._back_off(fault, faults)

    def _send_rest(self, file: BinaryIO) -> None:
        """Send the rest, from the offset that the server has."""
        if self._state is None:
            self._state, offset = self._create(), 0
        else:
            offset = self._offset(self._state)
            self._chunks.resumed(offset)
        while offset < self._size:
            offset = self._send_chunk(file, self._state, offset)

    def _start_over(self, restarts: int, error: CloudError) -> int:
        _log.info("%s: the upload has expired: starting over", self._key)
        self._state_file.delete()
        self._state = None
        self._confirmed = self._reported = 0  # otherwise bytes sent again would not count as progress
        if restarts >= _RESTARTS:
            raise Retry(f"the upload of {self._key} expired {restarts + 1} times") from error
        return restarts + 1

    def _raise_unless_passing(self, error: CloudError, faults: int) -> None:
        """Return when waiting and trying again may help; else raise."""
        if is_about_the_token(error):
            if faults > 1:
                raise error
            if not is_from_the_future(error):
                self._connection.sign_in.renew()
            return
        if rule_for(error).kind is not ErrorKind.PASSING or (error.after_s or 0) > _LONGEST_WAIT_S:
            raise error

    def _back_off(self, fault: Exception, faults: int) -> None:
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
        # Only the last part is used: behind a proxy the scheme or the host may be wrong.
        name = urlsplit(answer.headers.get("location", "")).path.rpartition("/")[2]
        if not name:
            raise CloudError(502, PORTAL, "the upload was created without a location")
        state = replace(self._wanted(f"{self._endpoint}/{name}"), expires=_expires(answer.headers))
        self._state_file.save(state)
        return state

    def _wanted(self, url: str = "") -> UploadState:
        return UploadState(url, self._bucket, self._key, self._size, self._mtime_ns)

    def _offset(self, state: UploadState) -> int:
        answer = self._request("HEAD", state.url, {})
        return self._read_offset(answer)

    def _send_chunk(self, file: BinaryIO, state: UploadState, offset: int) -> int:
        self._check()
        length = self._chunks.start(offset, self._size - offset)
        file.seek(offset)
        headers = {
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(length),
        }
        blocks = self._blocks(file, offset, length)
        offset = self._read_offset(self._request("PATCH", state.url, headers, blocks, _FINISHING))
        self._chunks.accepted()
        return offset

    def _blocks(self, file: BinaryIO, offset: int, length: int) -> Iterator[bytes]:
        import httpx

        left, sent = length, offset
        while left > 0:
            self._check()
            if self._chunks.is_too_long():
                raise httpx.WriteTimeout("a large chunk took too long")
            self._report(sent - _KERNEL_BYTES)
            block = file.read(min(self._throttle.block, left))
            if not block:
                raise Retry(f"{self._source.name} became shorter while it was uploaded")
            self._sleep(self._throttle.wait_s(len(block)))
            yield block
            left, sent = left - len(block), sent + len(block)

    def _read_offset(self, answer: httpx.Response) -> int:
        """The offset in an answer; one without it is not from a TUS server."""
        text = answer.headers.get("upload-offset", "")
        if not text.isdigit() or int(text) > self._size:
            raise CloudError(502, PORTAL, "the upload was answered without a usable offset")
        offset = int(text)
        if offset > self._confirmed:
            self._confirmed = offset
            self._report(offset, at_once=True)
        return offset

    def _report(self, offset: int, *, at_once: bool = False) -> None:
        """Report progress, which never falls. The caller reports 1.0, once the object is there."""
        if self._reported + (0 if at_once else _REPORT_BYTES) < offset < self._size:
            self._reported = offset
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
        self._chunks.note_headers(answer.headers)
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
    """When the server drops the upload, converted from the server's clock to ours."""
    try:
        until = parsedate_to_datetime(headers.get("upload-expires", ""))
        now = datetime.now(UTC)
        with contextlib.suppress(ValueError):
            return now + (until - parsedate_to_datetime(headers.get("date", "")))
        return until if until.tzinfo else None
    except (ValueError, TypeError, OverflowError):
        return None


def _is_taken(error: CloudError, *, is_new: bool) -> bool:
    """True when the name is taken. During an upload, a 409 may also be about the offset."""
    return error.status == 409 and error.code != PORTAL and (is_new or "already exists" in error.message)


@functools.lru_cache(maxsize=8)
def _parsed(url: str) -> httpx.URL:
    """Parsed once per upload: parsing it for every chunk took a tenth of the CPU."""
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
