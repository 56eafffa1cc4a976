"""The only place where names from outside become names on disk.

Everything that goes into a path passes `safe_id` first. Patterns use `fullmatch`, because `^…$` also accepts
a name that ends in a newline.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import NewType

JobId = NewType("JobId", str)

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_MAX = 64

# The file names of docs/contract.md, section "Files", newest form first.
_CLIP_NAMES = (
    re.compile(
        r"(?:processed_)?raw_(?P<id>.+)_(?P<date>[0-9]{8})_(?P<time>[0-9]{6})(?:_[0-9a-f]{8})?", re.DOTALL
    ),
    re.compile(r"recording_(?P<date>[0-9]{8})_(?P<time>[0-9]{6})_(?P<id>.+)", re.DOTALL),
    re.compile(r"raw_(?P<id>.+)_(?P<time>[0-9]{6})", re.DOTALL),
    re.compile(r"(?P<id>.+)", re.DOTALL),
)
# A box without a battery clock dates its files from 1970 on; other years are no date.
_YEARS = range(1970, 2200)
# What copying programs call a file that is not complete yet.
UNFINISHED_SUFFIXES = (".part", ".partial", ".filepart", ".tmp", ".crdownload", ".swp", "~")

# What file shares, browsers and disks leave beside people's files; matched without regard to case.
_LITTER = re.compile(
    r"\..*|thumbs\.db|ehthumbs.*\.db|desktop\.ini|~\$.*|.*[:_]zone\.identifier"  # Windows
    r"|\$recycle\.bin|recycler|system volume information"
    r"|@(eadir|tmp|recycle|recently-snapshot|__thumb|syno.*)|.*@syno(resource|eastream)|#recycle|#snapshot"
    r"|icon\r|__macosx|lost\+found",  # above: Synology and QNAP
    re.IGNORECASE | re.DOTALL,
)


class BadName(ValueError):
    """The name cannot be used as an id; the message says why, in one line."""


def safe_id(text: object) -> JobId:
    """Return `text` as a job id, or raise `BadName`.

    An id is 1 to 64 ASCII letters, digits, `_` or `-`, and begins with a letter or digit.
    """
    if not isinstance(text, str):
        raise BadName(f"an id must be text, not {type(text).__name__}")
    if len(text) > _MAX:
        raise BadName(f"an id of {len(text)} characters is longer than {_MAX}: {text[:24]!r}…")
    if not _SAFE.fullmatch(text):
        raise BadName(f"the id {text!r} may hold only letters, digits, '_' and '-'")
    return JobId(text)


def is_litter(name: str) -> bool:
    """True for a hidden name, and for one that a file share or a browser leaves beside a person's files.

    Such a thing is passed over wherever work is looked for: no person put it there.
    """
    return _LITTER.fullmatch(name) is not None


def numbered(job_id: JobId, n: int) -> JobId:
    """The n-th id made from `job_id` (`n` ≥ 2), still within the length limit."""
    suffix = f"-{n}"
    return safe_id(job_id[: _MAX - len(suffix)] + suffix)


def rejected_id(name: str) -> JobId:
    """The id of the job in `failed/` for a refused file.

    Not the bare name: that may be a booking's id, which must stay free for the corrected booking.
    """
    stem = name.rpartition(".")[0] or name
    try:
        return safe_id(f"{safe_id(stem)[: _MAX - len('-rejected')]}-rejected")
    except BadName:
        return stand_in(name)


def stand_in(name: str) -> JobId:
    """A safe id for something whose own name is not safe; the same name gives the same id."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return safe_id(f"unsafe-{digest}")


def raw_name(booking_id: JobId, started: datetime) -> str:
    """File name of a take: `raw_<booking>_<YYYYMMDD>_<HHMMSS>.mp4`, in `started`'s own zone."""
    return f"raw_{booking_id}_{started:%Y%m%d_%H%M%S}.mp4"


def published_name(take_name: str) -> str:
    """File name under which the finished video of `take_name` is uploaded."""
    return f"processed_{take_name}"


def tagged_name(name: str, tag: str) -> str:
    """`name` with a tag of eight hexadecimal digits, for a video whose name is taken."""
    stem, dot, ending = name.rpartition(".")
    return f"{stem}_{tag}{dot}{ending}"


@dataclass(frozen=True, slots=True)
class ClipName:
    """What a dropped file's name says: the booking and, perhaps, the local time it began."""

    booking_id: JobId
    started: datetime | None


def parse_clip_name(name: str) -> ClipName:
    """Read a dropped file's name in any of the forms of docs/contract.md, or raise `BadName`."""
    stem, dot, extension = name.rpartition(".")
    if not dot or extension.lower() != "mp4":
        raise BadName(f"{shown(name)} does not end in .mp4")
    for pattern in _CLIP_NAMES:
        match = pattern.fullmatch(stem)
        if match is None:
            continue
        parts = match.groupdict()
        started = None
        if "time" in parts:
            try:
                clock = f"{parts.get('date', '20000101')}{parts['time']}"
                started = datetime.strptime(clock, "%Y%m%d%H%M%S")  # noqa: DTZ007 - names carry no zone
            except ValueError:
                continue  # digits that are no date: a longer id, then
            if started.year not in _YEARS:
                continue
            if "date" not in parts:
                started = None  # a time of day alone does not say when
        return ClipName(safe_id(parts["id"]), started)
    raise BadName(f"{shown(name)} names no booking")


def shown(name: str, limit: int = 80) -> str:
    """`name` for one line of text: quoted, escaped, and cut at `limit` characters."""
    text = name if len(name) <= limit else name[:limit] + "…"
    return ascii(text)


# The characters that the cloud's storage takes; every backend keeps to them.
_PART = re.compile(r"[A-Za-z0-9_!\-*'() &$@=;:+,?][A-Za-z0-9_!\-.*'() &$@=;:+,?]*")
_LONGEST_KEY = 900
# A file name may have 255 bytes; a writer needs some of them for the temporary name beside it.
_LONGEST_PART = 200


class InvalidKey(ValueError):
    """The bucket or key cannot name an object; the message says why, in one line."""


def object_parts(bucket: str, key: str) -> tuple[str, ...]:
    """The bucket and the parts of the key, fit to become a path; raises `InvalidKey`.

    No part begins with a dot: `..` leads out of the bucket, and hidden names are the writers' own.
    """
    try:
        safe_id(bucket)
    except BadName as fault:
        raise InvalidKey(f"not the name of a bucket: {fault}") from None
    if not key or len(key) > _LONGEST_KEY:
        raise InvalidKey(f"an object key has 1 to {_LONGEST_KEY} characters, not {len(key)}")
    parts = tuple(key.split("/"))
    for part in parts:
        if len(part) > _LONGEST_PART:
            raise InvalidKey(f"a part of the object key {shown(key)} is longer than {_LONGEST_PART}")
        if not _PART.fullmatch(part):
            raise InvalidKey(
                f"the object key {shown(key)} has the part {shown(part)}, which names nothing safe"
            )
    return (bucket, *parts)
