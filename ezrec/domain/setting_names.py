"""Finds what somebody set that is no setting, such as EZREC_PREROLL, and which one was meant.

`.env` may hold lines that other programs read, and the environment is everybody's. So a name counts when it
begins as ours do, which in the environment a program of the owner's may use too, or when it is nearly one of
ours.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

_PREFIX = "EZREC_"
_LIKENESS = 0.8  # of difflib: PREROLL and PRE_ROLL have 0.93
# Hooks get these, and may call `ezrec`.
HOOKS = frozenset({"EZREC_ALERT", "EZREC_ENTRY", "EZREC_EVENT", "EZREC_JOB", "EZREC_STAGE"})


def unknown(
    environ: Collection[str], file: Collection[str], known: Mapping[str, str], retired: Collection[str]
) -> tuple[tuple[str, str], ...]:
    """Each name that is none, with the setting that was meant, or with "" where none is near.

    `known`: each setting's names, with the newest.
    """
    found = []
    for name in sorted({*environ, *file} - {*known, *retired, *HOOKS}):
        is_ours = name.startswith(_PREFIX)
        if name not in file and not is_ours:
            continue
        meant = nearest(name, known)
        if meant or (is_ours and name in file):
            found.append((name, meant))
    return tuple(found)


def nearest(name: str, known: Mapping[str, str]) -> str:
    """The setting whose name is most like this one; "" where none is near."""
    from difflib import get_close_matches  # only where something is unknown

    bare = {one.removeprefix(_PREFIX): newest for one, newest in known.items()}
    like = get_close_matches(name.upper().removeprefix(_PREFIX), bare, 1, _LIKENESS)
    return bare[like[0]] if like else ""


def note(name: str, meant: str) -> str:
    """What to say of it."""
    return f"{name} is no setting" + (
        f": did you mean {meant}?" if meant else ": ezrec config lists them all"
    )
