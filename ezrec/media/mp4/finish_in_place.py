"""Turns a fragmented recording into a plain MP4 without moving a byte, for a disk without room.

A browser sends one request for each fragment of an hour; with a single index it sends two. The index takes a
few bytes a frame. It is appended to the recording, and then sixteen bytes at the beginning turn all fragments
into one box of media data.

1. read the recording; one that the camera did not write is left unchanged
2. append the index and sync it: the file is still a whole fragmented recording
3. overwrite the header of the old index, in one write within one sector, and sync it

The recording is whole at every moment, also if this is interrupted between two steps.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from ezrec.domain.errors import Reject
from ezrec.media.mp4 import boxes, copyable, edit_lists, h264, index, keyframes, timeline
from ezrec.media.mp4.boxes import Box
from ezrec.media.mp4.samples import NotSimple
from ezrec.system import plain_files

_SECTOR = 512
_HEAD = struct.Struct(">I4sQ")  # a box whose size takes eight bytes


def give_index(path: Path) -> int:
    """Append an index to a fragmented file; returns the bytes added, 0 if it has its index already.

    Raises `ValueError`, with one line that says why, for a file that cannot get one, and `OSError`; the file
    is then unchanged. Raises `Reject` for a file that holds what its owner cut off: it must not be published.
    """
    _check_uncut(path)
    if not boxes.is_fragmented(path):
        return 0
    if path.lstat().st_nlink > 1:
        raise NotSimple("it lies elsewhere too")
    old = _old_index(path)
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
        _write(fd, _HEAD.pack(1, b"mdat", whole - old.offset), old.offset)
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
        return  # the caller finds out whether it is a video at all
    if is_cut:
        raise Reject("it still holds what its owner cut off", "make room on the disk")


def _old_index(path: Path) -> Box:
    moov = next((box for box in boxes.top_level(path) if box.type == b"moov"), None)
    if moov is None or moov.offset // _SECTOR != (moov.offset + _HEAD.size - 1) // _SECTOR:
        raise NotSimple("its index is not where a recorder writes it")
    return moov


def _without_unfinished(path: Path) -> None:
    """Remove the index that an earlier, interrupted try has appended."""
    last, indexes = None, 0
    for last in boxes.top_level(path):
        indexes += last.type == b"moov"
    if last and indexes > 1 and last.type == b"moov":
        os.truncate(path, last.offset)


def _index(path: Path) -> bytes:
    found = copyable.read(path)
    picture, sound = found.tables.picture, found.tables.sound
    zero_s = picture.begin_s
    picture_track = index.PictureTrack(
        timeline.as_it_is(picture, zero_s), found.sps.width, found.sps.height, h264.write_avcc(found.sets)
    )
    sound_track = None
    if sound and found.sound:
        if sound.scale != found.sound.rate:
            raise NotSimple("its sound is counted in other ticks than samples")
        sound_track = index.SoundTrack(timeline.as_it_is(sound, zero_s), found.sound.channels)
    return index.in_place(picture_track, sound_track)


def _write(fd: int, data: bytes, offset: int) -> None:
    while data:
        count = os.pwrite(fd, data, offset)
        data, offset = data[count:], offset + count
