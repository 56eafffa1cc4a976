"""Adds the recorded sound to a take: copies the picture, and encodes the sound to AAC in its place.

Two clocks never run equally fast: a microphone with 48,000 samples a second delivers a few more or less, and
after an hour the whistle is late. So each sound file is stretched to the time that it really took. Gaps, for
example after the microphone failed, get silence. The strategies then see a plain take with a sound track.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ezrec.domain.errors import Reject, Retry
from ezrec.domain.job import Sound
from ezrec.media.ffmpeg import inputs
from ezrec.media.ffmpeg.runner import FfmpegFailed, Limits, Log, run
from ezrec.media.ffmpeg.throttle import Throttle, never
from ezrec.system import durable
from ezrec.system.task import CancelToken

_RATE = 48_000
_BITRATE = "128k"
_MOST_DRIFT = (
    0.002  # more is no clock's drift: the measurement went wrong, for example while the machine hung
)
_LEAST_MEASURED_S = 60.0  # in a shorter file the uncertainty of its ends is more than its drift
_WALL_BASE_S, _WALL_FACTOR, _IDLE_S = 300.0, 2.0, 120.0
_REMEDY = "look at the sound's files in the job"
SOUND = inputs.MediaKind("sound", ("mov",), "")


@dataclass(frozen=True, slots=True)
class PlacedSound:
    """One sound file on the take, from `start` to `end`, in samples of the finished track.

    Its first `skip_s` seconds are left out, and each of its seconds lasts `ratio` seconds.
    """

    sound: Sound
    start: int
    end: int
    skip_s: float
    ratio: float


def place(sounds: Sequence[Sound], seconds: float) -> list[PlacedSound]:
    """Where each file belongs on a take of `seconds`; what lies outside the take is left out."""
    end = round(seconds * _RATE)
    usual = _usual_ratio(sounds)
    placed = []
    ordered = sorted(sounds, key=lambda sound: sound.offset_s)
    for n, sound in enumerate(ordered):
        ratio = _ratio(sound) or usual
        start = max(0, round(sound.offset_s * _RATE))
        stops = round((sound.offset_s + sound.duration_s * ratio) * _RATE)
        following = round(ordered[n + 1].offset_s * _RATE) if n + 1 < len(ordered) else end
        stops = min(stops, end, max(following, start))
        if stops > start:
            placed.append(PlacedSound(sound, start, stops, max(0.0, -sound.offset_s / ratio), ratio))
    return placed


def _ratio(sound: Sound) -> float | None:
    """How long a second of this file really took; None if that was not measured well enough."""
    if sound.duration_s < _LEAST_MEASURED_S or not sound.lasted_s:
        return None
    ratio = sound.lasted_s / sound.duration_s
    return ratio if abs(ratio - 1) <= _MOST_DRIFT else None


def _usual_ratio(sounds: Sequence[Sound]) -> float:
    """The ratio of the longest file that was measured: all are from the same microphone."""
    known = [(sound.duration_s, ratio) for sound in sounds if (ratio := _ratio(sound))]
    return max(known)[1] if known else 1.0


class AudioMuxer:
    """Makes takes with sound."""

    def __init__(
        self,
        *,
        ffmpeg: str = "ffmpeg",
        nice: int = 10,
        while_recording: str = "nice",
        is_recording: Callable[[], bool] = never,
    ) -> None:
        self._ffmpeg, self._nice, self._throttle = ffmpeg, nice, Throttle(while_recording, is_recording)

    def mux(
        self,
        take: Path,
        sounds: Sequence[Sound],
        seconds: float,
        output: Path,
        on_stop: Callable[[Callable[[], None]], None],
        on_pause: Callable[[str], None] = lambda why: None,
    ) -> None:
        """Write `output`, whole or not at all. Raises `Reject` when the sound cannot be used."""
        placed = place(sounds, seconds)
        if not placed:
            raise Reject("there is no sound in it", _REMEDY)
        token = CancelToken()
        on_stop(token.cancel)
        part = output.with_name(f"{output.name}.part")
        limits = Limits(_WALL_BASE_S + _WALL_FACTOR * seconds, _IDLE_S)
        try:
            argv = self._argv(take, placed, round(seconds * _RATE), part)
            run(
                argv, limits, nice=self._nice, on_output=lambda _: None, log=Log(), token=token,
                pulse=lambda: _size(part), throttle=replace(self._throttle, on_pause=on_pause),
            )  # fmt: skip
            durable.rename(part, output)
        except inputs.Unusable as fault:
            raise Reject(f"the sound cannot be used: {fault}", _REMEDY) from None
        except FfmpegFailed as fault:
            if fault.passing:
                raise Retry(f"ffmpeg: {fault.last_word}") from None
            raise Reject(f"the sound cannot be used: {fault.last_word}", _REMEDY) from None
        except OSError as fault:
            raise Retry(f"{output.name} cannot be written: {fault.strerror}") from fault
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def _argv(self, take: Path, placed: Sequence[PlacedSound], end: int, part: Path) -> list[str]:
        argv = [self._ffmpeg, "-hide_banner", "-loglevel", "level+error", "-nostdin", "-y", "-xerror"]
        argv += _input(inputs.TAKE, take)
        for one in placed:
            argv += _input(SOUND, take.with_name(one.sound.file))
        argv += ["-filter_complex", ";".join(_graph(placed, end)), "-map", "0:v:0", "-map", "[sound]"]
        argv += ["-c:v", "copy", "-c:a", "aac", "-b:a", _BITRATE, "-f", "mp4", f"file:{part.absolute()}"]
        return argv


def _input(kind: inputs.MediaKind, path: Path) -> list[str]:
    options = inputs.input_options(inputs.sniffed(kind, path))
    return [word for name, value in options.items() for word in (f"-{name}", value)] + [
        "-i", inputs.file_url(path),
    ]  # fmt: skip


def _graph(placed: Sequence[PlacedSound], end: int) -> Iterator[str]:
    """Silence and sound in turn, each with the exact number of samples; together as long as the take."""
    names, at = [], 0
    for n, one in enumerate(placed):
        if one.start > at:
            yield _silence(f"q{n}", one.start - at)
            names.append(f"[q{n}]")
        # `async` stretches the sound to its time stamps, by so few samples a second that nobody hears it.
        yield (
            f"[{n + 1}:a:0]atrim=start={one.skip_s:.6f},asetpts='(PTS-STARTPTS)*{one.ratio:.9f}',"
            f"aresample={_RATE}:async={round(_RATE * _MOST_DRIFT * 2)}:min_comp=0.001,"
            f"aformat=sample_fmts=fltp:channel_layouts=stereo,apad,atrim=end_sample={one.end - one.start},"
            f"asetpts=N/SR/TB[s{n}]"
        )
        names.append(f"[s{n}]")
        at = one.end
    if at < end:
        yield _silence("rest", end - at)
        names.append("[rest]")
    yield f"{''.join(names)}concat=n={len(names)}:v=0:a=1[sound]"


def _silence(name: str, samples: int) -> str:
    return f"anullsrc=r={_RATE}:cl=stereo,aformat=sample_fmts=fltp,atrim=end_sample={samples}[{name}]"


def _size(path: Path) -> Hashable:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
