"""Draws the filter graphs and command lines for FFmpeg. Pure: values in, argv out, nothing is opened or run.

ffmpeg-python only draws here. Its `run` deadlocks on an unread stderr and its `probe` knows no timeout,
so `runner.py` runs the command lines.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

import ffmpeg  # type: ignore[import-untyped]  # ffmpeg-python ships no types

from ezrec.domain.branding import ALWAYS, LogoPosition, LogoShow, LogoSpans
from ezrec.domain.encoders import SOFTWARE
from ezrec.media.ffmpeg import conversion
from ezrec.media.ffmpeg.colours import HD, Colours, of_video
from ezrec.media.ffmpeg.inputs import file_url, input_options
from ezrec.media.ffmpeg.probe import MOST_PIXELS_A_SIDE, Media

SOUND_RATE = 48_000
_SOUND_BITRATE = 128_000
SOUND = {"c:a": "aac", "b:a": _SOUND_BITRATE, "ar": SOUND_RATE, "ac": 2}
_LONGEST_PAD_S = 1.0  # what a part may be lengthened by standing still; more is a fault to be told
# FFmpeg 5.1 passes over a missing or broken input with exit 0 unless told that errors matter. It then also
# ends at a single spoilt frame, hence `tolerant`.
_STRICT = ("-xerror",)
_HEAD = ("-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info", "-progress", "pipe:1")

Stream = Any  # ffmpeg-python draws with untyped nodes


@dataclass(frozen=True, slots=True)
class Target:
    """What every part is made to be like."""

    width: int
    height: int
    rate: Fraction
    sound: bool
    full_range: bool = False
    colours: Colours = HD

    def frames(self, media: Media) -> int:
        return max(1, round(media.info.duration_s * self.rate))


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the result is encoded, and where it goes."""

    output: Path
    bitrate: int
    preset: str
    tolerant: bool = False
    encoder: str = SOFTWARE


@dataclass(frozen=True, slots=True)
class PlacedLogo:
    """A picture and where in the frame it stands."""

    picture: Media
    place: LogoPosition


