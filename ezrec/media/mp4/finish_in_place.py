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

from ezrec.domain.errors import Reject
from ezrec.media.mp4 import boxes, copyable, edit_lists, h264, keyframes, timeline, writer
from ezrec.media.mp4.boxes import Box
from ezrec.media.mp4.samples import NotSimple
from ezrec.system import plain_files

_SECTOR = 512
_HEAD = struct.Struct(">I4sQ")  # a box whose size takes eight bytes


def give_index(path: Path) -> int:
    """Returns the bytes that were added: 0 where the file has its index already.

    Raises `ValueError` in one line for a file that it cannot be done to, and `OSError`; it is then as it was.
    Raises `Reject` for one that must not be published as it is: it holds what its owner cut off.
    """
    _check_uncut(path)
    if not boxes.is_fragmented(path):
        return 0
    if path.lstat().st_nlink > 1:
        raise NotSimple("it lies elsewhere too")
    index = _old_index(path)
    _without_unfinished(path)
    whole = path.stat().st_size
    moov = _index(path)
    fd = plain_files.open_fd(path, os.O_RDWR)
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


def _check_uncut(path: Path) -> None:
    try:
        tables = keyframes.read(path)
        is_cut = tables.is_cut(*(index for index, track in tables.tracks.items() if len(track)))
    except edit_lists.Edited:
        is_cut = True
    except ValueError:
        return  # whether it is a video at all is for others to say
    if is_cut:
        raise Reject("its owner cut a part of it off, which is in it still", "make room on the disk")


def _old_index(path: Path) -> Box:
    index = next((box for box in boxes.top_level(path) if box.type == b"moov"), None)
    if index is None or index.offset // _SECTOR != (index.offset + _HEAD.size - 1) // _SECTOR:
        raise NotSimple("its index does not stand where a recorder writes it")
    return index


def _without_unfinished(path: Path) -> None:
    """What an earlier try, that was ended in the middle, has left behind the recording."""
    last, indexes = None, 0
    for last in boxes.top_level(path):
        indexes += last.type == b"moov"
    if last and indexes > 1 and last.type == b"moov":
        os.truncate(path, last.offset)


def _index(path: Path) -> bytes:
    found = copyable.read(path)
    track, heard = found.tables.picture, found.tables.sound
    zero_s = track.begin_s
    shown = timeline.as_it_is(track, zero_s)
    picture = writer.PictureTrack(shown, found.sps.width, found.sps.height, h264.write_avcc(found.sets))
    sound = None
    if heard and found.sound:
        if heard.scale != found.sound.rate:
            raise NotSimple("its sound is counted in other ticks than samples")
        sound = writer.SoundTrack(timeline.as_it_is(heard, zero_s), found.sound.channels)
    return writer.index_in_place(picture, sound)


def _write(fd: int, data: bytes, offset: int) -> None:
    while data:
        count = os.pwrite(fd, data, offset)
        data, offset = data[count:], offset + count
