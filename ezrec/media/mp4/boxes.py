"""The boxes of an MP4 file: is the file whole, is it fragmented.

Reads headers only, never media data, so a file of hours takes a moment. Knows no codecs. Trusts no size that
it reads: each is checked against the file's length.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ezrec.system import plain_files

_MOST_BOXES = 8_000_000  # a day in fragments of 0.2 s has 3 million; more is a trap made of tiny boxes
_MOST_FOREIGN = 16 << 20
_WINDOW = 4096
_HEAD = struct.Struct(">I4s")
_USUAL = frozenset({b"moof", b"mdat", b"mfhd", b"traf", b"tfhd", b"tfdt", b"trun"})
_OPENERS = frozenset({b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid"})
_KNOWN = _OPENERS | _USUAL | {b"mfra", b"sidx", b"ssix", b"prft", b"emsg", b"meta"}


class TornFile(ValueError):
    """Not a whole MP4 file; the message says in one line what is wrong."""


class NoBox(TornFile):
    """There is no box header at this offset."""


class Box(NamedTuple):
    """One box as its header describes it; `end` may lie beyond the end of a torn file."""

    type: bytes
    offset: int
    size: int
    header: int = 8

    @property
    def end(self) -> int:
        return self.offset + self.size

    @property
    def body(self) -> int:
        return self.offset + self.header

    def __str__(self) -> str:
        return f"box '{self.type.decode('ascii', 'replace')}' at byte {self.offset}"


def top_level(path: Path) -> Iterator[Box]:
    """The boxes of a file in order. Raises `TornFile` at the first header that makes no sense."""
    with plain_files.opened(path, shared=True) as file:
        yield from Boxes(file).top()


def is_fragmented(path: Path) -> bool:
    """True for a file whose index is spread over fragments, as the camera writes it."""
    with plain_files.opened(path, shared=True) as file:
        boxes = Boxes(file)
        try:
            for box in boxes.top():
                if box.type == b"moof":
                    return True
                if box.type == b"moov":
                    return any(child.type == b"mvex" for child in boxes.inside(box))
        except TornFile:
            pass
    return False


def check_whole(path: Path) -> None:
    """Raise `TornFile` unless all boxes end in the file, an index is there, and fragments have their data."""
    with plain_files.opened(path, shared=True) as file:
        for _ in whole(Boxes(file)):
            pass


def lacks(path: Path) -> str:
    """Why a file that begins like an MP4 file is not whole; empty for a whole file, or one of another kind.

    Follows no link and waits for no FIFO: somebody else may replace the file at any time.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            boxes = Boxes(file)
            try:
                boxes.check_opening()
            except TornFile:
                return ""
            for _ in whole(boxes):
                pass
    except TornFile as fault:
        return str(fault)
    except OSError:
        return ""
    return ""


def whole(boxes: Boxes) -> Iterator[Box]:
    """The boxes of a whole file in order; raises `TornFile` as soon as the file turns out not to be whole.

    Cameras and dashcams append bytes that are no box. After a complete index and media they are ignored, and
    `boxes.end` is set to where they begin.
    """
    boxes.check_opening()
    seen, pending, at = set[bytes](), None, 0
    try:
        for box in boxes.top():
            if box.end > boxes.length:
                have = boxes.length - box.offset
                kind = TornFile if box.type in _KNOWN else NoBox
                raise kind(f"cut short: {box} says {box.size} bytes where the file has {have}")
            seen.add(box.type)
            pending, at = _pending(pending, box), box.end
            yield box
    except NoBox:
        if not {b"moov", b"mdat"} <= seen or pending or (b"moof" in seen and not boxes.is_foreign(at)):
            raise
        boxes.end = at
    if b"moov" not in seen:
        raise TornFile("no moov index: the file was never finished, or cut short")
    if pending is not None:
        raise TornFile(f"cut short: {pending} has no media data behind it")


class Boxes:
    """Reads a file's box headers; all levels together may have `_MOST_BOXES` boxes.

    `length`: bytes of the file. `end`: where its last box ends, once `whole` has read them.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._fd = file.fileno()
        self._left = _MOST_BOXES
        self._begin, self._window = 0, b""
        self.length = self.end = os.fstat(self._fd).st_size

    def top(self) -> Iterator[Box]:
        return self._walk(0, self.length)

    def inside(self, box: Box) -> Iterator[Box]:
        return self._walk(box.body, min(box.end, self.length))

    def at(self, offset: int) -> Box:
        """The box that begins there; raises `TornFile` where none does."""
        self.count()
        return self._at(offset, self.length)

    def count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise TornFile(f"more than {_MOST_BOXES} boxes")

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of the file; fewer at its end. Reads 4 KiB ahead: an hour has 18,000 fragments, and one
        system call then fetches a fragment's whole index and the next header.
        """
        at = offset - self._begin
        if at < 0 or at + size > len(self._window):
            if size > _WINDOW:
                return os.pread(self._fd, size, offset)
            self._begin, self._window, at = offset, os.pread(self._fd, _WINDOW, offset), 0
        return self._window[at : at + size]

    def word(self, offset: int) -> int:
        """A 32-bit number; bytes beyond the end of the file read as zero."""
        return int.from_bytes(self.read(offset, 4).ljust(4, b"\0"), "big")

    def is_foreign(self, offset: int) -> bool:
        """True when the bytes from `offset` on were appended by another program, after the last fragment.

        An interrupted write leaves half a header, or zeros. A damaged header in the middle is followed by
        fragments, which are footage.
        """
        if self.length - offset > _MOST_FOREIGN:
            return False
        found = os.pread(self._fd, _MOST_FOREIGN, offset)
        return len(found) >= 8 and any(found[:8]) and b"moof" not in found

    def check_opening(self) -> None:
        if self.length == 0:
            raise TornFile("the file is empty")
        if self.length < 8 or self.read(4, 4) not in _OPENERS:
            raise TornFile("not an MP4 file")

    def _walk(self, offset: int, end: int) -> Iterator[Box]:
        """The boxes between two offsets. The last one may claim to reach beyond `end`."""
        while offset < end:
            self.count()
            box = self._at(offset, end)
            yield box
            offset = box.end

    def _at(self, offset: int, end: int) -> Box:
        """Read one header: 32-bit size, 64-bit size (1), or "to the end" (0)."""
        head = self.read(offset, min(16, end - offset))
        if len(head) < 8:
            raise NoBox(f"cut short: {len(head)} stray bytes at byte {offset}")
        size, kind = _HEAD.unpack_from(head)
        header = 8
        if kind not in _USUAL and not all(
            0x20 <= byte < 0x7F or byte == 0xA9 for byte in kind
        ):  # zeros are what a power cut leaves
            raise NoBox(f"damaged at byte {offset}: no box begins there")
        if size == 0:
            size = end - offset
        elif size == 1:
            if len(head) < 16:
                raise NoBox(f"cut short: half a box header at byte {offset}")
            header, size = 16, struct.unpack_from(">Q", head, 8)[0]
        box = Box(kind, offset, size, header)
        if size < header:
            raise NoBox(f"damaged: {box} says it is {size} bytes long")
        return box


def _pending(pending: Box | None, box: Box) -> Box | None:
    """The `moof` that has no media data yet, once `box` was read."""
    if box.type == b"moof":
        return pending or box
    return None if box.type == b"mdat" else pending
