"""What is needed to copy a file's samples: its tables, and the parameter sets that its pictures use.

The container's header is not believed: some writers put another encoder's parameter sets there. Those in
front of the key frames count, and all key frames are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ezrec.media.mp4 import h264, samples
from ezrec.media.mp4.samples import NotSimple, SampleTables, Track
from ezrec.system import plain_files

_HEAD = 4096  # bytes; the units before a key frame's picture are usually much shorter
_LONGEST_HEAD = 1 << 20
_LC = 2
# Sampling frequencies by their index in an AudioSpecificConfig (ISO/IEC 14496-3).
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


@dataclass(frozen=True, slots=True)
class SoundForm:
    """What a decoder of AAC-LC has to know: samples a second, channels."""

    rate: int
    channels: int


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A file that can be copied. `idrs`: the numbers of its IDR pictures."""

    tables: SampleTables
    sets: h264.Sets
    sps: h264.Sps
    sound: SoundForm | None
    idrs: tuple[int, ...]

    @property
    def path(self) -> Path:
        return self.tables.path


def read(path: Path) -> StreamInfo:
    """Raises `ValueError`, with one line that says why, for a file that cannot be joined by copying."""
    tables = samples.read(path)
    with plain_files.opened(path, shared=True) as file:
        sets, idrs = _sets(file, tables.picture)
    if not idrs or idrs[0] != 0:
        raise NotSimple("it does not begin with an IDR picture")
    sps = [h264.read_sps(nal) for nal in sets.sps.values()]
    if len({(one.width, one.height, one.sar, one.full_range) for one in sps}) != 1:
        raise NotSimple("its picture changes in size or shape")
    if sps[0].chroma != 1 or sps[0].depth != 8 or not sps[0].progressive:
        raise NotSimple("its picture is interlaced, or finer than 4:2:0 in 8 bits")
    if sps[0].sar not in ((1, 1), (0, 0)):
        raise NotSimple("its pixels are not square")
    return StreamInfo(tables, sets, sps[0], sound_form(tables.sound), idrs)


def varies(path: Path, track: Track) -> bool:
    """True when the picture of an H.264 file changes its size; False also when that is unknown."""
    sizes = set[tuple[int, int]]()
    known = set[bytes]()
    with path.open("rb") as file:
        try:
            for number in track.key_numbers():
                units, _ = _opening(file, track.offsets[number], track.sizes[number])
                for nal in h264.gathered(units).sps.values():
                    if nal not in known:
                        known.add(nal)
                        sps = h264.read_sps(nal)
                        sizes.add((sps.width, sps.height))
        except ValueError:
            return False
    return len(sizes) > 1


def _sets(file: BinaryIO, track: Track) -> tuple[h264.Sets, tuple[int, ...]]:
    sets: h264.Sets | None = None
    idrs = []
    for number in track.key_numbers():
        units, first = _opening(file, track.offsets[number], track.sizes[number])
        found = h264.gathered(units)
        if sets is None:
            sets = found if found.is_complete else h264.read_avcc(track.header) | found
        elif found.sps or found.pps:
            sets = sets | found
        if h264.slice_pps(first) not in sets.pps:
            raise NotSimple("a picture refers to parameter sets that are nowhere")
        if h264.kind(first) == h264.IDR:
            idrs.append(number)
    assert sets
    return sets, tuple(idrs)


def _opening(file: BinaryIO, offset: int, size: int) -> tuple[list[bytes], bytes]:
    """The units before the first slice of a sample, and the first bytes of that slice."""
    room = min(_HEAD, size)
    while True:
        file.seek(offset)
        data = file.read(room)
        units = list[bytes]()
        for begin, end in h264.unit_ranges(data, size):
            unit = data[begin:end]
            if unit and h264.kind(unit) in (h264.SLICE, h264.IDR) and len(unit) >= min(end - begin, 40):
                return units, unit[:40]
            if len(unit) < end - begin:
                break
            units.append(unit)
        if room >= min(size, _LONGEST_HEAD):
            raise NotSimple("a key frame without a picture")
        room = min(size, room * 16, _LONGEST_HEAD)


def sound_form(track: Track | None) -> SoundForm | None:
    """Reads the decoder's configuration, which lies within nested descriptors."""
    if track is None:
        return None
    body, at = track.header[4:], 0
    skips = {3: 3, 4: 13, 5: 0}
    while at < len(body):
        tag, at, size = body[at], at + 1, 0
        while at < len(body):
            byte, at = body[at], at + 1
            size = size << 7 | byte & 0x7F
            if not byte & 0x80:
                break
        if tag == 5:
            return _configured(body[at : at + size])
        at += skips.get(tag, size)
    raise NotSimple("its sound is not described")


def _configured(config: bytes) -> SoundForm:
    word = int.from_bytes(config[:2].ljust(2, b"\0"), "big")
    kind, rate, channels, rest = word >> 11, word >> 7 & 15, word >> 3 & 15, word & 7
    if kind != _LC or rate >= len(AAC_RATES) or channels not in (1, 2) or rest:
        raise NotSimple("its sound is not plain AAC-LC in mono or stereo")
    return SoundForm(AAC_RATES[rate], channels)
