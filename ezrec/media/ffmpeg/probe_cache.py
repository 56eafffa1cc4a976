"""Remembers what probing a file found, while the file does not change.

A recording's tables are kept in memory, for the video being made. For an intro or a logo, what it holds,
whether it decodes, and the digest of its content are kept on disk. A file is identified by its inode, size
and times: writing to it changes them.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import msgspec

from ezrec.domain import json_decode
from ezrec.domain.ports import MediaInfo
from ezrec.media.ffmpeg.colours import Appearance
from ezrec.media.ffmpeg.inputs import MediaKind
from ezrec.media.ffmpeg.probe import Media
from ezrec.system import durable, plain_files

_MOST_IN_MEMORY = 16
_VERSION = "3"  # of the files on disk
_READ_SIZE = 1 << 20


class _CacheEntry(msgspec.Struct, forbid_unknown_fields=True):
    demuxer: str = ""
    info: MediaInfo | None = None
    rate: tuple[int, int] = (1, 1)
    video: int = 0
    audio: int | None = None
    audio_codec: str = ""
    pix_fmt: str = ""
    full_range: bool = False
    offset_s: float = 0.0
    is_cut: bool = False
    varies: bool = False
    appearance: Appearance = Appearance()
    digest: str = ""
    is_sound: bool = False


@dataclass(frozen=True, slots=True)
class ProbeCache:
    """`folder` None: nothing is kept on disk. `young_s`: a file written to within these seconds is not
    cached; it could change again within one tick of the file system's clock.
    """

    folder: Path | None = None
    young_s: float = 2.0
    most: int = 64
    _kept: dict[str, Media] = field(default_factory=dict)

    def within(self, folder: Path | None) -> ProbeCache:
        return replace(self, folder=folder) if folder else self

    def have(self, kind: MediaKind, path: Path, probe: Callable[[], Media]) -> Media:
        """What `probe` finds, or found before in the same file."""
        name = _name(kind.name, path)
        if name is None:  # `probe` raises what is wrong with it
            return probe()
        found = self._kept.get(name) or self._read(name, path)
        if found is None:
            found = probe()
            self._write(name, path, found)
        while len(self._kept) >= _MOST_IN_MEMORY:
            del self._kept[next(iter(self._kept))]
        self._kept[name] = found
        return replace(found, path=path)

    def forget(self) -> None:
        """Forget what is in memory: the tables of an hour take megabytes."""
        self._kept.clear()

    def digest(self, path: Path) -> str:
        """The digest of a file's content, in hexadecimal digits."""
        name = _name("content", path)
        kept = self._load(name)
        if kept and kept.digest:
            return kept.digest
        digest = hashlib.blake2b(digest_size=16)
        with plain_files.opened(path, shared=True) as file:
            while block := file.read(_READ_SIZE):
                digest.update(block)
        self._store(name, path, _CacheEntry(digest=digest.hexdigest()))
        return digest.hexdigest()

    def once(self, kind: str, path: Path, check: Callable[[], None]) -> None:
        """Run `check`, which raises for a bad file, unless this very file has passed it before."""
        name = _name(f"check {kind}", path)
        kept = self._load(name)
        if kept and kept.is_sound:
            return
        check()
        self._store(name, path, _CacheEntry(is_sound=True))

    def _read(self, name: str, path: Path) -> Media | None:
        kept = self._load(name)
        if not kept or not kept.info or kept.rate[1] < 1 or kept.rate[0] < 1:
            return None
        return Media(
            path, kept.demuxer, kept.info, Fraction(*kept.rate), kept.video, kept.audio,
            kept.audio_codec, kept.pix_fmt, kept.full_range, kept.offset_s, kept.is_cut, kept.varies,
            kept.appearance,
        )  # fmt: skip

    def _write(self, name: str, path: Path, seen: Media) -> None:
        if seen.stream_info is None:
            kept = _CacheEntry(
                seen.demuxer, seen.info, seen.rate.as_integer_ratio(), seen.video, seen.audio,
                seen.audio_codec, seen.pix_fmt, seen.full_range, seen.offset_s, seen.is_cut, seen.varies,
                seen.appearance,
            )  # fmt: skip
            self._store(name, path, kept)

    def _load(self, name: str | None) -> _CacheEntry | None:
        if self.folder is None or name is None:
            return None
        try:
            return json_decode.decode((self.folder / f"{name}.look").read_bytes(), _CacheEntry)
        except (OSError, msgspec.DecodeError):
            return None

    def _store(self, name: str | None, path: Path, kept: _CacheEntry) -> None:
        """Written whole, but not synced: if it is lost, the file is probed again."""
        if self.folder is None or name is None:
            return
        with contextlib.suppress(OSError):
            if 0 <= time.time() - path.stat().st_ctime < self.young_s:
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            durable.swap(self.folder / f"{name}.look", msgspec.json.encode(kept))
            self._bound(self.folder)

    def _bound(self, folder: Path) -> None:
        found = sorted(folder.glob("*.look*"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in found[self.most :]:
            path.unlink(missing_ok=True)


def _name(what: str, path: Path) -> str | None:
    """A name for one question (`what`) about a file as it is now; None if the file is not there."""
    try:
        info = path.lstat()
    except OSError:
        return None
    parts = (_VERSION, what, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=16).hexdigest()
