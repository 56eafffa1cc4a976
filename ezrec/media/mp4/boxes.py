"""The outer boxes of an MP4 file: is it whole, is it fragmented, where does its whole part end.

Walks headers only and never reads media data, so a file of hours is judged in a moment. Knows
nothing of codecs. Trusts no size it reads: a box is a claim, the file's length is the fact.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ezrec.system import plain_files

_MOST_BOXES = 8_000_000  # a day in fragments of 0.2 s has 3 million; more is a trap made of tiny boxes
_MOST_CUT = 64 << 20  # a torn tail is seconds long; behind anything longer there may be footage
_MOST_FOREIGN = 16 << 20
_WINDOW = 4096
_HEAD = struct.Struct(">I4s")
_USUAL = frozenset({b"moof", b"mdat", b"mfhd", b"traf", b"tfhd", b"tfdt", b"trun"})
_OPENERS = frozenset({b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid"})
_KNOWN = _OPENERS | _USUAL | {b"mfra", b"sidx", b"ssix", b"prft", b"emsg", b"meta"}


class TornFile(ValueError):
    """Not a whole MP4 file; the message says in one line what is wrong."""


class NoBox(TornFile):
    """What stands there is no header of a box."""


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
    """True where the index stands in fragments throughout the file, as the camera writes it."""
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
    """What a file lacks that begins as an MP4 file does; nothing of what is whole, or no such file at all.

    For a name that somebody else may swap: follows no link, and waits for no FIFO.
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
    """The boxes of a whole file in order; raises `TornFile` as soon as it turns out not to be one.

    Cameras and dashcams append what is no box. Behind index and media that is no fault: `boxes.end` tells
    where it begins.
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


def cut_torn_tail(path: Path) -> int:
    """Segment a fragmented file behind its last whole fragment, durably; returns the bytes cut, 0 when whole.

    A torn fragment makes FFmpeg 5.1 drop every take that follows it, with exit 0. A plain MP4 is left
    as it is. Raises `TornFile` rather than cut what cannot be the tail of one interrupted write.
    """
    if not is_fragmented(path):
        return 0
    with plain_files.opened_to_change(path) as file:
        boxes = Boxes(file)
        whole = _whole_part(boxes)
        torn = boxes.length - whole
        if torn > _MOST_CUT:
            raise TornFile(f"damaged at byte {whole}: the {torn} bytes that follow were not cut off")
        if torn:
            file.truncate(whole)
            os.fsync(file.fileno())
        return torn


class Boxes:
    """A file read by its box headers, with one allowance of boxes for all levels together."""

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
        """Bytes of the file; fewer where it ends. An hour has 18,000 fragments: one call of the kernel
        fetches a fragment's index with all that is asked of it, and the header behind it.
        """
        at = offset - self._begin
        if at < 0 or at + size > len(self._window):
            if size > _WINDOW:
                return os.pread(self._fd, size, offset)
            self._begin, self._window, at = offset, os.pread(self._fd, _WINDOW, offset), 0
        return self._window[at : at + size]

    def word(self, offset: int) -> int:
        """A 32-bit number; what lies behind the end of the file reads as zero."""
        return int.from_bytes(self.read(offset, 4).ljust(4, b"\0"), "big")

    def is_foreign(self, offset: int) -> bool:
        """True for what another program appended behind fragments.

        A write that broke off leaves half a header, or zeros. One spoilt header in the middle has fragments
        behind it: those are footage.
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
        """The boxes between two places. The last one may claim to reach further than `end`."""
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
    """The fragment index that still waits for its media data, after `box`."""
    if box.type == b"moof":
        return pending or box
    return None if box.type == b"mdat" else pending


def _whole_part(boxes: Boxes) -> int:
    """Where the last box ends that is whole and belongs to no half fragment."""
    whole, pending = 0, None
    try:
        for box in boxes.top():
            if box.end > boxes.length or (box.type == b"moof" and not _is_sound(boxes, box)):
                break
            pending = _pending(pending, box)
            if pending is None:
                whole = box.end
    except TornFile:
        pass
    return whole


def _is_sound(boxes: Boxes, moof: Box) -> bool:
    """False for a fragment index whose pages never reached the disk: zeros inside a proper box."""
    first, end = b"", 0
    for child in boxes.inside(moof):
        first, end = first or child.type, child.end
    return first == b"mfhd" and end == moof.end
