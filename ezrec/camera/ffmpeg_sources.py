"""What FFmpeg is asked for: one small maker of a command line for each kind of camera. Runs no camera.

Each command writes fragmented MP4 with one picture track to its standard output, a fragment every 0.2 s
and a key frame every second, as far as the source lets us choose.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ezrec.camera.device_clock import HONEST_S, MARK_S
from ezrec.camera.overlay.blend import CaptureOverlay
from ezrec.domain import camera_address
from ezrec.domain.errors import Retry
from ezrec.domain.redaction import redacted
from ezrec.media.ffmpeg.runner import FfmpegFailed, Limits, run

_STDIN = "pipe:0"
# Of the camera and of the list that names it. What it does not say of its picture stands in a key frame,
# and that may be a minute off.
_RTSP_STAMPS = {
    "correct_ts_overflow": "0",
    "fpsprobesize": "0",
    "analyzeduration": "60000000",
    "probesize": str(64 << 20),
}
_BUSY = "Device or resource busy"
_UDP_BYTES = 2 << 20  # a key frame comes as a burst of datagrams
_NO_TRANSPORT = "Protocol not supported"
_NOT_OVER_TCP = b"461 "  # the answer to a transport that a camera does not have
STRIP_BITS = 20  # frame numbers up to a million: nine hours at 30 a second
_QUIET = ("ffmpeg", "-hide_banner", "-loglevel", "level+warning", "-nostdin", "-nostats")
# flush_packets: without it libavformat sits on up to 256 KiB, and a kill takes them along.
_FRAGMENTS = (
    "-map", "0:v:0", "-f", "mp4",
    "-movflags", "empty_moov+default_base_moof+frag_keyframe", "-frag_duration", "200000",
    "-flush_packets", "1", "pipe:1",
)  # fmt: skip
# A step of the camera's clock that no muxer could carry, or that is no honest one, becomes one of a length
# that `CameraClock` knows: what it really was, only the arrival of the pictures can say.
_STEP = f"if(between({{now}}-{{before}},1,{HONEST_S:g}/TB),{{now}}-{{before}},{MARK_S:g}/TB)"
_COPIED_STEP = f"if(eq(N,0),DTS,PREV_OUTDTS+{_STEP.format(now='DTS', before='PREV_INDTS')})"
# Pictures that no key frame leads are passed on too: they show that the camera lives.
_COPY = (
    "-c:v", "copy", "-copyinkf", "-video_track_timescale", "90000",
    "-bsf:v", f"setts=dts='{_COPIED_STEP}':pts='{_COPIED_STEP}+clip(PTS-DTS,0,1/TB)'",
)  # fmt: skip
_SHOWN_STEP = f"setpts='if(isnan(PREV_INPTS),PTS,PREV_OUTPTS+{_STEP.format(now='PTS', before='PREV_INPTS')})'"
# The matrix FFmpeg tags itself. Browsers pass over a tag that is alone, and would take HD for BT.709.
_MJPEG_TAGS = "setparams=color_primaries=bt709:color_trc=bt709"
_FONTS = (
    "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationMono-Regular.ttf",
    "/usr/share/fonts/truetype/freefont/FreeMono.ttf",
)


class Source(Protocol):
    """Where a camera's picture comes from. `fps` is None where the source decides."""

    @property
    def name(self) -> str:
        """The name for people; holds no password."""

    @property
    def fps(self) -> float | None: ...

    @property
    def has_own_clock(self) -> bool:
        """True where a device makes the stamps: they are held against arrival."""

    @property
    def start_s(self) -> float:
        """How long it may take until something comes."""

    def argv(self) -> Sequence[str]:
        """The command. Every user of the machine may read it."""

    def private(self) -> bytes:
        """What the command reads on its standard input, which no other user may read."""

    def described(self, fault: str) -> str:
        """A fault of FFmpeg, in words for people."""

    def remark(self, said: bytes) -> str:
        """What a person should know of what FFmpeg says while the camera runs, or nothing."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What the software camera is to do wrong, in seconds after its start."""

    stall_after_s: float | None = None
    die_after_s: float | None = None
    slow_after_s: float | None = None  # from then on 5 frames a second


