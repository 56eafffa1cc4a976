"""How FFmpeg opens a media file: with one demuxer, chosen by the file's first bytes, and no other file.

Every command line takes the options and the URL of its inputs from here. Runs nothing.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from ezrec.domain.errors import Reject
from ezrec.media.ffmpeg import file_kinds
from ezrec.media.ffmpeg.file_kinds import FileKind, Sort
from ezrec.system import plain_files

MOST_PIXELS_A_SIDE = 8192


class Unusable(ValueError):
    """The message says in one line why a file cannot be used; `cure`, where there is one, what would do."""

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.cure = cure


class TooLarge(Unusable):
    """A picture of more pixels than are taken."""


@dataclass(frozen=True, slots=True)
class MediaKind:
    """What a file is used for: the demuxers that may read it, and the remedy if none can."""

    name: str
    demuxers: tuple[str, ...]
    remedy: str

    def refused(self, path: Path, fault: ValueError) -> Reject:
        """What is wrong with a file, the command that mends it, and what to do with what comes of it."""
        cure = fault.cure if isinstance(fault, Unusable) else ""
        if isinstance(fault, TooLarge):
            cure = file_kinds.smaller(self.name, path.name, MOST_PIXELS_A_SIDE)
        return Reject(f"{path.name}: {fault}", f"{cure}; then {self.remedy}" if cure else self.remedy)


TAKE = MediaKind(
    "recording", ("mov",), "copy a whole MP4 recording into its place and retry, or remove the job"
)
RESULT = MediaKind("finished video", ("mov",), "")
INTRO = MediaKind("intro", ("mov", "matroska"), "upload an intro that plays: MP4, MOV or WebM with a picture")
LOGO = MediaKind("logo", ("png_pipe", "jpeg_pipe", "webp_pipe"), "upload the logo as PNG, JPEG or WebP")

_MAGIC: tuple[tuple[str, int, tuple[bytes, ...]], ...] = (
    ("mov", 4, (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")),
    ("matroska", 0, (b"\x1a\x45\xdf\xa3",)),
    ("png_pipe", 0, (b"\x89PNG\r\n\x1a\n",)),
    ("jpeg_pipe", 0, (b"\xff\xd8\xff",)),
    ("webp_pipe", 8, (b"WEBP",)),
)
_NO_FILE = (errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.ENOTDIR, errno.ENAMETOOLONG)
_NAMES = {"mov": "mov,mp4,m4a,3gp,3g2,mj2", "matroska": "matroska,webm"}


def input_options(demuxer: str) -> dict[str, str]:
    """The options of every input: one demuxer, local files, no references to other files.

    Without them FFmpeg opens an HLS playlist or a concat list named .mp4, and copies another customer's file
    into the output. A name such as `concat:a|b` is a protocol, so inputs are always named `file:/…`.
    """
    options = {"protocol_whitelist": "file", "format_whitelist": _NAMES.get(demuxer, demuxer), "f": demuxer}
    return options | ({"enable_drefs": "0", "use_absolute_path": "0"} if demuxer == "mov" else {})


def file_url(path: Path) -> str:
    return f"file:{path.absolute()}"


def sniffed(kind: MediaKind, path: Path) -> str:
    """The demuxer for the file's first bytes, if this kind of file may use it.

    Raises `Unusable` for a file that another try will not open either, `OSError` for trouble of the machine.
    """
    try:
        fd = plain_files.open_fd(path, shared=kind not in (TAKE, RESULT))
    except FileNotFoundError:
        raise Unusable("the file is missing") from None
    except OSError as fault:
        if fault.errno not in _NO_FILE:
            raise
        raise Unusable(f"cannot be opened: {fault.strerror}") from None
    try:
        head = os.read(fd, file_kinds.HEAD)
    finally:
        os.close(fd)
    if not head:
        raise Unusable("the file is empty")
    found = file_kinds.recognised(head)
    for demuxer, offset, magics in _MAGIC:
        if demuxer in kind.demuxers and head[offset:].startswith(magics) and not _is_other(found):
            return demuxer
    if found is None:
        raise Unusable(f"not usable as {kind.name}: it begins with {head[:12]!r}")
    under = "" if found.is_called(path.suffix) else f" under the name {path.suffix}"
    raise Unusable(
        f"not usable as {kind.name}: it is {found.name}{under}", file_kinds.cure(kind.name, found, path.name)
    )


def _is_other(found: FileKind | None) -> bool:
    """True for what begins like something usable and is something else."""
    return found is not None and found.sort in (Sort.WEBP_ANIMATION, Sort.PHONE_PHOTO)
