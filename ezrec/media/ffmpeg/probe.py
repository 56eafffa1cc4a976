"""Looks into media files with ffprobe, and says in one line why a file cannot be used.

Trusts neither names nor contents nor the numbers in them. Changes no file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import msgspec

from ezrec.domain import json_decode
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.ports import MediaInfo
from ezrec.media.ffmpeg import colours, exif
from ezrec.media.ffmpeg.colours import Appearance
from ezrec.media.ffmpeg.inputs import MOST_PIXELS_A_SIDE as MOST_PIXELS_A_SIDE
from ezrec.media.ffmpeg.inputs import MediaKind, TooLarge, Unusable, file_url, input_options, sniffed
from ezrec.media.ffmpeg.rates import rate_of
from ezrec.media.ffmpeg.runner import FfmpegFailed, Limits, run
from ezrec.media.mp4 import boxes, copyable, keyframes, limits
from ezrec.media.mp4.copyable import StreamInfo
from ezrec.system.task import CancelToken

_FIELDS = (
    "format=start_time,duration:stream=index,id,codec_type,codec_name,width,height,pix_fmt,color_range,"
    "color_space,color_transfer,color_primaries,field_order,sample_fmt,sample_aspect_ratio,r_frame_rate,avg_frame_rate,start_time,duration,nb_frames"
    ":stream_disposition=attached_pic:stream_side_data=rotation"
)


class _Disposition(msgspec.Struct):
    attached_pic: int = 0


class _SideData(msgspec.Struct):
    rotation: float = 0.0


class _Stream(msgspec.Struct):
    index: int
    id: str = ""
    codec_type: str = ""
    codec_name: str = ""
    width: int = 0
    height: int = 0
    pix_fmt: str = ""
    color_range: str = ""
    color_space: str = ""
    color_transfer: str = ""
    color_primaries: str = ""
    field_order: str = ""
    sample_fmt: str = ""
    sample_aspect_ratio: str = "1:1"
    r_frame_rate: str = "0/0"
    avg_frame_rate: str = "0/0"
    start_time: str = ""
    duration: str = ""
    nb_frames: str = ""
    disposition: _Disposition = msgspec.field(default_factory=_Disposition)
    side_data_list: list[_SideData] = msgspec.field(default_factory=list)


class _Format(msgspec.Struct):
    start_time: str = ""
    duration: str = ""


class _Report(msgspec.Struct):
    streams: list[_Stream] = msgspec.field(default_factory=list)
    format: _Format = msgspec.field(default_factory=_Format)


@dataclass(frozen=True, slots=True)
class Media:
    """A file as the graph needs it. `info` gives the size as displayed: rotated, with square pixels."""

    path: Path
    demuxer: str
    info: MediaInfo
    rate: Fraction
    video: int
    audio: int | None
    audio_codec: str = ""
    pix_fmt: str = ""
    full_range: bool = False
    offset_s: float = 0.0  # the picture begins so long after the file does
    is_cut: bool = False  # it still holds what its owner cut off: that is left out only where it is decoded
    varies: bool = False  # its picture changes in size
    appearance: Appearance = Appearance()
    tone_maps: bool = True  # whether this machine's FFmpeg can make of HDR what an ordinary screen shows
    stream_info: StreamInfo | None = field(
        default=None, repr=False, compare=False
    )  # read already, where it was


class Unseen(Retry):
    """It could not be looked into: the machine is at fault, or the file makes it look so."""


def inspect(
    kind: MediaKind, path: Path, *, ffprobe: str, nice: int, token: CancelToken | None = None
) -> Media:
    """Look into a file. Raises `Reject` in one line for what is no `kind`, `Unseen` if the machine fails."""
    try:
        demuxer = sniffed(kind, path)
        if demuxer == "mov":
            boxes.check_whole(path)
        tables = _tables(path) if demuxer == "mov" else None
        ask = _Asker(path, demuxer, ffprobe, nice, token)
        return _media(path, demuxer, tables, ask.report(), ask)
    except (boxes.TornFile, Unusable) as fault:
        raise kind.refused(path, fault) from None
    except FfmpegFailed as fault:
        if fault.passing:
            raise Unseen(f"{path.name}: {fault.last_word}") from None
        raise Reject(f"{path.name}: not usable as {kind.name}: {fault.last_word}", kind.remedy) from None
    except OSError as fault:
        raise Unseen(f"{path.name} cannot be read: {fault.strerror}") from fault


class _Asker:
    """Puts questions to ffprobe about one file."""

    def __init__(self, path: Path, demuxer: str, ffprobe: str, nice: int, token: CancelToken | None) -> None:
        options = [word for key, value in input_options(demuxer).items() for word in (f"-{key}", value)]
        self._argv = [ffprobe, "-v", "level+error", *options]
        self._url, self._nice, self._token = file_url(path), nice, token
        # Even a fragmented file's tables lie all over it: about 1 GB is read of a take of an hour.
        self._limits = Limits(wall_s=30 + path.stat().st_size / 10e6, idle_s=math.inf)

    def report(self) -> _Report:
        said = bytearray()
        self._ask(["-show_entries", _FIELDS, "-of", "json"], said.extend)
        try:
            return json_decode.decode(said, _Report)
        except (msgspec.DecodeError, UnicodeDecodeError) as fault:
            raise Unusable(f"ffprobe's answer cannot be read: {fault}") from None

    def measured_s(self, stream: int) -> float:
        """From the first packet of a stream to the end of its last one: reads the whole file."""
        span = _Span()
        self._ask(
            [
                "-select_streams",
                str(stream),
                "-show_entries",
                "packet=pts_time,duration_time",
                "-of",
                "csv=p=0",
            ],
            span.hear,
        )
        return span.length_s

    def _ask(self, question: list[str], hear: Callable[[bytes], None]) -> None:
        run(
            [*self._argv, *question, "-i", self._url],
            self._limits,
            nice=self._nice,
            on_output=hear,
            token=self._token,
        )


class _Span:
    """Adds up `pts,duration` lines as they come."""

    def __init__(self) -> None:
        self._rest = b""
        self._first, self._last = math.inf, -math.inf

    def hear(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-1000:]
        for line in lines:
            begin, _, length = line.decode(errors="replace").strip(",").partition(",")
            at = _number(begin)
            if at is not None:
                self._first = min(self._first, at)
                self._last = max(self._last, at + (_number(length) or 0.0))

    @property
    def length_s(self) -> float:
        return max(0.0, self._last - self._first) if math.isfinite(self._first) else 0.0


def _media(
    path: Path, demuxer: str, tables: keyframes.KeyframeTables | None, report: _Report, ask: _Asker
) -> Media:
    picture, sound = _picture(report), _sound(report)
    still = demuxer.endswith("_pipe")
    turned = exif.orientation(path) if still else exif.UPRIGHT
    width, height = _shown_size(picture, turned)
    frames = 1 if still else _frames(path, tables, picture)
    duration = 0.0 if still else _duration(path, report, picture, ask)
    begin, file_begin = (_number(text) or 0.0 for text in (picture.start_time, report.format.start_time))
    is_cut = demuxer == "mov" and _is_cut(tables, picture, sound)
    if is_cut:
        # Of a file in fragments FFmpeg gives what was cut off as well, at times before 0.
        duration, begin = duration + min(0.0, begin), max(0.0, begin)
        frames = tables.shown(picture.index) if tables else None
        if duration <= 0:
            raise Unusable("nothing of it is shown")
    if tables:
        _check_agreed(tables, picture, duration)
    rate = Fraction(1) if still else _rate(picture, frames, duration)
    info = MediaInfo(duration, width, height, float(rate), picture.codec_name, sound is not None, frames)
    return Media(
        path=path,
        demuxer=demuxer,
        info=info,
        rate=rate,
        video=picture.index,
        audio=sound.index if sound else None,
        audio_codec=sound.codec_name if sound else "",
        pix_fmt=picture.pix_fmt,
        full_range=picture.color_range == "pc" and not colours.is_rgb(picture.pix_fmt),
        offset_s=max(0.0, begin - file_begin),
        is_cut=is_cut,
        varies=_varies(path, tables, picture),
        appearance=_appearance(picture, turned, is_still=still),
    )


def _picture(report: _Report) -> _Stream:
    for stream in report.streams:
        if stream.codec_type == "video" and stream.codec_name and not stream.disposition.attached_pic:
            return stream
    heard = any(stream.codec_type == "audio" for stream in report.streams)
    raise Unusable("no picture in it, only sound" if heard else "no picture in it")


def _sound(report: _Report) -> _Stream | None:
    """The first that FFmpeg can decode: beside their usual sound, phones write some that only they know."""
    heard = (stream for stream in report.streams if stream.codec_type == "audio" and stream.codec_name)
    return next((stream for stream in heard if stream.sample_fmt not in ("", "unknown")), None)


def _appearance(picture: _Stream, turned: int, *, is_still: bool) -> Appearance:
    """A still picture without tags is BT.601, whatever its size."""
    told = colours.named(picture.color_primaries, picture.color_transfer, picture.color_space)
    return Appearance(
        colours.of_pixels(picture.pix_fmt, told, 0 if is_still else picture.height),
        colours.has_alpha(picture.pix_fmt),
        picture.field_order in ("tt", "bb", "tb", "bt"),
        turned,
    )


def _shown_size(stream: _Stream, turned: int) -> tuple[int, int]:
    """Width and height as a player shows them; `turned` is the orientation of a still picture."""
    aspect = _fraction(stream.sample_aspect_ratio.replace(":", "/")) or Fraction(1)
    width, height = round(stream.width * aspect), stream.height
    sides = (width, stream.width, height)
    if min(sides) <= 0 or max(sides) > MOST_PIXELS_A_SIDE:
        if min(sides) <= 0:
            raise Unusable("a damaged picture: it has no size")
        raise TooLarge(f"a picture of {width}x{height} pixels; at most {MOST_PIXELS_A_SIDE} a side")
    quarter_turns = sum(round(side.rotation / 90) for side in stream.side_data_list)
    return (height, width) if quarter_turns % 2 or turned > 4 else (width, height)


def _frames(path: Path, tables: keyframes.KeyframeTables | None, picture: _Stream) -> int | None:
    """Frames by the file's own tables; ffprobe does not count those of fragments."""
    if not boxes.is_fragmented(path):
        return int(_number(picture.nb_frames) or 0) or None
    track = tables.tracks.get(picture.index) if tables else None
    return len(track) or None if track else None


