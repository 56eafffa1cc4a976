"""Leaves branding out of a video that cannot be made with it, and notes that.

As little as possible: first the logos, then the intro, then both. Only when all tries have failed, or the
video is rejected; a full disk, or another fault outside of the job, leaves nothing out.
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
    """Render with these assets, or with fewer; returns the assets used in the end, and all notes.

    `tries`: of this job, this one included.
    """
    fewer, causes = list(_fewer(used)), set[str]()
    assets, all_notes = used, notes
    while True:
        try:
            render(assets, all_notes)
            return assets, all_notes
        except (Reject, Retry) as fault:
            is_last = isinstance(fault, Reject) or (tries >= _LAST_TRY and not fault.blameless)
            cause = _FIGURES.sub("", fault.reason)
            if cause in causes:  # what was left out did not cause it: go on with the last alternative
                fewer = fewer[-1:]
            causes.add(cause)
            if not is_last or not fewer:
                raise
            what, assets = fewer.pop(0)
            all_notes = (*notes, f"published without {what}: {fault.reason}")
            log.warning("the video is made without %s, because with it: %s", what, fault)


def _fewer(used: Assets) -> Iterator[tuple[str, Assets]]:
    """What to leave out next, and the branding without it."""
    bare = replace(used, intro=None, logo=None, sponsors=())
    pictures = _pictures(used)
    if used.intro and pictures:
        yield f"the {pictures}", replace(bare, intro=used.intro)
        yield "the intro", replace(used, intro=None)
    if not used.is_empty:
        yield " and ".join(filter(None, ("intro" if used.intro else "", pictures))), bare


def _pictures(used: Assets) -> str:
    return "logo" if used.logo else "sponsors' logos" if used.sponsors else ""
