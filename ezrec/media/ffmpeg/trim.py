"""Hides the beginning of a take with an edit list, without encoding.

The hidden pictures stay in the file, because later ones cannot be decoded without them. The strategies leave
them out of the video, as they do with a clip that was trimmed on a phone.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from ezrec.domain.errors import Reject, Retry
from ezrec.domain.ports import OnStop
from ezrec.media.ffmpeg import inputs
from ezrec.media.ffmpeg.runner import FfmpegFailed, Limits, Log, run
from ezrec.system import durable
from ezrec.system.task import CancelToken

_LIMITS = Limits(wall_s=3600.0, idle_s=120.0)  # it only copies; a slow card takes minutes for gigabytes
_NICE = 10


def trim(take: Path, begin_s: float, output: Path, on_stop: OnStop, ffmpeg: str = "ffmpeg") -> None:
    """Write `output`, whole or not at all: the picture of `take` from `begin_s` on.

    Raises `Retry` for what may pass, `Reject` for a take that cannot be read, `Stopped`.
    """
    token = CancelToken()
    on_stop(token.cancel)
    part = output.with_name(f"{output.name}.part")
    try:
        run(
            _argv(ffmpeg, take, begin_s, part), _LIMITS, nice=_NICE, on_output=lambda _: None, log=Log(),
            token=token, pulse=lambda: part.stat().st_size if part.exists() else 0,
        )  # fmt: skip
        durable.rename(part, output)
    except (inputs.Unusable, FfmpegFailed) as fault:
        reason = fault.last_word if isinstance(fault, FfmpegFailed) else str(fault)
        message = f"{take.name}: what lies before the booking cannot be left out: {reason}"
        if isinstance(fault, FfmpegFailed) and fault.passing:
            raise Retry(message) from None
        raise Reject(message, "cut it by hand; then: ezrec spool retry") from None
    except OSError as fault:
        raise Retry(f"{output.name} cannot be written: {fault.strerror}") from fault
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _argv(ffmpeg: str, take: Path, begin_s: float, part: Path) -> list[str]:
    options = inputs.input_options(inputs.sniffed(inputs.TAKE, take))
    argv = [ffmpeg, "-hide_banner", "-loglevel", "level+error", "-nostdin", "-y", "-ss", f"{begin_s:.6f}"]
    argv += [word for name, value in options.items() for word in (f"-{name}", value)]
    argv += ["-i", inputs.file_url(take), "-map", "0:v:0", "-c", "copy", "-f", "mp4"]
    return [*argv, f"file:{part.absolute()}"]