@dataclass(frozen=True, slots=True)
class Video:
    """What a finished video is made of."""

    takes: Sequence[Media]
    intro: Media | None = None
    logo: PlacedLogo | None = None
    show: LogoShow | LogoSpans = ALWAYS

    @property
    def parts(self) -> tuple[Media, ...]:
        return (*((self.intro,) if self.intro else ()), *self.takes)

    @property
    def target(self) -> Target:
        """The first take decides on size and rate; sound is there as soon as one part has it."""
        first = self.takes[0]
        return Target(
            width=max(2, first.info.width // 2 * 2),
            height=max(2, first.info.height // 2 * 2),
            rate=first.rate,
            sound=any(part.info.has_audio for part in self.parts),
            colours=of_video(first.appearance.colours),
        )

    @property
    def frames(self) -> int:
        target = self.target
        return sum(target.frames(part) for part in self.parts)

    @property
    def joins(self) -> list[int]:
        """The number of the first frame of every part but the first."""
        target = self.target
        return list(accumulate(target.frames(part) for part in self.parts))[:-1]

    @property
    def seconds(self) -> Fraction:
        return self.frames / self.target.rate


def encode(program: str, video: Video, encoding: Encoding) -> list[str]:
    """One pass: [intro] + takes with the logo, each part made to measure before it is joined."""
    target = video.target
    main = _concat(
        [Measured(take, target, number).streams for number, take in enumerate(video.takes)], target
    )
    if video.logo:
        main = [with_logo(main[0], video.logo, target, **when(video.show)), *main[1:]]
    if video.intro:
        main = _concat([Measured(video.intro, target, len(video.takes)).streams, main], target)
    output = ffmpeg.output(*main, file_url(encoding.output), **_encoder(encoding, target, video.seconds))
    return compiled(program, output, tolerant=encoding.tolerant)


def copy(program: str, take: Media, take_size: int, output: Path) -> list[str]:
    """The take's own streams in a published file's order: index first. Its size bounds the output's."""
    source = opened(take)
    streams = [source[str(take.video)], *([source[str(take.audio)]] if take.audio is not None else [])]
    size_limit = take_size * 9 // 8 + (16 << 20)
    options = {"c": "copy", **_container(Fraction(take.info.duration_s), size_limit)}
    return compiled(program, ffmpeg.output(*streams, file_url(output), **options))


class Measured:
    """One input made to measure: size, rate, pixel format, sound, and an exact number of frames.

    Every length is set here, so that nothing in the graph can run without end: an intro of another
    rate made the older one-line concat filter do so.
    """

    def __init__(self, media: Media, target: Target, number: int) -> None:
        self._media, self._target, self._number = media, target, number
        self._frames = target.frames(media)
        self._source = opened(media, number, **({"reinit_filter:v": "0"} if media.varies else {}))

    @property
    def streams(self) -> list[Stream]:
        return [self._picture(), *([self.sound] if self._target.sound else [])]

    def _picture(self) -> Stream:
        target = self._target
        stream = self._begun(self._shifted(self._source[str(self._media.video)], "setpts"))
        stream = stream.filter("fps", fps=ratio(target.rate), start_time=0)
        stream = lengthened(fitted(stream, self._media, target), target)
        return stream.filter("trim", end_frame=self._frames)

    @property
    def sound(self) -> Stream:
        samples = round(self._frames * SOUND_RATE / self._target.rate)
        stream = self._recorded_sound() if self._media.audio is not None else self._silence(samples)
        stream = stream.filter(
            "aformat", sample_fmts="fltp", sample_rates=SOUND_RATE, channel_layouts="stereo"
        )
        return stream.filter("apad", whole_len=samples).filter("atrim", end_sample=samples)

    def _recorded_sound(self) -> Stream:
        """Begins with the picture: padded where it came later, cut where it came first, holes filled."""
        stream = self._shifted(self._source[str(self._media.audio)], "asetpts")
        return stream.filter("aresample", SOUND_RATE, **{"async": 1, "first_pts": 0})

    def _silence(self, samples: int) -> Stream:
        length = seconds_text(samples / SOUND_RATE)
        source = f"anullsrc=r={SOUND_RATE}:cl=stereo:d={length}"
        options = {"format_whitelist": "lavfi", "protocol_whitelist": "file", "t": length}
        return ffmpeg.input(source, f="lavfi", thread_queue_size=8 + self._number, **options)["0"]

    def _shifted(self, stream: Stream, name: str) -> Stream:
        offset = self._media.offset_s
        return stream.filter(name, f"PTS-{seconds_text(offset)}/TB") if offset else stream

    def _begun(self, stream: Stream) -> Stream:
        """Without what its owner cut off at the beginning, where the demuxer gives that as well."""
        return stream.filter("trim", start=0) if self._media.is_cut and self._media.offset_s else stream


def _concat(parts: Sequence[list[Stream]], target: Target) -> list[Stream]:
    if len(parts) == 1:
        return parts[0]
    node = ffmpeg.concat(*(stream for part in parts for stream in part), v=1, a=int(target.sound)).node
    return [node[number] for number in range(1 + target.sound)]


def fitted(stream: Stream, media: Media, target: Target) -> Stream:
    """The picture in the target's size and kind of pixels, with bars where its shape is another."""
    width, height = _fitted(media, target)
    as_target = functools.partial(
        conversion.fitted, stream, media, target.colours, full_range=target.full_range
    )
    if media.varies:
        # FFmpeg would begin a new graph at each new size, with the frames that were under way shown twice.
        inside: dict[str, object] = {"force_original_aspect_ratio": "decrease", "force_divisible_by": 2}
        stream = as_target(size=(target.width, target.height), inside=inside)
        stream = stream.filter("pad", target.width, target.height, "(ow-iw)/2", "(oh-ih)/2", eval="frame")
        return stream.filter("setsar", 1)
    stream = as_target(size=(width, height), inside={})
    if (width, height) != (target.width, target.height):
        x, y = (target.width - width) // 4 * 2, (target.height - height) // 4 * 2
        stream = stream.filter("pad", target.width, target.height, x, y)
    return stream.filter("setsar", 1)


def lengthened(stream: Stream, target: Target) -> Stream:
    """The last picture stands still for a little, where the file promised more than it has."""
    return stream.filter("tpad", stop=math.ceil(_LONGEST_PAD_S * target.rate), stop_mode="clone")


def with_logo(main: Stream, logo: PlacedLogo, target: Target, **when: str) -> Stream:
    """One picture over the main part, repeated by `overlay` for as long as that lasts."""
    place = logo.place
    return main.overlay(logo_planes(logo, target), x=place.x, y=place.y, **when)


def logo_planes(logo: PlacedLogo, target: Target) -> Stream:
    """A logo as it is laid over: in its place's size, in the target's colours, with transparency."""
    picture = still(logo, 0)
    return conversion.overlaid(picture, target.colours, full_range=target.full_range)


def still(logo: PlacedLogo, number: int) -> Stream:
    """A logo's picture in its place's size, as RGB with transparency; `number` is that of the input."""
    picture, place = logo.picture, logo.place
    first = opened(picture, number)[str(picture.video)].filter("trim", end_frame=1)
    return conversion.still(first, picture, (place.width, place.height))


def when(show: LogoShow | LogoSpans) -> dict[str, str]:
    if show.is_always:
        return {}
    if isinstance(show, LogoSpans):
        return {"enable": "+".join(f"gte(t,{on:.6f})*lt(t,{off:.6f})" for on, off in show.parts) or "0"}
    time = "t" if math.isinf(show.every_s) else f"mod(t,{show.every_s:g})"
    return {"enable": f"lt({time},{show.shown_s:g})"}


def _fitted(media: Media, target: Target) -> tuple[int, int]:
    """The largest even size of the part's shape inside the target."""
    width, height = media.info.width, media.info.height
    factor = min(Fraction(target.width, width), Fraction(target.height, height))
    return min(target.width, _even(width * factor)), min(target.height, _even(height * factor))


def _even(length: Fraction) -> int:
    return max(2, round(length / 2) * 2)


def _encoder(encoding: Encoding, target: Target, seconds: Fraction) -> dict[str, object]:
    """Encoder and container. Output is held to three times what the bitrate makes likely."""
    total = encoding.bitrate + (_SOUND_BITRATE if target.sound else 0)
    options: dict[str, object] = {
        **own_options(encoding.encoder, encoding.preset, "high"),
        "pix_fmt": "yuv420p",
        "r": ratio(target.rate),
        "g": max(1, round(2 * target.rate)),
        "b:v": encoding.bitrate,
        "maxrate": encoding.bitrate * 3 // 2,
        "bufsize": encoding.bitrate * 2,
        **tags(target),
    }
    if target.sound:
        options |= SOUND
    return options | _container(seconds, int(seconds * total / 8 * 3) + (16 << 20))


def tags(target: Target) -> dict[str, object]:
    """What the video says of its colours: all of it, for browsers pass over tags that are not complete."""
    names = ("color_primaries", "color_trc", "colorspace")
    return {
        "color_range": "pc" if target.full_range else "tv",
        **dict(zip(names, target.colours, strict=True)),
    }


def own_options(encoder: str, preset: str, profile: str | None) -> dict[str, object]:
    """What only one encoder understands. One in hardware chooses its profile itself."""
    if encoder == SOFTWARE:
        return {"c:v": encoder, "preset": preset, "profile:v": profile}
    return {"c:v": encoder}


def _container(seconds: Fraction, size_limit: int) -> dict[str, object]:
    guard = {"t": seconds_text(float(seconds) + 1), "fs": size_limit}
    return {"f": "mp4", "movflags": "+faststart", "map_metadata": -1, "map_chapters": -1, **guard}


def opened(media: Media, number: int = 0, **extra: str | None) -> Stream:
    """Every file enters here, and nowhere else.

    Pixels are bounded: a stream may change size on its way. The queue size makes each input unlike the
    others: ffmpeg-python takes equal inputs for one, and refuses to use one twice.
    """
    options: dict[str, object] = {
        "max_pixels": MOST_PIXELS_A_SIDE**2,
        "thread_queue_size": 8 + number,
        **extra,
    }
    if media.demuxer.endswith("_pipe"):
        options["noautorotate"] = None  # we turn it ourselves: FFmpeg reads EXIF in some formats only
    return ffmpeg.input(file_url(media.path), **input_options(media.demuxer), **options)


def compiled(program: str, output: Stream, *, tolerant: bool = False) -> list[str]:
    head = _HEAD if tolerant else _HEAD + _STRICT
    argv: list[str] = ffmpeg.compile(output, cmd=[program, *head], overwrite_output=True)
    return argv


def ratio(rate: Fraction) -> str:
    return f"{rate.numerator}/{rate.denominator}"


def seconds_text(value: float) -> str:
    return f"{value:.6f}"