def _tables(path: Path) -> keyframes.KeyframeTables | None:
    """None where the file's own tables do not tell; raises `Beyond` for figures that cannot be true."""
    try:
        return keyframes.read(path)
    except limits.Beyond:
        raise
    except ValueError:
        return None


def _is_cut(tables: keyframes.KeyframeTables | None, picture: _Stream, sound: _Stream | None) -> bool:
    """Taken for granted where nobody can say."""
    try:
        return tables is None or tables.is_cut(picture.index, *([sound.index] if sound else []))
    except ValueError:
        return True


def _varies(path: Path, tables: keyframes.KeyframeTables | None, picture: _Stream) -> bool:
    track = tables.tracks.get(picture.index) if tables else None
    return bool(track and picture.codec_name == "h264" and copyable.varies(path, track))


def _check_agreed(tables: keyframes.KeyframeTables, picture: _Stream, duration: float) -> None:
    track = tables.tracks.get(picture.index)
    if track and len(track) and duration > limits.most_s(float(track.length_s)):
        raise Unusable(
            f"damaged: it says it lasts {duration:.0f} s, its pictures last {float(track.length_s):.0f} s"
        )


def _duration(path: Path, report: _Report, stream: _Stream, ask: _Asker) -> float:
    """The picture's own: in Matroska, and in some fragmented files, only the packets tell it."""
    duration = (
        _number(stream.duration) or ask.measured_s(stream.index) or _number(report.format.duration) or 0.0
    )
    if duration <= 0:
        raise Unusable("no picture in it: its duration is 0")
    limits.check_length(duration, path.stat().st_size)
    return duration


def _rate(stream: _Stream, frames: int | None, duration: float) -> Fraction:
    average = _fraction(stream.avg_frame_rate) or Fraction((frames or 25) / duration)
    return rate_of(_fraction(stream.r_frame_rate), average)


def fits(width: int, height: int, seconds: float) -> bool:
    """Within what is taken at all."""
    return (
        0 < min(width, height) <= max(width, height) <= MOST_PIXELS_A_SIDE and 0 < seconds <= limits.LONGEST_S
    )


def _fraction(text: str) -> Fraction | None:
    """A positive fraction such as 30000/1001, or None."""
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None
    return value if value > 0 else None


def _number(text: str) -> float | None:
    """A finite number, or None for what ffprobe leaves out or calls N/A."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
