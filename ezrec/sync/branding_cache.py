"""The branding in the media cache: what was fetched last, and whether it is complete.

The task `sync` writes it, the process stage reads it; neither waits for the other. A changed asset always has
a new key, so a key that is here is never fetched again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from ezrec.domain import json_decode
from ezrec.domain.branding import Assets
from ezrec.domain.errors import Reject
from ezrec.domain.names import shown
from ezrec.domain.ports import Backend
from ezrec.system import durable

RECORD = "branding.json"
BUCKET = "usermedia"
_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".png", ".jpg", ".jpeg", ".webp")


class _Record(msgspec.Struct):
    intro: str | None = None
    logo: str | None = None
    sponsors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def keys(self) -> set[str | None]:
        return {self.intro, self.logo, *self.sponsors}


class BrandingCache:
    """The directory `root`: `branding.json` beside the files it names by their keys."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def record(self) -> Path:
        return self.root / RECORD

    def assets(self) -> Assets:
        """The files of the branding. `is_known` is False until all that the record names is there."""
        try:
            record = json_decode.decode(self.record.read_bytes(), _Record)
        except (OSError, msgspec.DecodeError):
            return Assets(is_known=False)
        intro, logo = self._path(record.intro), self._path(record.logo)
        sponsors = tuple(path for key in record.sponsors if (path := self._path(key)))
        if any(path is not None and not path.exists() for path in (intro, logo, *sponsors)):
            return Assets(is_known=False)  # somebody has emptied the cache: it will be fetched again
        return Assets(True, intro, logo, sponsors, record.notes)

    def refresh(self, backend: Backend, report: Callable[[str], None]) -> None:
        """Fetch what is new. A missing or refused asset stops no video: `report` gets a line about it.

        Raises `Retry` when the backend cannot be asked, and OSError; the record is then as before.
        """
        wanted = backend.branding()
        self.root.mkdir(parents=True, exist_ok=True)
        notes: list[str] = []
        intro = self._fetched(backend, "intro", wanted.intro, notes)
        logo = self._fetched(backend, "logo", wanted.logo, notes)
        found = [self._fetched(backend, "sponsor's logo", key, notes) for key in wanted.sponsors]
        record = _Record(intro, logo, tuple(key for key in found if key), tuple(notes))
        data = msgspec.json.encode(record)
        path = self.record
        before = path.read_bytes() if path.exists() else b"{}"
        if before == data:
            return
        durable.write(path, data)
        sponsors = f", sponsors {', '.join(record.sponsors)}" if record.sponsors else ""
        report(f"branding: intro {intro or 'none'}, logo {logo or 'none'}{sponsors}")
        for note in notes:
            report(note)
        self._sweep(record.keys, before)

    def _fetched(self, backend: Backend, kind: str, key: str | None, notes: list[str]) -> str | None:
        path = self._path(key)
        if key is None or path is None:
            return None
        if not path.exists():
            part = path.with_name(f".{path.name}.part")
            part.unlink(missing_ok=True)
            try:
                backend.fetch(BUCKET, key, part)
            except Reject as fault:
                notes.append(f"published without the {kind} {shown(key)}: {fault.reason}")
                return None
            durable.sync_file(part)
            durable.rename(part, path)
        return key

    def _path(self, key: str | None) -> Path | None:
        """The file of a key: its name is a digest, because keys come from outside."""
        if not key:
            return None
        suffix = Path(key).suffix.lower()
        digest = hashlib.sha256(key.encode("utf-8", "backslashreplace")).hexdigest()[:24]
        return self.root / (digest + (suffix if suffix in _SUFFIXES else ".bin"))

    def _sweep(self, keys: set[str | None], before: bytes) -> None:
        """Remove the files of neither this record nor the last: a video in work may still use the
        last ones.
        """
        with suppress(msgspec.DecodeError):
            keys = keys | json_decode.decode(before, _Record).keys
        kept = {path.name for key in keys if (path := self._path(key))} | {RECORD}
        for path in self.root.iterdir():
            if path.is_file() and path.name not in kept and path.suffix in (*_SUFFIXES, ".bin", ".part"):
                with suppress(OSError):
                    path.unlink()
