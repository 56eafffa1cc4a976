"""The table of settings: a field each, with its variable, how to read it, its default and its help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import timedelta, tzinfo
from pathlib import Path
from typing import Any

from ezrec.domain import camera_address, setting_names
from ezrec.domain.branding import CORNERS, LogoLayout, LogoShow, read_logo_show
from ezrec.domain.durations import format_duration
from ezrec.domain.encoders import WISHES
from ezrec.domain.ports import ARTEFACTS
from ezrec.domain.recording_outcome import OnCancel
from ezrec.domain.redaction import redacted
from ezrec.domain.upload_schedule import Hours, read_hours
from ezrec.domain.webhook import Webhook, read_webhook
from ezrec.settings import types

DEFAULT_HOME = Path("/opt/ezrec-backend")
CREDENTIALS = (
    "SUPABASE_KEY",
    "EZREC_DEVICE_EMAIL",
    "EZREC_DEVICE_PASSWORD",
)  # what a credential file may set
SECRETS = ("SUPABASE_KEY", "EZREC_DEVICE_PASSWORD", "EZREC_WEBHOOK")
EXACT = ("EZREC_DEVICE_PASSWORD",)  # a blank at its edge is a part of it; of everything else that is a slip
# Settings of earlier versions. They have no effect; whoever still sets one gets a note.
RETIRED = (
    "EZREC_HOOKS",
    "EZREC_HOOK_LIMIT",
    "EZREC_LOCAL_STORE",
    "EZREC_LOGS_WHILE_RECORDING",
    "EZREC_LOGO_SIZE",
    "EZREC_LOG_FORMAT",
    "EZREC_REALTIME",
    "EZREC_RESCAN",
    "EZREC_SPONSOR_CORNER",
    "EZREC_SPONSOR_SIZE",
    "EZREC_SYNC_PAST_DAYS",
    "EZREC_UPLOAD_ORDER",
    "EZREC_UPLOAD_PIECE_MB",
    "EZREC_UPLOAD_STALL",
)


_SPONSOR_CORNER = "bottom-left"


def _setting(name: str, parse: Callable[[str], Any], default: str | None, meaning: str, *older: str) -> Any:
    """A field. `older` are names under which existing installations know the same setting."""
    about = {"name": name, "parse": parse, "default": default, "help": meaning, "older": older}
    return field(repr=name not in SECRETS, metadata=about)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. `{home}` in a default stands for EZREC_HOME."""

    home: Path = _setting(
        "EZREC_HOME", types.path, str(DEFAULT_HOME), "everything lies under it unless set apart"
    )
    backend: str = _setting(
        "EZREC_BACKEND",
        types.one_of("local", "supabase"),
        None,
        "`local` or `supabase`; chosen by whether SUPABASE_URL is set",
    )
    camera: str = _setting(
        "EZREC_CAMERA",
        types.camera,
        "software",
        "`auto` (the camera module, else a USB camera), `picamera2`, `software` (a test picture), "
        "`v4l2:/dev/video0` or `rtsp://…`; "
        "in its password write # as %23, / as %2F, ? as %3F, @ as %40",
    )
    audio: str = _setting(
        "EZREC_AUDIO",
        types.audio,
        "off",
        "sound: `off`, `alsa:hw:1,0` (arecord -l), `pulse:default`, or `software` (a tone)",
    )
    supabase_url: str = _setting("SUPABASE_URL", types.url, "", "the project's URL (Supabase only)")
    supabase_key: str = _setting(
        "SUPABASE_KEY",
        types.text,
        "",
        "the device's key (Supabase only)",
        "SUPABASE_SERVICE_ROLE_KEY",
        "SUPABASE_ANON_KEY",
    )
    device_email: str = _setting(
        "EZREC_DEVICE_EMAIL", types.text, "", "account of this device in Supabase Auth; empty: the key alone"
    )
    device_password: str = _setting("EZREC_DEVICE_PASSWORD", types.text, "", "its password")
    credentials: Path | None = _setting(
        "EZREC_DEVICE_CREDENTIALS",
        types.path,
        None,
        "file with SUPABASE_KEY and these two, as in `.env`; default: systemd's credential `ezrec-device`",
    )
    user_id: str = _setting("USER_ID", types.identifier, "local", "account to which the camera belongs")
    camera_id: str = _setting(
        "CAMERA_ID", types.identifier, "0", "`cameras.id`; `0` also exists in the field"
    )
    spool: Path = _setting("EZREC_SPOOL", types.path, "{home}/spool", "the spool; one file system")
    state: Path = _setting(
        "EZREC_STATE",
        types.path,
        "{home}/state",
        "what the services say of themselves: health.json and the like",
    )
    reserve_mb: int = _setting(
        "EZREC_RESERVE_MB",
        types.whole(0, 10_000),
        "64",
        "megabytes laid aside in the spool, with which a full disk is still written to; 0 is none",
    )
    keep_uploaded: timedelta = _setting(
        "EZREC_KEEP_UPLOADED",
        types.span,
        "0",
        "how long a finished video stays here after its upload, such as `12h`, `3d`; 0: not at all",
    )
    logs: Path = _setting("LOGS_DIR", types.path, "{home}/logs", "log files")
    media_cache: Path = _setting(
        "MEDIA_CACHE_DIR", types.path, "{home}/media_cache", "intro and logo, as fetched"
    )
    booking_cache: Path = _setting(
        "BOOKING_CACHE_FILE",
        types.path,
        "{home}/bookings_cache.json",
        "the bookings as last fetched: a JSON list of rows",
    )
    sync_interval_s: float = _setting(
        "BOOKING_FETCH_INTERVAL", types.number(1, 3600), "15", "seconds between fetches of the bookings"
    )
    unassigned: bool = _setting(
        "EZREC_UNASSIGNED_BOOKINGS",
        types.flag,
        "no",
        "`yes`: bookings that name no camera (`0` or empty) belong to this one; for camera `0` always so",
    )
    upload_kbps: int = _setting(
        "EZREC_UPLOAD_KBPS", types.whole(0, 10_000_000), "0", "kilobits a second for uploads; 0 is unlimited"
    )
    upload_hours: Hours = _setting(
        "EZREC_UPLOAD_WINDOW",
        read_hours,
        "always",
        "hours in which videos are uploaded: `always`, or such as `22:00-07:00,13:00-15:00`",
    )
    upload_while_recording: bool = _setting(
        "EZREC_UPLOAD_WHILE_RECORDING",
        types.flag,
        "yes",
        "`no`: uploads wait, after the 6 MiB they are at, until nothing is recorded",
    )
    status_interval_s: float = _setting(
        "SYSTEM_STATUS_INTERVAL",
        types.number(1, 3600),
        "15",
        "seconds between heartbeats; offline is 30 s without one",
    )
    status_still: bool = _setting(
        "EZREC_STATUS_STILL",
        types.flag,
        "no",
        "`yes`: while recording, put a small picture into the bucket for logs every 5 minutes",
    )
    logs_interval_s: float = _setting(
        "LOG_UPLOAD_INTERVAL", types.number(10, 86400), "900", "seconds between log archives"
    )
    log_bucket: str = _setting("LOG_BUCKET", types.identifier, "logs", "bucket for log archives")
    resolution: types.Resolution = _setting(
        "RESOLUTION", types.resolution, "1920x1080", "picture size of the camera"
    )
    fps: int = _setting("RECORDING_FPS", types.whole(1, 120), "30", "frames a second of the camera")
    bitrate: int = _setting(
        "RECORDING_BITRATE", types.whole(100_000, 100_000_000), "10000000", "bits a second of a recording"
    )
    zone: tzinfo = _setting(
        "LOCAL_TIMEZONE", types.zone, None, "zone of times that carry none; default: the system's",
        "SYSTEM_TIMEZONE", "TIMEZONE", "TIMEZONE_NAME",
    )  # fmt: skip
    pre_roll_s: float = _setting(
        "EZREC_PRE_ROLL", types.number(0, 600), "5", "seconds recorded before the booking"
    )
    post_roll_s: float = _setting(
        "EZREC_POST_ROLL", types.number(0, 600), "5", "seconds recorded after the booking"
    )
    arm_s: float = _setting(
        "EZREC_ARM", types.number(0, 600), "30", "seconds before the recording at which the camera starts"
    )
    on_cancel: OnCancel = _setting(
        "EZREC_ON_CANCEL",
        lambda text: OnCancel(types.one_of(*OnCancel)(text)),
        "keep",
        "footage of a booking that is cancelled while it is recorded: `keep` (a day, for a person to "
        "decide), `trim` (publish what there is), `discard`",
    )
    encoder: str = _setting(
        "EZREC_ENCODER",
        types.one_of(*WISHES),
        "auto",
        "`auto` (in hardware where it proves itself, else x264), or one of " + ", ".join(WISHES[1:]),
    )
    preset: str = _setting(
        "EZREC_X264_PRESET", types.one_of("ultrafast", "superfast", "veryfast", "faster", "fast", "medium"),
        "veryfast", "x264 preset of the finished video",
    )  # fmt: skip
    logo_show: LogoShow = _setting(
        "EZREC_LOGO_SHOW",
        read_logo_show,
        "always",
        "when the logo is shown: `always`, `first:10s`, `every:5m/10s`; all but `always` cost little",
    )
    logo_at: str = _setting(
        "EZREC_LOGO_AT",
        types.one_of("auto", "capture", "process"),
        "auto",
        "what puts the logo on: `process`, or `auto` and `capture`: the camera where it can (camera module, "
        "software; the logo always shown), else the processing. At capture it costs next to nothing",
    )
    logo_corner: str = _setting(
        "EZREC_LOGO_CORNER",
        types.one_of(*CORNERS),
        "bottom-right",
        f"corner of the logo: {', '.join(CORNERS)}",
    )
    while_recording: str = _setting(
        "EZREC_PROCESS_WHILE_RECORDING",
        types.one_of("yes", "nice", "no"),
        "nice",
        "process videos while something is recorded? `yes`, `nice` (at low priority), `no` (rest meanwhile)",
    )
    artefacts: tuple[str, ...] = _setting(
        "EZREC_ARTEFACTS", types.some_of(*ARTEFACTS), "poster,preview,loudness",
        f"made of a finished video and published after it: `none`, or of {', '.join(ARTEFACTS)}",
    )  # fmt: skip
    webhook: Webhook | None = _setting(
        "EZREC_WEBHOOK",
        read_webhook,
        "",
        "told of alerts and finished jobs by POST: `https://…` (JSON), `slack+https://…` or `ntfy+https://…`",
    )
    assume_clock: bool = _setting(
        "EZREC_ASSUME_CLOCK",
        types.flag,
        "no",
        "`yes`: trust the clock although nothing says that it is synchronised",
    )

    # Not read from anywhere: what nobody has a reason to change on a box.
    sync_past_days: int = 3  # bookings that are older are not fetched
    rescan_s: float = 60.0  # from one rescan to the next, the net under the file events
    hook_limit_s: float = 30.0  # a hook may run so long
    retired: tuple[str, ...] = ()  # the settings of earlier versions that are still set
    unknown: tuple[tuple[str, str], ...] = ()  # what is set and is no setting, and the setting meant or ""

    @property
    def hooks(self) -> Path:
        """Executables that observe the spool."""
        return self.home / "hooks"

    @property
    def local_store(self) -> Path:
        """Tables and buckets of the local backend."""
        return self.home / "local"

    @property
    def reach(self) -> Path:
        """Where the processes tell each other whether the cloud can be reached."""
        return self.state / "reach"

    @property
    def logo_layout(self) -> LogoLayout:
        return LogoLayout(self.logo_corner, sponsor_corner=_SPONSOR_CORNER)

    @property
    def draws_logo(self) -> bool:
        """Whether the camera draws the logo. One that is shown for a while only is added by the process
        stage, which then copies the rest of the video.
        """
        can = self.camera in ("auto", "picamera2", "software")
        return can and self.logo_at != "process" and self.logo_show.is_always

    @property
    def backend_line(self) -> str:
        """The backend in one line for people."""
        where = self.supabase_url if self.backend == "supabase" else f"in {self.local_store}"
        return f"{self.backend}, {where}"

    def secrets(self) -> tuple[str, ...]:
        """What must never be read in a log: every secret that is set, and a camera's password and token."""
        found = [str(getattr(self, item.name) or "") for item in TABLE if item.metadata["name"] in SECRETS]
        return tuple(filter(None, (*found, *camera_address.secrets_of(self.camera))))

    def shown(self) -> dict[str, str]:
        """Every setting by its name, secrets as `***`."""
        shown = {}
        for item in TABLE:
            name, value = item.metadata["name"], getattr(self, item.name)
            if name in SECRETS and value:
                value = "***"
            elif value is None:
                value = ""
            elif isinstance(value, bool):
                value = "yes" if value else "no"
            elif isinstance(value, timedelta):
                value = format_duration(value)
            elif isinstance(value, tuple):
                value = ",".join(value) or "none"
            elif isinstance(value, float):
                value = f"{value:g}"
            shown[name] = value if name in SECRETS else redacted(str(value))
        return shown

    def notes(self) -> list[str]:
        """A sentence for each thing that is set and changes nothing."""
        retired = [f"{name} is no longer a setting: remove the line" for name in self.retired]
        return retired + [setting_names.note(name, meant) for name, meant in self.unknown]


TABLE = tuple(item for item in fields(Settings) if item.metadata)  # the fields that can be set
FIELDS = {name: item for item in TABLE for name in (item.metadata["name"], *item.metadata["older"])}
NAMES = {name: item.metadata["name"] for name, item in FIELDS.items()}  # each with the newest
