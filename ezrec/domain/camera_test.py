"""A camera test: what was asked of the camera, and what its take holds. Values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asked:
    """`fps` and `bitrate` are None where the camera decides."""

    width: int
    height: int
    seconds: float
    fps: float | None
    bitrate: int | None


@dataclass(frozen=True, slots=True)
class TakeFacts:
    """What was measured in a file. Seconds and bytes; `key_every_s`: the longest time between key frames."""

    width: int
    height: int
    codec: str
    frames: int
    decoded: int
    seconds: float
    longest_gap_s: float
    key_every_s: float
    size: int

    @property
    def fps(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0

    @property
    def bitrate(self) -> float:
        return self.size * 8 / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class MicrophoneResult:
    """How much sound the microphone gave meanwhile; `fault` says why it is not more."""

    microphone: str
    seconds: float
    fault: str = ""


@dataclass(frozen=True, slots=True)
class CameraTest:
    """The result of a camera test."""

    asked: Asked
    facts: TakeFacts
    first_frame_s: float  # from starting the camera until a take could begin
    dropped: int
    ended_by: str = ""
    heard: MicrophoneResult | None = None  # None where no sound is wanted
