"""What of the branding goes into a video. The footage comes first: whatever spoils it is left out, and told.

Branding is dropped last, and as little of it as possible: first what has to be encoded, then the intro, then
all of it. A full disk, or anything else that is outside the job, drops nothing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ezrec.domain.branding import Assets
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.ports import Transcoder

Render = Callable[[Assets, tuple[str, ...]], None]
_LAST_TRY = 3
_CACHED = re.compile(r"[0-9a-f]{24}")
_FIGURES = re.compile(r"[\d.]+")


def usable(transcoder: Transcoder, branding: Assets) -> tuple[Assets, tuple[str, ...]]:
    """The assets that pass their check, and a note for each that does not."""
    notes = list(branding.notes)

    def passes(kind: str, path: Path | None) -> bool:
        if path is None:
            return False
        try:
            transcoder.check_asset(kind, path)
        except Reject as fault:
            notes.append(f"published without the {kind}: {_said(fault, kind, path)}")
            return False
        return True

    intro = branding.intro if passes("intro", branding.intro) else None
    logo = branding.logo if passes("logo", branding.logo) else None
    sponsors = tuple(path for path in branding.sponsors if passes("sponsor", path))
    return replace(branding, intro=intro, logo=logo, sponsors=sponsors), tuple(notes)


def _said(fault: Reject, kind: str, path: Path) -> str:
    """Why, and what would do. A name that the cache has given says nothing to anybody: its kind does."""
    said = f"{fault.reason}; {fault.remedy}"
    if not _CACHED.fullmatch(path.stem):
        return said
    return said.replace(path.name, f"{kind}{path.suffix}").replace(path.stem, kind)


def rendered(
    render: Render, used: Assets, notes: tuple[str, ...], tries: int, log: logging.Logger
) -> tuple[Assets, tuple[str, ...]]:
    """Render with these assets, or with fewer; what was used in the end, and all notes."""
    fewer, causes = list(_fewer(used)), set[str]()
    assets, told = used, notes
    while True:
        try:
            render(assets, told)
            return assets, told
        except (Reject, Retry) as fault:
            is_last = isinstance(fault, Reject) or (tries >= _LAST_TRY and not fault.blameless)
            cause = _FIGURES.sub("", fault.reason)
            if cause in causes:  # it was not what was left out: do not ask for one video after the other
                fewer = fewer[-1:]
            causes.add(cause)
            if not is_last or not fewer:
                raise
            what, assets = fewer.pop(0)
            told = (*notes, f"published without {what}: {fault.reason}")
            log.warning("it is made without %s, because with it: %s", what, fault)


def _fewer(used: Assets) -> Iterator[tuple[str, Assets]]:
    """The same branding with more and more left out, and what that is called."""
    bare = replace(used, intro=None, logo=None, sponsors=())
    pictures = _pictures(used)
    if used.intro and pictures:
        yield f"the {pictures}", replace(bare, intro=used.intro)
        yield "the intro", replace(used, intro=None)
    if not used.is_empty:
        yield " and ".join(filter(None, ("intro" if used.intro else "", pictures))), bare


def _pictures(used: Assets) -> str:
    return "logo" if used.logo else "sponsors' logos" if used.sponsors else ""