@dataclass(frozen=True, slots=True)
class SoftwareSource:
    """A test picture in real time, with a running clock, the frame's number, and that number as a strip.

    The strip stands along the lower edge: `STRIP_BITS` blocks, highest bit first, white is one.
    """

    width: int
    height: int
    fps: float
    bitrate: int
    faults: Faults = Faults()
    name: str = "software camera"
    has_own_clock: bool = False
    start_s: float = 10.0
    logo: CaptureOverlay | None = None

    def argv(self) -> Sequence[str]:
        picture = f"testsrc2=s={self.width}x{self.height}:r={self.fps:g},format=yuv420p"
        drawn = ",".join((picture, *self._text(), *self._strip()))
        limit = () if self.faults.die_after_s is None else ("-t", f"{self.faults.die_after_s:g}")
        inputs = ("-re", *limit, "-f", "lavfi", "-i", drawn, *_logo_input(self.logo))
        return (*_QUIET, *inputs, *self._filters(), *_x264(self.bitrate, self.fps), *self._fragments())

    def _filters(self) -> tuple[str, ...]:
        """What is dropped first, then the logo: what falls silent costs no drawing."""
        dropping = self._dropping()
        if self.logo is None:
            return ("-vf", dropping) if dropping else ()
        place = self.logo.place
        overlay = f"[1:v:0]overlay=x={place.x}:y={place.y}:format=yuv420[out]"
        return ("-filter_complex", f"[0:v:0]{dropping or 'null'}[main];[main]{overlay}")

    def _fragments(self) -> tuple[str, ...]:
        return _FRAGMENTS if self.logo is None else ("-map", "[out]", *_FRAGMENTS[2:])

    def private(self) -> bytes:
        return b""

    def described(self, fault: str) -> str:
        return fault

    def remark(self, said: bytes) -> str:
        return ""

    def _strip(self) -> list[str]:
        side = block_side(self.width)
        place = f"y=ih-{side}:w={side}:h={side}:t=fill"
        base = f"drawbox=x=0:y=ih-{side}:w={side * STRIP_BITS}:h={side}:color=black:t=fill"
        bits = [
            f"drawbox=x={n * side}:{place}:color=white:enable='gt(bitand(n,{1 << (STRIP_BITS - 1 - n)}),0)'"
            for n in range(STRIP_BITS)
        ]
        return [base, *bits]

    def _text(self) -> list[str]:
        font = _font()
        if font is None:
            return []
        size = max(10, self.height // 16)
        return [
            f"drawtext=fontfile={font}:text='%{{localtime\\:%F %T}}  %{{frame_num}}':fontsize={size}"
            f":fontcolor=white:box=1:boxcolor=black:boxborderw={size // 4}:x={size}:y={size}"
        ]

    def _dropping(self) -> str:
        """Behind the paced input, so that a camera which falls silent still lives and costs no more."""
        kept = []
        if self.faults.stall_after_s is not None:
            kept.append(f"lt(t,{self.faults.stall_after_s:g})")
        if self.faults.slow_after_s is not None:
            step = max(1, round(self.fps / 5))
            kept.append(f"max(lt(t,{self.faults.slow_after_s:g}),not(mod(n,{step})))")
        return f"select='{'*'.join(kept)}'" if kept else ""


@dataclass(frozen=True, slots=True)
class V4l2Source:
    """A USB camera; what it sends is encoded here."""

    device: Path
    width: int
    height: int
    fps: float
    bitrate: int
    has_own_clock: bool = True
    start_s: float = 10.0

    @property
    def name(self) -> str:
        return f"camera {self.device}"

    def argv(self) -> Sequence[str]:
        wanted = ("-video_size", f"{self.width}x{self.height}", "-framerate", f"{self.fps:g}")
        inputs = ("-f", "v4l2", "-input_format", "mjpeg", *wanted, "-i", str(self.device))
        encoder = _x264(self.bitrate, self.fps)
        return (*_QUIET, *inputs, "-vf", f"{_SHOWN_STEP},{_MJPEG_TAGS}", *encoder, *_FRAGMENTS)

    def private(self) -> bytes:
        return b""

    def described(self, fault: str) -> str:
        return f"{fault}; it is held by {holder_of(self.device)}" if _BUSY in fault else fault

    def remark(self, said: bytes) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class RtspSource:
    """A network camera; what it sends is copied. The url may hold a name and a password.

    FFmpeg takes an address as an argument alone, or from a list of inputs: it is given such a list, with
    one input, on its standard input.
    """

    url: str
    fps: float | None = None
    has_own_clock: bool = True
    start_s: float = (
        60.0  # silence FFmpeg notices by itself, after 5 s; a camera's first key frame takes longer
    )

    @property
    def name(self) -> str:
        return f"camera {camera_address.shown(self.url)}"

    def argv(self) -> Sequence[str]:
        # `safe 0`: the list is ours, and may name an address and options.
        allowed = ("-protocol_whitelist", "pipe,rtsp,rtsps,rtp,tcp,udp,tls,crypto")
        stamps = tuple(word for name, value in _RTSP_STAMPS.items() for word in (f"-{name}", value))
        return (*_QUIET, *allowed, *stamps, "-f", "concat", "-safe", "0", "-i", _STDIN, *_COPY, *_FRAGMENTS)

    def private(self) -> bytes:
        # Over TCP where the camera can: a lost datagram tears pictures. The answer limit is in microseconds.
        # The picture alone: beside sound FFmpeg would stamp it by the camera's wall clock, which may be set.
        own = {
            "rtsp_transport": "tcp+udp", "rtsp_flags": "prefer_tcp", "buffer_size": str(_UDP_BYTES),
            "timeout": "5000000", "allowed_media_types": "video", **_RTSP_STAMPS,
        }  # fmt: skip
        address = self.url.replace("'", "'\\''")
        options = "".join(f"option {name} {value}\n" for name, value in own.items())
        return f"ffconcat version 1.0\nfile '{address}'\n{options}".encode()

    def described(self, fault: str) -> str:
        """With the camera's name for FFmpeg's standard input, and without password and token."""
        itself = "\0"  # its name comes last: a password may be a word of it
        fault = fault.replace(self.url, itself).replace(_STDIN, itself)
        fault = redacted(fault, camera_address.secrets_of(self.url))
        if _NO_TRANSPORT in fault:
            fault += " (it sends neither over TCP nor over UDP: in the camera's settings, switch RTSP to TCP)"
        return fault.replace(itself, camera_address.shown(self.url))

    def remark(self, said: bytes) -> str:
        if _NOT_OVER_TCP not in said:
            return ""
        return (
            f"{self.name} sends over UDP alone: it is recorded, but what the network loses is missing from "
            "the picture; in the camera's settings, switch RTSP to TCP where it can do that"
        )


def source_for(camera: str, width: int, height: int, fps: float, bitrate: int) -> Source:
    """The source that EZREC_CAMERA names. Raises `ValueError` for what is no FFmpeg camera."""
    kind, rest = camera_address.kind_of(camera), camera.partition(":")[2]
    makers: dict[str, Callable[[], Source]] = {
        "software": lambda: SoftwareSource(width, height, fps, bitrate),
        "v4l2": lambda: V4l2Source(_device(rest), width, height, fps, bitrate),
        "rtsp": lambda: RtspSource(camera_address.checked(camera)),
        "rtsps": lambda: RtspSource(camera_address.checked(camera)),
    }
    if kind not in makers or (kind == "software" and rest):
        raise ValueError("must be software, v4l2:/dev/… or rtsp://…")
    return makers[kind]()


def with_bitrate(source: Source, bitrate: int) -> Source:
    """The source with another bitrate; a network camera decides by itself."""
    return replace(source, bitrate=bitrate) if isinstance(source, SoftwareSource | V4l2Source) else source


def _logo_input(logo: CaptureOverlay | None) -> tuple[str, ...]:
    """Raw planes of our own making: nothing of what came from outside is opened here."""
    if logo is None:
        return ()
    size = ("-video_size", f"{logo.place.width}x{logo.place.height}")
    return ("-protocol_whitelist", "file", "-f", "rawvideo", "-pixel_format", "yuva420p", *size,
            "-i", f"file:{logo.path.absolute()}")  # fmt: skip


def block_side(width: int) -> int:
    """Pixels of a block of the strip: 16 or more where there is room, and never in the logo's corner."""
    return min(32, max(2, width // STRIP_BITS // 2 * 2))


def holder_of(device: Path) -> str:
    """Who has a device open, as far as we may look."""
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(entry) == str(device):
                process = entry.parents[1]
                return f"pid {process.name} ({(process / 'comm').read_text().strip()})"
    return "a process of another user"


def _device(text: str) -> Path:
    path = Path(os.path.normpath(text))
    if not path.is_absolute() or path.parts[1:2] != ("dev",):
        raise ValueError("a v4l2 camera is named v4l2:/dev/…")
    return path


def _x264(bitrate: int, fps: float) -> tuple[str, ...]:
    """A key frame every second by time, so also when frames are missing. No B-frames: nothing waits."""
    return (
        "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0", "-threads", "2",
        "-g", str(max(1, round(fps))), "-sc_threshold", "0",
        "-force_key_frames", "expr:if(isnan(prev_forced_t),1,gte(t,prev_forced_t+0.999))",
        "-b:v", str(bitrate), "-maxrate", str(bitrate), "-bufsize", str(bitrate), "-pix_fmt", "yuv420p",
        "-fps_mode", "passthrough",
    )  # fmt: skip


@functools.cache
def _font() -> str | None:
    """A font for the clock, if this machine's FFmpeg can draw text at all; the strip needs none."""
    font = next((path for path in _FONTS if os.path.exists(path)), None)
    if font is None:
        return None
    said: list[bytes] = []
    argv = ("ffmpeg", "-hide_banner", "-nostdin", "-h", "filter=drawtext")
    try:
        run(argv, Limits(wall_s=20, idle_s=20), nice=0, on_output=said.append)
    except (Retry, FfmpegFailed):
        return None
    return font if b"Filter drawtext" in b"".join(said) else None
