"""Chooses the encoder: one in hardware if it passes a test, else x264.

That FFmpeg lists an encoder proves nothing: the device may be missing, in use, or write what no player reads.
So it has to encode two seconds, which are then parsed, decoded and compared with the source. The result is
kept while FFmpeg and the kernel stay the same; a failure only until the next boot, because a device may be
added.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from platform import release
from tempfile import TemporaryDirectory

import ffmpeg  # type: ignore[import-untyped]  # ffmpeg-python ships no types
import msgspec

from ezrec.domain import json_decode
from ezrec.domain.encoders import SOFTWARE, candidates
from ezrec.domain.errors import Retry
from ezrec.media.ffmpeg import arguments, filters
from ezrec.media.ffmpeg.inputs import file_url, input_options
from ezrec.media.ffmpeg.runner import FfmpegFailed, Limits, Log, answer, run
from ezrec.media.ffmpeg.throttle import never
from ezrec.media.mp4 import copyable
from ezrec.system import durable

_SIZE, _RATE, _SECONDS = (1280, 720), 30, 2
_BITRATE = 6_000_000
_LEAST_PSNR = 30.0  # dB; x264 has 40 with the same picture and bitrate
_LEVELS = range(31, 53)  # from the least that 720p30 needs to the highest that players know
_PROFILES = (66, 77, 100)
_WALL_S = 60.0
_PSNR = re.compile(r" average:(inf|[\d.]+) min:")


@dataclass(frozen=True, slots=True)
class Choice:
    """The encoder to use, and why it is not the wanted one."""

    name: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.why})" if self.why else self.name


class _Verdict(msgspec.Struct):
    key: str
    fault: str


@dataclass(slots=True)
class Encoders:
    """`wanted`: the setting. `memory`: a file that keeps the results of the tests."""

    program: str = "ffmpeg"
    wanted: str = SOFTWARE
    memory: Path | None = None
    is_recording: Callable[[], bool] = never
    _known: dict[str, str] = field(default_factory=dict)

    def choose(self, log: Log | None = None) -> Choice:
        """Tests what is not known yet, unless something is recorded: the device may be the camera's."""
        faults = []
        for name in candidates(self.wanted):
            fault = self._verdict(name)
            if fault is None and self.is_recording():
                faults.append(f"{name} is not tried while something is recorded")
                continue
            if fault is None:
                fault = self._tried(name, log or Log())
            if not fault:
                return Choice(name)
            faults.append(f"{name}: {fault}")
        return Choice(SOFTWARE, "; ".join(faults))

    def known(self) -> Choice | None:
        """What `choose` would return without a test; None when an encoder was never tested."""
        faults = []
        for name in candidates(self.wanted):
            fault = self._verdict(name)
            if fault is None:
                return None
            if not fault:
                return Choice(name)
            faults.append(f"{name}: {fault}")
        return Choice(SOFTWARE, "; ".join(faults))

    def distrust(self, name: str, fault: str) -> None:
        """It passed its test but failed with a video: do not use it again in this process."""
        self._known[name] = fault

    def _tried(self, name: str, log: Log) -> str:
        try:
            fault = try_encoder(self.program, name, log)
        except Retry as passing:  # too slow, or no FFmpeg: not remembered
            return passing.reason
        self._remember(name, fault)
        return fault

    def _verdict(self, name: str) -> str | None:
        if name in self._known:
            return self._known[name]
        found = self._read().get(name)
        if found and found.key == self._key(failed=bool(found.fault)):
            return found.fault
        return None

    def _remember(self, name: str, fault: str) -> None:
        self._known[name] = fault
        if self.memory is None:
            return
        verdicts = {**self._read(), name: _Verdict(self._key(failed=bool(fault)), fault)}
        try:
            self.memory.parent.mkdir(parents=True, exist_ok=True)
            durable.write(self.memory, msgspec.json.encode(verdicts))
        except OSError:  # it is tested again
            pass

    def _read(self) -> dict[str, _Verdict]:
        if self.memory is None:
            return {}
        try:
            return json_decode.decode(self.memory.read_bytes(), dict[str, _Verdict])
        except (OSError, msgspec.DecodeError):
            return {}

    def _key(self, *, failed: bool) -> str:
        version = answer(self.program, "-version").partition("\n")[0]
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip() if failed else ""
        return " ".join(filter(None, (version, release(), boot)))


def try_encoder(program: str, name: str, log: Log) -> str:
    """What is wrong with an encoder; empty when it may be used. Raises `Retry` when it took too long.

    1. FFmpeg lists it
    2. it encodes with the options of a segment
    3. the file can be parsed: all frames, no B-frames, a usual profile and level, a key frame first
    4. decoded, the picture is the source's
    """
    if not re.search(rf"^ V\S+ {re.escape(name)} ", answer(program, "-encoders"), re.MULTILINE):
        return "this FFmpeg has no such encoder"
    try:
        with TemporaryDirectory(prefix="ezrec-encoder-") as folder:
            made = Path(folder) / "made.mp4"
            _run(_encoding(program, name, made), log)
            return _fault_in(made) or _difference(program, made, log)
    except FfmpegFailed as fault:
        return fault.last_word
    except (OSError, ValueError) as fault:
        return str(fault)


def _encoding(program: str, name: str, output: Path) -> list[str]:
    target = filters.Target(*_SIZE, Fraction(_RATE), sound=False)
    encode_format = arguments.segment_format(target, _BITRATE, "veryfast", name)
    options = {**arguments.picture(encode_format), "r": str(_RATE), "f": "mp4", "t": _SECONDS}
    return filters.compiled(program, ffmpeg.output(_pattern()["0"], file_url(output), **options))


def _fault_in(made: Path) -> str:
    found = copyable.read(made)
    sps, frames = found.sps, len(found.tables.picture)
    if frames != _RATE * _SECONDS:
        return f"{frames} frames came of {_RATE * _SECONDS}"
    if (sps.width, sps.height) != _SIZE:
        return f"it made {sps.width}x{sps.height} of {_SIZE[0]}x{_SIZE[1]}"
    if sps.profile not in _PROFILES or sps.level not in _LEVELS:
        return f"H.264 of profile {sps.profile}, level {sps.level}"
    return ""


def _difference(program: str, made: Path, log: Log) -> str:
    source = ffmpeg.input(file_url(made), **input_options("mov"))["v:0"]
    compared = ffmpeg.filter([source, _pattern()["0"].filter("format", "yuv420p")], "psnr")
    _run(filters.compiled(program, ffmpeg.output(compared, "-", f="null")), log)
    found = _PSNR.findall(log.tail())
    if not found:
        return "its picture could not be compared"
    psnr = float(found[-1])
    return "" if psnr >= _LEAST_PSNR else f"its picture is not what went in ({psnr:.1f} dB)"


def _pattern() -> filters.Stream:
    width, height = _SIZE
    source = f"testsrc2=s={width}x{height}:r={_RATE}:d={_SECONDS}"
    return ffmpeg.input(source, f="lavfi", format_whitelist="lavfi", protocol_whitelist="file")


def _run(argv: list[str], log: Log) -> None:
    run(argv, Limits(_WALL_S, 20.0), nice=10, on_output=lambda _: None, log=log)
