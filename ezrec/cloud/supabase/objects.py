"""Fetches and stores objects of a Supabase project, and finds whose they are. Knows no table.

An object that is stored for a job carries the job's mark in its metadata. A request may replace an object
only if it was found to be ours just before. The service refuses a name that is taken when an upload begins,
and again when it ends, so two uploads cannot both get one name.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from ezrec.cloud.supabase.connection import Connection
from ezrec.cloud.supabase.errors import CloudError, redacted
from ezrec.cloud.supabase.tus import Upload, UploadThrottle
from ezrec.cloud.supabase.tus_state import ChunkSizer, UploadState, UploadStateFile, version_of
from ezrec.domain.chunk_size import ChunkSize, choose
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.names import InvalidKey, object_parts
from ezrec.domain.ownership import Mark, Whose
from ezrec.domain.ports import OnStop
from ezrec.system import durable
from ezrec.system.task import CancelToken

_TYPES = {
    ".mp4": "video/mp4", ".zip": "application/zip", ".png": "image/png", ".jpg": "image/jpeg",
    ".vtt": "text/vtt", ".json": "application/json",
}  # fmt: skip
_JOB, _MADE = "ezrec_job", "ezrec_made"  # in an object's own metadata
_BLOCK = 1 << 20
_DIGITS = 16  # of a plausible size
_log = logging.getLogger("ezrec.supabase")


class ObjectStore:
    """The objects behind one connection. `chunk_size`: of uploads; None: chosen by host and responses."""

    def __init__(
        self,
        cloud: Connection,
        *,
        upload_bytes_s: float,
        wait_s: float,
        chunk_size: ChunkSize | None,
    ) -> None:
        self._cloud = cloud
        self._upload_bytes_s, self._wait_s, self._chunk_size = upload_bytes_s, wait_s, chunk_size

    def fetch(self, bucket: str, key: str, target: Path) -> None:
        path = "/".join(_parts(bucket, key))
        size = self.size_of(bucket, key)  # the file is kept for good, so it has to be whole
        self._cloud.call(f"fetching {path}", lambda: self._download(path, target, size))

    def _download(self, path: str, target: Path, size: int | None) -> None:
        part = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.part")
        url = f"{self._cloud.credentials.url}/storage/v1/object/{quote(path)}"
        try:
            # Not compressed, so that the length is the one that storage names.
            with (
                self._cloud.http.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer,
                part.open("wb") as file,
            ):
                for block in answer.iter_raw():
                    file.write(block)
                if file.tell() != size:
                    raise Retry(f"{path} came with {file.tell()} bytes, and storage has {size}")
            durable.sync_file(part)
            durable.rename(part, target)
        finally:
            part.unlink(missing_ok=True)

    def size_of(self, bucket: str, key: str) -> int | None:
        found = self._info(bucket, key)
        return None if found is None else int(found["size"])

    def most_bytes(self, bucket: str) -> int:
        """The largest file that may be stored, in bytes; 0 when unknown."""
        of_project = self._cloud.call("asking for the largest upload", lambda: upload_limit(self._cloud))
        return min(filter(None, (of_project, self._bucket_limit(bucket))), default=0)

    def _bucket_limit(self, bucket: str) -> int:
        """Bytes; 0 also when this key may not see the bucket, as is usual for a device."""
        url = f"{self._cloud.credentials.url}/storage/v1/bucket/{bucket}"
        with contextlib.suppress(Reject):
            found = self._cloud.call(f"looking at {bucket}", lambda: self._cloud.http.get(url).json())
            limit = found.get("file_size_limit") if isinstance(found, dict) else None
            return limit if isinstance(limit, int) else 0
        return 0

    # ---- whose it is

    def whose(self, bucket: str, key: str, source: Path, mark: Mark, state: Path | None) -> Whose:
        found = self._info(bucket, key)
        return Whose.NOBODYS if found is None else _whose_is(found, bucket, key, source, mark, state)

    def _info(self, bucket: str, key: str) -> dict[str, Any] | None:
        parts = _parts(bucket, key)
        doing = f"asking for {'/'.join(parts)}"

        def work() -> dict[str, Any] | None:
            try:
                info = self._cloud.supabase.storage.from_(bucket).info(key)
            except CloudError as error:
                if error.status == 404 and error.code != "NoSuchBucket":
                    return None
                raise
            if not isinstance(info, dict) or not isinstance(info.get("size"), int):
                _log.warning("%s: expected a size and got %s", doing, redacted(str(info)))
                raise Retry(f"{doing}: answered without a size")
            return info

        return self._cloud.call(doing, work)

    # ---- storing

    def store(
        self,
        bucket: str,
        key: str,
        source: Path,
        progress: Callable[[float], None],
        *,
        state: Path | None,
        on_stop: OnStop | None,
        mark: Mark | None,
    ) -> bool:
        path = "/".join(_parts(bucket, key))
        token = CancelToken()
        if on_stop is not None:
            on_stop(token.cancel)

        def sent(*, replaces: bool) -> bool:
            upload = Upload(
                self._cloud,
                bucket,
                key,
                source,
                progress=progress,
                is_stopped=lambda: token.cancelled,
                state=state,
                throttle=UploadThrottle(self._upload_bytes_s),
                wait_s=self._wait_s,
                chunks=self._chunk_sizer(),
                content_type=_TYPES.get(Path(key).suffix.lower(), "application/octet-stream"),
                metadata={"metadata": json.dumps({_JOB: mark.job, _MADE: mark.made})} if mark else {},
                replaces=replaces,
            )
            return self._cloud.call(f"uploading {path}", upload.run)

        if mark is None:
            sent(replaces=True)
            self._check_size(bucket, key, path, source, state)
        elif not self._is_stored(bucket, key, source, mark, state, sent):
            return False
        progress(1.0)
        return True

    def _is_stored(
        self, bucket: str, key: str, source: Path, mark: Mark, state: Path | None, sent: Callable[..., bool]
    ) -> bool:
        was_free = sent(replaces=False)
        found = self.whose(bucket, key, source, mark, state)
        if found is Whose.OUTDATED:
            UploadStateFile(state).delete()
            sent(replaces=True)
            found = self.whose(bucket, key, source, mark, state)
        if found is Whose.OURS:
            return True
        UploadStateFile(state).delete()
        if found is Whose.ANOTHERS or not was_free:  # taken, perhaps by what this device may not even read
            return False
        raise Retry(f"{bucket}/{key} was uploaded, and storage does not have it whole")

    def _check_size(self, bucket: str, key: str, path: str, source: Path, state: Path | None) -> None:
        size, there = source.stat().st_size, self.size_of(bucket, key)
        if there != size:
            UploadStateFile(state).delete()
            raise Retry(f"{path} was uploaded, and storage has {there} bytes of {size}")

    def _chunk_sizer(self) -> ChunkSizer:
        host = urlsplit(self._cloud.credentials.url).hostname or ""
        return ChunkSizer(self._chunk_size or choose(host), detects_hosted=self._chunk_size is None)


def upload_limit(cloud: Connection) -> int:
    """The largest file that the project takes, in bytes; 0 when its storage does not say."""
    answer = cloud.http.request("OPTIONS", f"{cloud.credentials.url}/storage/v1/upload/resumable")
    limit = answer.headers.get("tus-max-size", "")
    return int(limit) if limit.isdecimal() and len(limit) < _DIGITS else 0


def _whose_is(
    found: dict[str, Any], bucket: str, key: str, source: Path, mark: Mark, state: Path | None
) -> Whose:
    """Decides by our upload's state file first (an object's version is its upload's name), then by the mark,
    then by the bytes.
    """
    info = source.stat()
    wanted = UploadState("", bucket, key, info.st_size, info.st_mtime_ns)
    known = UploadStateFile(state).read()
    is_of_this = known is not None and (known.bucket, known.key) == (bucket, key)
    if known is not None and is_of_this and version_of(known.url) == found.get("version"):
        is_whole = known.is_of(wanted) and found["size"] == info.st_size
        return Whose.OURS if is_whole else Whose.OUTDATED
    carried = found.get("metadata")
    if isinstance(carried, dict) and isinstance(carried.get(_JOB), str):
        whose = mark.whose(Mark(carried[_JOB], str(carried.get(_MADE))))
        return Whose.OUTDATED if whose is Whose.OURS and found["size"] != info.st_size else whose
    return Whose.OURS if _is_same(found, source, info.st_size) else Whose.ANOTHERS


def _is_same(found: dict[str, Any], source: Path, size: int) -> bool:
    """True when storage shows the MD5 of the file: older versions of EZREC left no mark."""
    etag = re.fullmatch(r'"?([0-9a-f]{32})"?', str(found.get("etag") or ""))
    if etag is None or found["size"] != size:
        return False
    digest = hashlib.md5(usedforsecurity=False)
    with source.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest() == etag[1]


def _parts(bucket: str, key: str) -> tuple[str, ...]:
    try:
        return object_parts(bucket, key)
    except InvalidKey as fault:
        raise Reject(str(fault), "give the object a plain name") from fault
