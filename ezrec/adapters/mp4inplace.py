"""Makes a plain file of a recording in fragments without moving a byte of it: for a disk without room.

A browser asks for every fragment of an hour by a request of its own. With one index it asks twice. The index
takes a few bytes a frame, and is written behind the recording; then sixteen bytes at its beginning turn all
fragments into media that a reader passes over.

1. look into the recording; what is not the camera's own kind is left as it is
2. write the index behind it, and make that durable: it is a recording in fragments still
3. overwrite the head of its old index, in one write within one sector; make that durable

Whatever ends it between two of them leaves a recording that is whole.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from ezrec import plain
from ezrec.adapters import footage, h264, mp4boxes, mp4lanes, mp4write
from ezrec.adapters.mp4boxes import Box
from ezrec.adapters.mp4samples import NotSimple

_SECTOR = 512
_HEAD = struct.Struct(">I4sQ")  # a box whose size takes eight bytes


def give_index(path: Path) -> int:
    """Returns the bytes that were added: 0 where the file has its index already.

    Raises `ValueError` in one line for a file that it cannot be done to, and `OSError`; it is then as it was.
    """
    if not mp4boxes.is_fragmented(path):
        return 0
    if path.lstat().st_nlink > 1:
        raise NotSimple("it lies elsewhere too")
    boxes = list(mp4boxes.top_level(path))
    index = _old_index(boxes)
    _without_unfinished(path, boxes)
    whole = path.stat().st_size
    moov = _index(path)
    fd = plain.open_fd(path, os.O_RDWR)
    try:
        try:
            _write(fd, moov, whole)
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, whole)
            raise
        _write(fd, _HEAD.pack(1, b"mdat", whole - index.offset), index.offset)
        os.fsync(fd)
    finally:
        os.close(fd)
    return len(moov)


def _old_index(boxes: list[Box]) -> Box:
    index = next((box for box in boxes if box.type == b"moov"), None)
    if index is None or index.offset // _SECTOR != (index.offset + _HEAD.size - 1) // _SECTOR:
        raise NotSimple("its index does not stand where a recorder writes it")
    return index


def _without_unfinished(path: Path, boxes: list[Box]) -> None:
    """What an earlier try, that was ended in the middle, has left behind the recording."""
    if sum(box.type == b"moov" for box in boxes) > 1 and boxes[-1].type == b"moov":
        os.truncate(path, boxes[-1].offset)


def _index(path: Path) -> bytes:
    found = footage.read(path)
    track, heard = found.footage.picture, found.footage.sound
    zero_s = track.begin_s
    lane = mp4lanes.as_it_is(track, zero_s)
    picture = mp4write.Picture(lane, found.sps.width, found.sps.height, h264.write_avcc(found.sets))
    sound = None
    if heard and found.sound:
        if heard.scale != found.sound.rate:
            raise NotSimple("its sound is counted in other ticks than samples")
        sound = mp4write.Sound(mp4lanes.as_it_is(heard, zero_s), found.sound.channels)
    return mp4write.index_in_place(picture, sound)


def _write(fd: int, data: bytes, offset: int) -> None:
    while data:
        count = os.pwrite(fd, data, offset)
        data, offset = data[count:], offset + count
