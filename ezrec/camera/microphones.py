"""What FFmpeg is asked for where sound is to be recorded. Runs no microphone.

Each command writes fragmented MP4 with one track of FLAC to its standard output, a fragment every 0.2 s.
FLAC, because the sound is stretched to the picture's clock before it is published: it is made AAC only
then, once. Time is counted by samples alone: what FFmpeg reads off the wall clock would jump with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

_QUIET = ("ffmpeg", "-hide_banner", "-loglevel", "level+warning", "-nostdin", "-nostats")
RATE, CHANNELS = 48000, 2
_FRAGMENTS = (
    "-map", "0:a:0", "-af", "asetpts=N/SR/TB", "-ac", str(CHANNELS), "-ar", str(RATE),
    "-c:a", "flac", "-compression_level", "2", "-frame_size", "1024", "-strict", "experimental",
    "-f", "mp4", "-movflags", "empty_moov+default_base_moof", "-frag_duration", "200000",
    "-flush_packets", "1", "pipe:1",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SoundSource:
    """A `Source` of sound: `inputs` are FFmpeg's options for it."""

    name: str
    inputs: tuple[str, ...]
    fps: float | None = None
    start_s: float = 10.0
    has_own_clock: bool = False  # its samples are counted; the time they took is recorded beside them

    def argv(self) -> Sequence[str]:
        return (*_QUIET, *self.inputs, *_FRAGMENTS)

    def private(self) -> bytes:
        return b""

    def described(self, fault: str) -> str:
        return fault.replace("the camera", "the microphone").replace("no frames", "no sound")

    def remark(self, said: bytes) -> str:
        return ""


def sound_source(audio: str) -> SoundSource:
    """The source that EZREC_AUDIO names. Raises `ValueError` for what names none."""
    kind, _, device = audio.partition(":")
    makers: dict[str, Callable[[], SoundSource]] = {
        "software": lambda: SoundSource(
            "software microphone", ("-re", "-f", "lavfi", "-i", f"sine=frequency=1000:sample_rate={RATE}")
        ),
        "alsa": lambda: SoundSource(f"microphone {device}", ("-f", "alsa", "-i", _any_form(device))),
        "pulse": lambda: SoundSource(f"microphone {device}", ("-f", "pulse", "-i", device)),
    }
    if kind not in makers or bool(device) == (kind == "software"):
        raise ValueError("must be software, alsa:… or pulse:…")
    return makers[kind]()


def _any_form(device: str) -> str:
    """By way of ALSA's own conversion: many a microphone has one channel, or a rate of its own."""
    return f"plug{device}" if device.startswith("hw:") else device
