"""Builds the command lines for what stands between copied frames: an intro, a logo, silence.

They have the camera's size, rate and kind of sound, no B-frames, and parameter sets under an id that the
camera does not use, so that one header can hold both. Pure: nothing is opened or run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import ffmpeg  # type: ignore[import-untyped]  # ffmpeg-python ships no types

from ezrec.domain.branding import LogoPosition
from ezrec.domain.encoders import SOFTWARE
from ezrec.media.ffmpeg import conversion, filters
from ezrec.media.ffmpeg.inputs import file_url, input_options
from ezrec.media.ffmpeg.probe import MOST_PIXELS_A_SIDE, Media

HIGH = 100
PARTS_ID = 2  # of segments' parameter sets: hardware encoders use 0, the intro gets the next free id
_PROFILES = {66: "baseline", 77: "main", HIGH: "high"}
_SOUND_BITRATE = 128_000
_SILENT_S = 0.5


@dataclass(frozen=True, slots=True)
class EncodeFormat:
    """The format of frames that stand beside the camera's. `sets_id`: the id of their parameter sets.

    `bitrate` in bit/s; `sound_rate` in samples a second.
    """

    target: filters.Target
    profile: int
    sets_id: int
    sound_rate: int
    channels: int
    bitrate: int
    preset: str
    encoder: str = SOFTWARE

    @property
    def profile_name(self) -> str | None:
        return _PROFILES.get(self.profile)


def segment_format(target: filters.Target, bitrate: int, preset: str, encoder: str) -> EncodeFormat:
    """The format of segments that stand in for all of a take's frames; they have no sound of their own."""
    return EncodeFormat(target, HIGH, PARTS_ID, 0, 0, bitrate, preset, encoder)


def intro(program: str, media: Media, encode_format: EncodeFormat, output: Path) -> list[str]:
    part = filters.Measured(media, encode_format.target, 0)
    sound = _sound(encode_format) if encode_format.target.sound else {}
    seconds = encode_format.target.frames(media) / encode_format.target.rate
    # A key frame shortly before the join: whoever checks it, or seeks there, has little to decode.
    join = f"expr:eq(n,{max(0, encode_format.target.frames(media) - 4)})"
    options = {
        **picture(encode_format), **sound, **_container(seconds), "force_key_frames": join, "forced-idr": 1,
    }  # fmt: skip
    return filters.compiled(program, ffmpeg.output(*part.streams, file_url(output), **options))


def with_logo(
    program: str,
    cut: Path,
    output: Path,
    logo: filters.PlacedLogo,
    encode_format: EncodeFormat,
    shown: tuple[int, int],
) -> list[str]:
    """Each frame once, at even times: the video gives them those of the frames that they replace."""
    target = encode_format.target
    source = ffmpeg.input(file_url(cut), max_pixels=MOST_PIXELS_A_SIDE**2, **input_options("mov"))
    rate = filters.ratio(target.rate)
    numbered = source["v:0"].filter("settb", f"1/({rate})").filter("setpts", "N").filter("fps", fps=rate)
    first, last = shown
    numbered = conversion.tagged(numbered, target.colours, full_range=target.full_range)
    laid = filters.with_logo(numbered, logo, target, enable=f"gte(n,{first})*lt(n,{last})")
    options = {**picture(encode_format), "fps_mode": "passthrough", "f": "mp4", "map_metadata": -1}
    if target.full_range:
        options["pix_fmt"] = "yuvj420p"
    return filters.compiled(program, ffmpeg.output(laid, file_url(output), **options))


def composed(
    program: str, logos: Sequence[filters.PlacedLogo], around: LogoPosition, output: Path
) -> list[str]:
    """All logos in one picture, transparent between them.

    They are added, which is right because they never overlap; FFmpeg's `overlay` lost transparency.
    """
    laid = None
    for number, logo in enumerate(logos):
        place = logo.place
        picture = (
            filters.still(logo, number)
            .filter("format", "rgba")
            .filter(
                "pad", around.width, around.height, place.x - around.x, place.y - around.y, color="black@0"
            )
            .filter("setpts", 0)
        )
        laid = picture if laid is None else ffmpeg.filter([laid, picture], "blend", all_mode="addition")
    assert laid is not None
    options = {"frames:v": 1, "c:v": "png", "pix_fmt": "rgba", "f": "image2pipe"}
    return filters.compiled(
        program, ffmpeg.output(laid.filter("format", "rgba"), file_url(output), **options)
    )


def silence(program: str, rate: int, channels: int, output: Path) -> list[str]:
    shape = "mono" if channels == 1 else "stereo"
    source = ffmpeg.input(
        f"anullsrc=r={rate}:cl={shape}:d={_SILENT_S}", f="lavfi", format_whitelist="lavfi",
        protocol_whitelist="file", t=_SILENT_S,
    )  # fmt: skip
    options = {"c:a": "aac", "b:a": _SOUND_BITRATE, "ar": rate, "ac": channels, "f": "mp4"}
    return filters.compiled(program, ffmpeg.output(source["0"], file_url(output), **options))


def picture(encode_format: EncodeFormat) -> dict[str, object]:
    """Encoder options. Parameter sets are written to the header only: if some are in-band too, converters to
    a byte stream leave out the header's, which include the camera's, and OpenH264 showed nothing of the
    recording.
    """
    target = encode_format.target
    return {
        **filters.own_options(encode_format.encoder, encode_format.preset, encode_format.profile_name),
        "pix_fmt": "yuv420p",
        "bf": 0,
        "g": max(1, round(target.rate)),
        "flags": "+cgop",
        "b:v": encode_format.bitrate,
        "maxrate": encode_format.bitrate * 3 // 2,
        "bufsize": encode_format.bitrate * 2,
        **filters.tags(target),
        **({"x264-params": f"sps-id={encode_format.sets_id}"} if encode_format.encoder == SOFTWARE else {}),
    }


def _sound(encode_format: EncodeFormat) -> dict[str, object]:
    return {"c:a": "aac", "b:a": _SOUND_BITRATE, "ar": encode_format.sound_rate, "ac": encode_format.channels}


def _container(seconds: Fraction) -> dict[str, object]:
    return {"f": "mp4", "map_metadata": -1, "map_chapters": -1, "t": filters.seconds_text(float(seconds) + 1)}
