"""The ports: what the features need of the world, as small Protocols. Devices and the tests' fakes keep them.

The contract tests in `tests/contracts/` check both. Devices turn every exception of their libraries into
`Retry` or `Reject`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ezrec.domain.branding import ALWAYS, LogoLayout, LogoShow
from ezrec.domain.job import Take
from ezrec.domain.machine import Machine
from ezrec.domain.ownership import Mark, Whose


class Clock(Protocol):
    """The time: a wall clock for appointments, a monotonic one for durations."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never steps."""

    def is_synchronised(self) -> bool:
        """True when the wall clock can be trusted. Before that, nothing is judged or deleted by age."""

    def boot_id(self) -> str:
        """The id of this run of the machine: a job in hand with another was cut off by a power cut."""


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """What is known of a camera. `frame_age_s` is None before the first frame. Counts run since the start
    of the process, over all lives of the camera.

    `frames` came out of the sensor, `packets` out of the encoder, and `written` are bytes in takes' files.
    `restarts`: lives that were begun because one broke off. `hung`: why only a fresh process can have the
    camera again; empty while that is not so. `key_every_s`: seconds between key frames. `awaits_key`: frames
    come, and nothing can be written before the next key frame.
    """

    running: bool
    frame_age_s: float | None
    frames: int
    dropped: int
    fault: str = ""
    packets: int = 0
    written: int = 0
    fps: float | None = None
    restarts: int = 0
    hung: str = ""
    key_every_s: float | None = None
    awaits_key: bool = False


class Recording(Protocol):
    """One take being written by a running camera."""

    @property
    def lost(self) -> threading.Event:
        """Set when the camera can write no more into this take."""

    @property
    def goes_on(self) -> bool:
        """True where it is `lost` only because the picture size changed: the next take follows."""

    @property
    def span(self) -> tuple[float, float] | None:
        """Monotonic times of the first frame and of the end of the last one written, once there is one."""

    def finish(self, at: datetime, limit_s: float) -> Take:
        """End the take with the first frame at or after `at`, make it durable, and return what it holds.

        Returns within `limit_s` seconds, with what could be written by then.
        """


class Camera(Protocol):
    """One camera, shared by as many bookings as are in hand. A microphone is one that takes sound."""

    def hold(self, on_lost: Callable[[], None]) -> AbstractContextManager[None]:
        """Keep the camera running while the context lasts; the last to leave stops it.

        `on_lost` is called (from any thread, must return at once) when the stream broke off.
        Raises `Retry` when the camera cannot be had; the message names who holds it, where that is known.
        """

    def attach(self, path: Path, at: datetime) -> Recording:
        """Begin a take in the new file `path`, at the last key frame at or before `at` that is still
        in memory, else at the next one. Never overwrites. Raises `Retry` if the camera is not running.
        """

    @property
    def burned_in(self) -> str:
        """The logo that the running camera draws into its pictures; empty: none."""

    def snapshot(self, path: Path) -> None:
        """Make a picture file of what the camera sees; the format follows the name's ending.

        Raises `Retry` if the camera is not running.
        """

    def health(self) -> CameraHealth: ...


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a media file holds. Durations in seconds, of the video stream; `fps` frames a second."""

    duration_s: float
    width: int
    height: int
    fps: float
    video_codec: str
    has_audio: bool
    frames: int | None = None


class Hole(NamedTuple):
    """Where frames are missing, in seconds from the first frame on: by damage, or because they were
    dropped.
    """

    begin_s: float
    end_s: float
    is_damage: bool = False


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a take of EZREC's own holds: `seconds`, 0 for nothing, None for unknown, with the reason in `why`.

    Only a take that holds nothing may be deleted. `may_pass`: the cause is no descriptor or a card that does
    not answer, so another look may succeed. `lead_s`: seconds that are missing before the first frame.
    """

    seconds: float | None
    holes: tuple[Hole, ...] = ()
    lead_s: float = 0.0
    why: str = ""
    may_pass: bool = False

    @property
    def is_nothing(self) -> bool:
        return self.seconds == 0


NOTHING = Repaired(0.0)
Repair = Callable[[Path], Repaired]


PARTS = "parts"  # the folder in an entry that keeps what was encoded part by part
ARTEFACTS = ("poster", "preview", "storyboard", "loudness")


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """What the settings say about every video.

    `cache` is a folder for what is made once and used for many videos. `artefacts` (of ARTEFACTS) are made
    into a folder of that name beside the output.
    """

    cache: Path | None = None
    logo_show: LogoShow = ALWAYS
    logo_layout: LogoLayout = LogoLayout()
    artefacts: Sequence[str] = ()


NO_OPTIONS = RenderOptions()


@dataclass(frozen=True, slots=True)
class RenderPlan:
    """One finished video: intro (if any), then the takes with the logo and the sponsors' logos (if any).

    `burned_in`: the takes that show the logos already. `notes` say what was
    left out, for the report beside the video. `parts` is a folder for segments that are encoded one by one;
    they are kept until the video is finished.
    """

    takes: Sequence[Path]
    output: Path
    log: Path
    intro: Path | None = None
    logo: Path | None = None
    sponsors: Sequence[Path] = ()
    burned_in: Sequence[Path] = ()
    notes: Sequence[str] = ()
    parts: Path | None = None
    options: RenderOptions = NO_OPTIONS

    @property
    def wants_logo_always(self) -> bool:
        """True where a logo is to be shown in every frame: then it can be encoded while recording goes on."""
        return self.options.logo_show.is_always and bool(self.logo or self.sponsors)


