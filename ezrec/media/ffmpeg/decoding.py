"""Draws the command lines that decode something and throw it away: the proof that it can be shown. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import ffmpeg  # type: ignore[import-untyped]  # ffmpeg-python ships no types

from ezrec.media.ffmpeg.filters import Measured, Target, compiled, opened, seconds_text
from ezrec.media.ffmpeg.inputs import file_url, input_options
from ezrec.media.ffmpeg.probe import MOST_PIXELS_A_SIDE, Media

_BEFORE, _AFTER = 4, 8  # frames decoded before a join and behind it


def decode_intro(program: str, intro: Media, target: Target) -> list[str]:
    """Pass an intro through the very filters that a render uses, and throw the result away."""
    part = Measured(intro, target, 0)
    return compiled(
        program,
        ffmpeg.output(*part.streams, "-", f="null", t=seconds_text(intro.info.duration_s + 1)),
    )


def decode_logo(program: str, logo: Media) -> list[str]:
    return compiled(program, ffmpeg.output(opened(logo)[str(logo.video)], "-", f="null", **{"frames:v": 1}))


def decode_nothing(program: str) -> list[str]:
    """One small picture from nowhere, and nothing made of it."""
    source = ffmpeg.input("color=s=64x36", f="lavfi", format_whitelist="lavfi", protocol_whitelist="file")
    return compiled(program, ffmpeg.output(source["0"], "-", f="null", **{"frames:v": 1}))


def decode_end(program: str, media: Media) -> list[str]:
    """Decode the last second, as proof that the index points at pictures."""
    source = opened(media, sseof="-1")
    return compiled(program, ffmpeg.output(source[str(media.video)], "-", f="null", t=2), tolerant=True)


def windows(joins: Sequence[int], frames: int, rate: Fraction) -> list[tuple[int, tuple[float, float]]]:
    """Frames around joins, for `decode_windows`: how many, and from when to when."""
    found = []
    for join in joins:
        first, last = max(0, join - _BEFORE), min(frames, join + _AFTER)
        # between two frames, so that no rounding decides which of them are meant
        begin, end = max(Fraction(0), (first - Fraction(1, 2)) / rate), (last - Fraction(1, 2)) / rate
        found.append((last - first, (float(begin), float(end))))
    return found


def decode_windows(program: str, windows: Sequence[tuple[Path, tuple[float, float]]]) -> list[str]:
    """Decode short stretches of finished videos, from when to when, every frame of them once."""
    sources = [
        ffmpeg.input(
            file_url(path), **input_options("mov"), max_pixels=MOST_PIXELS_A_SIDE**2,
            ss=seconds_text(begin), t=seconds_text(end - begin), thread_queue_size=8 + number, threads=1,
            nofind_stream_info=None,  # our own index says it all: else each key frame is decoded twice
        )["v:0"]
        for number, (path, (begin, end)) in enumerate(windows)
    ]  # fmt: skip
    shown = sources[0] if len(sources) == 1 else ffmpeg.concat(*sources, v=1, a=0)
    return compiled(program, ffmpeg.output(shown, "-", f="null", fps_mode="passthrough"))
