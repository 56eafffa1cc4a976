"""Filters that bring a picture of any kind into a finished video's colours, as a good player shows it. Pure.

`scale` alone takes every video for BT.601. Here it is told what comes in and what is to come out, and the
result is tagged: FFmpeg 7 would convert once more what is not.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ezrec.media.ffmpeg.colours import BT709, Colours
from ezrec.media.ffmpeg.probe import Media

Stream = Any  # ffmpeg-python draws with untyped nodes

_LINEAR = 8
_EXACT = "bicubic+accurate_rnd+full_chroma_int"  # without these a colour comes out up to six steps off
# White of an ordinary video stands at 203 cd/m² in HDR (ITU-R BT.2408), what is brightest as a rule at 1000.
_WHITE, _PEAK = 203, Fraction(1000, 203)
_KEPT = 0.5  # of white: up to there brightness stays as it is, above it makes room for what is brighter still
_TURNS: dict[int, tuple[tuple[str, ...], ...]] = {
    2: (("hflip",),), 3: (("hflip",), ("vflip",)), 4: (("vflip",),), 5: (("transpose", "cclock_flip"),),
    6: (("transpose", "clock"),), 7: (("transpose", "clock_flip"),), 8: (("transpose", "cclock"),),
}  # fmt: skip


def fitted(
    stream: Stream,
    media: Media,
    colours: Colours,
    *,
    full_range: bool,
    size: tuple[int, int],
    inside: dict[str, object],
) -> Stream:
    """A video's picture scaled to `size`, in these colours. `inside`: further options of `scale`."""
    seen = media.appearance
    own, its_range = seen.colours, media.full_range
    if seen.is_interlaced:
        stream = stream.filter("bwdif", mode="send_frame", deint="interlaced")
    if seen.has_alpha:
        stream = _on_black(stream, media)
        own, its_range = own._replace(matrix=0), False
    if not own.is_rgb and (own.is_hdr or own.is_wide) and media.tone_maps:
        stream = stream.filter("scale", *size, **inside).filter("format", "yuv420p10le")
        stream = _narrowed(stream, own, its_range, colours, full_range)
    else:
        ways = {**inside, **_matrices(own, its_range, colours, full_range)}
        stream = stream.filter("scale", *size, **ways)
    return tagged(stream.filter("format", "yuv420p"), colours, full_range=full_range)


def still(stream: Stream, picture: Media, size: tuple[int, int]) -> Stream:
    """A still picture the right way up in `size`, as RGB with transparency.

    What is transparent has a colour, too, which is not to be seen at its edges when it is scaled.
    """
    seen = picture.appearance
    for name, *values in _TURNS.get(seen.orientation, ()):
        stream = stream.filter(name, *values)
    stream = _rgb(stream, picture)
    if not seen.has_alpha:
        return stream.filter("scale", *size)
    stream = stream.filter("premultiply", inplace=1).filter("scale", *size)
    return stream.filter("unpremultiply", inplace=1)


def overlaid(stream: Stream, colours: Colours, *, full_range: bool) -> Stream:
    """RGB with transparency as `overlay` lays it over a video of these colours."""
    stream = stream.filter("scale", **_out(colours, full_range)).filter("format", "yuva420p")
    return tagged(stream, colours, full_range=full_range)


def tagged(stream: Stream, colours: Colours, *, full_range: bool) -> Stream:
    return stream.filter(
        "setparams", range="pc" if full_range else "tv", color_primaries=colours.primaries,
        color_trc=colours.transfer, colorspace=colours.matrix,
    )  # fmt: skip


def _rgb(stream: Stream, media: Media) -> Stream:
    """Planes of red, green, blue and transparency, full range."""
    own = media.appearance.colours
    if not own.is_rgb:
        stream = stream.filter("scale", **_in(own, media.full_range))
    return stream.filter("format", "gbrap").filter("setparams", range="pc", colorspace=0)


def _on_black(stream: Stream, media: Media) -> Stream:
    """Transparency as players show it."""
    return _rgb(stream, media).filter("premultiply", inplace=1).filter("format", "gbrp")


def _matrices(own: Colours, its_range: bool, colours: Colours, full_range: bool) -> dict[str, object]:
    """Options of `scale`; none where nothing changes."""
    if own.is_rgb:
        return _out(colours, full_range)
    if own.swscale == colours.swscale and its_range == full_range:
        return {}
    return {**_in(own, its_range), **_out(colours, full_range)}


def _in(colours: Colours, full_range: bool) -> dict[str, object]:
    return {
        "in_color_matrix": colours.swscale, "in_range": "pc" if full_range else "tv", "flags": _EXACT,
    }  # fmt: skip


def _out(colours: Colours, full_range: bool) -> dict[str, object]:
    return {"out_color_matrix": colours.swscale, "out_range": "pc" if full_range else "tv"}


def _narrowed(stream: Stream, own: Colours, its_range: bool, colours: Colours, full_range: bool) -> Stream:
    """Colours and brightness that ordinary screens do not have, brought to those that they have."""
    of_own = {
        "primariesin": own.primaries, "transferin": own.transfer, "matrixin": own.matrix,
        "rangein": "full" if its_range else "limited",
    }  # fmt: skip
    to_video = {
        "primaries": BT709, "transfer": BT709, "matrix": colours.matrix,
        "range": "full" if full_range else "limited",
    }  # fmt: skip
    if not own.is_hdr:
        return stream.filter("zscale", **of_own, **to_video)
    stream = stream.filter("zscale", **of_own, transfer=_LINEAR, npl=_WHITE).filter("format", "gbrpf32le")
    stream = stream.filter("zscale", primaries=BT709, transfer=_LINEAR)
    stream = stream.filter("tonemap", "mobius", param=_KEPT, peak=f"{float(_PEAK):.4f}", desat=0)
    return stream.filter("zscale", **to_video)