class Transcoder(Protocol):
    """Looks into media files and renders finished videos. Treats every input as hostile."""

    def probe(self, path: Path) -> MediaInfo:
        """Look into a recording. Raises `Reject` for whatever is not a whole, plain MP4 with a picture."""

    def check_asset(self, kind: str, path: Path) -> None:
        """Raise `Reject` unless `path` is usable as `kind`: "intro", "logo" or "sponsor"."""

    def render(
        self,
        plan: RenderPlan,
        progress: Callable[[float], None],
        on_stop: Callable[[Callable[[], None]], None],
        on_pause: Callable[[str], None] = lambda why: None,
    ) -> MediaInfo:
        """Render `plan.output` whole or not at all; verified: duration within one frame + 0.1 s.

        Beside it, `processing.json` says how it was made, why so, in what time, and what was checked.

        `progress` gets the finished part, 0 to 1. `on_stop` gets a function that ends the work early, which
        then raises `Stopped`. `on_pause` gets the reason for a pause, and an empty text when the work goes
        on. Raises `Retry` where another try may help, else `Reject`.
        """

    def prepare(self, take: Path | None, intro: Path, cache: Path, may_go_on: Callable[[], bool]) -> bool:
        """Have the intro ready in the cache for recordings like `take`, which may still grow; None: like the
        last one seen. False where that cannot be done (yet), or need not be. Stopped and raising as
        `prerender`.
        """

    def prerender(self, plan: RenderPlan, may_go_on: Callable[[], bool]) -> bool:
        """Make one part of a video whose last take still grows; False where none can be made (yet).

        `may_go_on` is asked about once a second; after a no the work ends and leaves nothing of the part.
        Raises `Retry` or `Reject` as `render` does.
        """


@dataclass(frozen=True, slots=True)
class Branding:
    """Object keys in bucket `usermedia`, or None. A changed asset always has a new key."""

    intro: str | None = None
    logo: str | None = None
    sponsors: tuple[str, ...] = ()


Row = Mapping[str, Any]
# Is given a function that ends the work early; the work then raises `Stopped`.
OnStop = Callable[[Callable[[], None]], None]


class Backend(Protocol):
    """The cloud side: bookings in, statuses, objects and rows out.

    Every method raises `Retry` for what may pass and `Reject` for what will not; none blocks
    without a limit.
    """

    def bookings(self) -> list[dict[str, Any]]:
        """All rows of `bookings` for this user and camera. Complete, or an exception: never a part."""

    def sees_bookings(self) -> bool:
        """True when something shows that `bookings` would return a row if there were one.

        Asked when an empty answer contradicts what was known: row-level security gives a device without
        access the same empty list.
        """

    def advance_status(self, booking_id: str, status: str) -> bool:
        """Move a booking's status forward along confirmed → completed → video_processed → video_uploaded.

        Never backward, and never away from cancelled. False when no row was moved; that is no error.
        """

    def branding(self) -> Branding:
        """This user's row of `user_settings`; no row means no branding."""

    def fetch(self, bucket: str, key: str, target: Path) -> None:
        """Copy an object into the new file `target`, whole."""

    def store(
        self,
        bucket: str,
        key: str,
        source: Path,
        progress: Callable[[float], None],
        *,
        state: Path | None = None,
        on_stop: OnStop | None = None,
        mark: Mark | None = None,
    ) -> bool:
        """Put `source` at `key`; afterwards `size_of` returns its size.

        Without a `mark` it replaces what is there. With one it is stored under that mark, and replaces only
        what `whose` calls ours. False when the name is another job's, even if that came during the upload:
        the other object stays as it is.

        `progress` gets the finished part, 0 to 1, and 1 only when the object is there. With `state`, a file
        of the backend's own, the next try goes on where the last one ended. Stopped early it raises
        `Stopped`.
        """

    def whose(self, bucket: str, key: str, source: Path, mark: Mark, *, state: Path | None = None) -> Whose:
        """Whose the object at `key` is, for a job that would store `source` there under `mark`.

        By the mark that it carries, by the record of our upload (`state`), or by its bytes; its size proves
        nothing.
        """

    def size_of(self, bucket: str, key: str) -> int | None:
        """Bytes of an object as the service has it, or None when there is none."""

    def has_row(self, user_id: str, filename: str, *, job: str) -> bool:
        """True when `videos` holds a row of that name, unless it is known to be `job`'s (`Mark.job`)."""

    def publish_row(self, row: Row, *, job: str = "") -> bool:
        """Insert into `videos`, or update the row of the same `user_id` and `filename`; never a second.

        `job` (`Mark.job`): whose the row is. False when it is known to be another's; it stays as it is.
        """

    def heartbeat(self, row: Row) -> None:
        """Insert or update this camera's one row of `system_status`."""


class Gauges(Protocol):
    """The gauges of the machine."""

    def read(self) -> Machine:
        """One reading of the gauges; None for what the machine does not have."""
