"""Finds what somebody set that is no setting, such as EZREC_PREROLL, and which one was meant.

`.env` may hold lines that other programs read, and the environment is everybody's. So a name counts when it
begins as ours do, which in the environment a program of the owner's may use too, or when it is nearly one of
ours.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping

from ezrec.settings.definitions import RETIRED, TABLE

_PREFIX = "EZREC_"
_LIKENESS = 0.8  # of difflib: PREROLL and PRE_ROLL have 0.93
# Hooks get these, and may call `ezrec`.
HOOKS = frozenset({"EZREC_ALERT", "EZREC_ENTRY", "EZREC_EVENT", "EZREC_JOB", "EZREC_STAGE"})
KNOWN = {name: item for item in TABLE for name in (item.metadata["name"], *item.metadata["older"])}
_BARE = {known.removeprefix(_PREFIX): item.metadata["name"] for known, item in KNOWN.items()}
_OTHERS = {*KNOWN, *RETIRED, *HOOKS}


def found(environ: Mapping[str, str], file: Collection[str]) -> tuple[tuple[str, str], ...]:
    """Each unknown name with the setting that was meant, or with \"\" where none is near."""
    unknown = []
    for name in sorted({*environ, *file} - _OTHERS):
        is_ours = name.startswith(_PREFIX)
        if name not in file and not is_ours:
            continue
        meant = nearest(name)
        if meant or (is_ours and name in file):
            unknown.append((name, meant))
    return tuple(unknown)


@functools.lru_cache(256)
def nearest(name: str) -> str:
    """The setting whose name is most like this one; \"\" where none is near."""
    from difflib import get_close_matches  # only where something is unknown

    like = get_close_matches(name.upper().removeprefix(_PREFIX), _BARE, 1, _LIKENESS)
    return _BARE[like[0]] if like else ""
