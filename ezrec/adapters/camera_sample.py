"""The first seconds of a camera's last take, kept so that an intro can be made to its measure at any time.

The branding changes when nothing is recorded, too. Reads takes that still grow; changes its own copy alone.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from ezrec import durable, plain
from ezrec.adapters import mp4boxes, mp4media

_NAME = "camera.mp4"
_ENOUGH = 8 << 20  # some seconds, with a few key frames


def kept(cache: Path) -> Path | None:
    path = cache / _NAME
    return path if path.is_file() else None


def taken(take: Path, cache: Path) -> Path | None:
    """A sample of this take; None where it does not hold a second yet, or is of another kind."""
    cache.mkdir(parents=True, exist_ok=True)
    new = durable.beside(cache / _NAME)
    try:
        with open(plain.create(new), "wb") as file:
            file.write(plain.read(take, _ENOUGH))
        mp4boxes.cut_torn_tail(new)
        found = mp4media.described(new) if mp4boxes.is_fragmented(new) else None
        if found is None or found.info.duration_s < 1:
            return None
        new.rename(cache / _NAME)
    except mp4boxes.TornFile:
        return None
    finally:
        with contextlib.suppress(OSError):
            new.unlink()
    return cache / _NAME
