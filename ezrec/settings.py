"""The settings: read once at the top, all faults at once. Nothing below `app.py` reads the environment.

Each field carries its own help; `.env.example` and the README's table are generated from them
(`python -m ezrec.settings env|table`), and a test says when they are stale.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import tzinfo
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from ezrec.domain.branding import CORNERS, LogoLayout, LogoShow, read_logo_show
from ezrec.domain.errors import ConfigError
from ezrec.domain.names import BadName, safe_id
from ezrec.ports import ARTEFACTS

DEFAULT_HOME = Path("/opt/ezrec-backend")
_SECRETS = ("SUPABASE_KEY", "EZREC_DEVICE_PASSWORD")


@dataclass(frozen=True, slots=True)
class Resolution:
    """Width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def _text(value: str) -> str:
    return value


def _path(value: str) -> Path:
    path = Path(value).expanduser()
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse(value: str) -> float:
        number = float(value)
        if not low <= number <= high:
            raise ValueError(f"must be between {low:g} and {high:g}")
        return number

    return parse


def _whole(low: int, high: int) -> Callable[[str], int]:
    return lambda value: int(_number(low, high)(str(int(value))))


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"must be one of: {', '.join(choices)}")
        return value

    return parse


def _camera(value: str) -> str:
    if value in ("auto", "picamera2", "software") or re.fullmatch(r"v4l2:/dev/[\w./-]+|rtsps?://\S+", value):
        return value
    raise ValueError("must be auto, picamera2, software, v4l2:/dev/… or rtsp://…")


def _some_of(*choices: str) -> Callable[[str], tuple[str, ...]]:
    def parse(value: str) -> tuple[str, ...]:
        given = tuple(word.strip() for word in value.split(",")) if value != "none" else ()
        if not set(given) <= set(choices):
            raise ValueError(f"must be `none`, or some of: {', '.join(choices)}")
        return given

    return parse


def _flag(value: str) -> bool:
    if value.lower() in ("1", "true", "yes", "on"):
        return True
    if value.lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("must be yes or no")


def _id(value: str) -> str:
    try:
        return safe_id(value)
    except BadName as fault:
        raise ValueError(str(fault)) from None


def _resolution(value: str) -> Resolution:
    match = re.fullmatch(r"(\d{2,4})[xX](\d{2,4})", value)
    if not match:
        raise ValueError("must look like 1920x1080")
    width, height = int(match[1]), int(match[2])
    if width % 2 or height % 2 or not (64 <= width <= 7680 and 64 <= height <= 4320):
        raise ValueError("must be even numbers between 64x64 and 7680x4320")
    return Resolution(width, height)


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a URL such as https://abc.supabase.co")
    return value.rstrip("/")


def _zone(value: str) -> tzinfo:
    try:
        return ZoneInfo(value)
    except (ValueError, OSError, KeyError):
        raise ValueError("must be a time zone such as Europe/Madrid") from None


def _setting(name: str, parse: Callable[[str], Any], default: str | None, meaning: str, *older: str) -> Any:
    """A field. `older` are names under which existing installations know the same setting."""
    about = {"name": name, "parse": parse, "default": default, "help": meaning, "older": older}
    return field(repr=name not in _SECRETS, metadata=about)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. `{home}` in a default stands for EZREC_HOME."""

    home: Path = _setting("EZREC_HOME", _path, str(DEFAULT_HOME), "everything lies under it unless set apart")
    backend: str = _setting(
        "EZREC_BACKEND",
        _one_of("local", "supabase"),
        None,
        "`local` or `supabase`; chosen by whether SUPABASE_URL is set",
    )
    camera: str = _setting(
        "EZREC_CAMERA",
        _camera,
        "software",
        "`auto` (the camera module), `picamera2`, `software` (a test picture), `v4l2:/dev/video0` or `rtsp://…`",
    )
    supabase_url: str = _setting("SUPABASE_URL", _url, "", "the project's URL (Supabase only)")
    supabase_key: str = _setting(
        "SUPABASE_KEY",
        _text,
        "",
        "the device's key (Supabase only)",
        "SUPABASE_SERVICE_ROLE_KEY",
        "SUPABASE_ANON_KEY",
    )
    device_email: str = _setting(
        "EZREC_DEVICE_EMAIL", _text, "", "account of this device in Supabase Auth; empty: the key alone"
    )
    device_password: str = _setting("EZREC_DEVICE_PASSWORD", _text, "", "its password")
    user_id: str = _setting("USER_ID", _id, "local", "account to which the camera belongs")
    camera_id: str = _setting("CAMERA_ID", _id, "0", "`cameras.id`; `0` also exists in the field")
    spool: Path = _setting("EZREC_SPOOL", _path, "{home}/spool", "the spool; one file system")
    hooks: Path = _setting("EZREC_HOOKS", _path, "{home}/hooks", "executables that observe the spool")
    logs: Path = _setting("LOGS_DIR", _path, "{home}/logs", "log files")
    media_cache: Path = _setting("MEDIA_CACHE_DIR", _path, "{home}/media_cache", "intro and logo, as fetched")
    booking_cache: Path = _setting(
        "BOOKING_CACHE_FILE",
        _path,
        "{home}/bookings_cache.json",
        "the bookings as last fetched: a JSON list of rows",
    )
    local_store: Path = _setting(
        "EZREC_LOCAL_STORE", _path, "{home}/local", "tables and buckets of the local backend"
    )
    sync_interval_s: float = _setting(
        "BOOKING_FETCH_INTERVAL", _number(1, 3600), "15", "seconds between fetches of the bookings"
    )
    sync_past_days: int = _setting(
        "EZREC_SYNC_PAST_DAYS", _whole(1, 3650), "3", "bookings older than this many days are not fetched"
    )
    unassigned: bool = _setting(
        "EZREC_UNASSIGNED_BOOKINGS",
        _flag,
        "no",
        "`yes`: bookings that name no camera (`0` or empty) belong to this one; for camera `0` always so",
    )
    upload_kbps: int = _setting(
        "EZREC_UPLOAD_KBPS", _whole(0, 10_000_000), "0", "kilobits a second for uploads; 0 is unlimited"
    )
    status_interval_s: float = _setting(
        "SYSTEM_STATUS_INTERVAL",
        _number(1, 3600),
        "15",
        "seconds between heartbeats; offline is 30 s without one",
    )
    logs_interval_s: float = _setting(
        "LOG_UPLOAD_INTERVAL", _number(10, 86400), "900", "seconds between log archives"
    )
    log_bucket: str = _setting("LOG_BUCKET", _id, "logs", "bucket for log archives")
    resolution: Resolution = _setting("RESOLUTION", _resolution, "1920x1080", "picture size of the camera")
    fps: int = _setting("RECORDING_FPS", _whole(1, 120), "30", "frames a second of the camera")
    bitrate: int = _setting(
        "RECORDING_BITRATE", _whole(100_000, 100_000_000), "10000000", "bits a second of a recording"
    )
    zone: tzinfo = _setting(
        "LOCAL_TIMEZONE", _zone, None, "zone of times that carry none; default: the system's",
        "SYSTEM_TIMEZONE", "TIMEZONE", "TIMEZONE_NAME",
    )  # fmt: skip
    pre_roll_s: float = _setting(
        "EZREC_PRE_ROLL", _number(0, 600), "5", "seconds recorded before the booking"
    )
    post_roll_s: float = _setting(
        "EZREC_POST_ROLL", _number(0, 600), "5", "seconds recorded after the booking"
    )
    arm_s: float = _setting(
        "EZREC_ARM", _number(0, 600), "30", "seconds before the recording at which the camera starts"
    )
    preset: str = _setting(
        "EZREC_X264_PRESET", _one_of("ultrafast", "superfast", "veryfast", "faster", "fast", "medium"),
        "veryfast", "x264 preset of the finished video",
    )  # fmt: skip
    logo_show: LogoShow = _setting(
        "EZREC_LOGO_SHOW",
        read_logo_show,
        "always",
        "when the logo is shown: `always`, `first:10s`, `every:5m/10s`; all but `always` cost little",
    )
    logo_corner: str = _setting(
        "EZREC_LOGO_CORNER", _one_of(*CORNERS), "bottom-right", f"corner of the logo: {', '.join(CORNERS)}"
    )
    logo_size: int = _setting(
        "EZREC_LOGO_SIZE",
        _whole(2, 50),
        "25",
        "most of the frame's width and height that the logo takes, in %",
    )
    while_recording: str = _setting(
        "EZREC_PROCESS_WHILE_RECORDING",
        _one_of("yes", "nice", "no"),
        "nice",
        "process videos while something is recorded? `yes`, `nice` (at low priority), `no` (rest meanwhile)",
    )
    artefacts: tuple[str, ...] = _setting(
        "EZREC_ARTEFACTS", _some_of(*ARTEFACTS), "none",
        f"made beside a video, for hooks, until it is uploaded: `none`, or of {', '.join(ARTEFACTS)}",
    )  # fmt: skip
    rescan_s: float = _setting(
        "EZREC_RESCAN", _number(1, 3600), "60", "seconds between rescans, the net under the file events"
    )
    hook_limit_s: float = _setting("EZREC_HOOK_LIMIT", _number(1, 600), "30", "seconds a hook may run")
    assume_clock: bool = _setting(
        "EZREC_ASSUME_CLOCK",
        _flag,
        "no",
        "`yes`: trust the clock although nothing says that it is synchronised",
    )

    @property
    def logo_layout(self) -> LogoLayout:
        return LogoLayout(self.logo_corner, self.logo_size)

    def shown(self) -> dict[str, str]:
        """Every setting by its name, secrets as `***`."""
        shown = {}
        for item in fields(self):
            name, value = item.metadata["name"], getattr(self, item.name)
            if name in _SECRETS and value:
                value = "***"
            elif isinstance(value, bool):
                value = "yes" if value else "no"
            elif isinstance(value, tuple):
                value = ",".join(value) or "none"
            elif isinstance(value, float):
                value = f"{value:g}"
            shown[name] = str(value)
        return shown


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the environment, and under it `EZREC_HOME/.env`. Raises `ConfigError` with every fault."""
    given = dict(os.environ if environ is None else environ)
    problems: list[str] = []
    home = _value("EZREC_HOME", given.get("EZREC_HOME") or str(DEFAULT_HOME), _path, problems)
    from_file = {} if home is None else _read_env_file(home / ".env", problems)
    home = home or DEFAULT_HOME  # go on, to find the other faults as well
    merged = _merged(given, from_file) | {"EZREC_HOME": str(home)}
    values: dict[str, Any] = {}
    for item in fields(Settings):
        meta = item.metadata
        text = merged.get(meta["name"])
        if text is None:
            text = _default(item.name, meta["default"], home, merged)
        values[item.name] = _value(meta["name"], text, meta["parse"], problems) if text else text
    values["home"] = home
    if values["zone"] is None:
        values["zone"] = _system_zone(given, problems)
    _check_together(values, merged, problems)
    if problems:
        raise ConfigError(problems)
    return Settings(**values)


def _merged(*sources: Mapping[str, str]) -> dict[str, str]:
    """Every setting under its newest name, from the first source that has it under any of its names."""
    merged: dict[str, str] = {}
    for source in sources:
        for item in fields(Settings):
            names = (item.metadata["name"], *item.metadata["older"])
            text = next((source[name] for name in names if source.get(name)), None)
            if text is not None:
                merged.setdefault(item.metadata["name"], text)
    return merged


def _default(name: str, default: str | None, home: Path, merged: Mapping[str, str]) -> str | None:
    if name == "backend":
        return "supabase" if merged.get("SUPABASE_URL") else "local"
    return None if default is None else default.replace("{home}", str(home))


def _value(name: str, text: str, parse: Callable[[str], Any], problems: list[str]) -> Any:
    try:
        return parse(text.strip())
    except (ValueError, OverflowError) as fault:
        what = "is set to something unusable" if name in _SECRETS else f"is {text[:80]!r}"
        problems.append(f"{name} {what}: {fault}")
        return None


def _check_together(values: dict[str, Any], merged: Mapping[str, str], problems: list[str]) -> None:
    if values["backend"] != "supabase":
        return
    missing = [name for name in ("SUPABASE_URL", "USER_ID") if not merged.get(name)]
    if not values["supabase_key"]:
        missing.append("SUPABASE_KEY")
    problems.extend(f"{name} is not set, and the Supabase backend needs it" for name in missing)


def _read_env_file(path: Path, problems: list[str]) -> dict[str, str]:
    try:
        if not path.is_file():
            return {}
        from dotenv import dotenv_values  # only where there is a file to read: it costs 10 ms

        values = dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError) as fault:
        problems.append(f"{path} cannot be read: {fault}")
        return {}
    return {name: value for name, value in values.items() if value}


def _system_zone(environ: Mapping[str, str], problems: list[str]) -> tzinfo:
    """The device's zone with its daylight-saving rules, not only today's offset."""
    name = environ.get("TZ", "").lstrip(":")
    try:
        if name and not name.startswith("/"):
            return ZoneInfo(name)
        with open(name or "/etc/localtime", "rb") as file:
            return ZoneInfo.from_file(file, key="localtime")
    except (OSError, ValueError, KeyError):
        if name:  # to guess UTC would be to record every match at the wrong hour
            problems.append(f"TZ is {name[:80]!r}: not a zone that can be read; set LOCAL_TIMEZONE")
        return ZoneInfo("UTC")


def env_example() -> str:
    """The text of `.env.example`."""
    lines = ["# Settings of EZREC. Copy to EZREC_HOME/.env; the process environment wins over it.", ""]
    for item in fields(Settings):
        meta = item.metadata
        older = f" (also: {', '.join(meta['older'])})" if meta["older"] else ""
        default = (meta["default"] or "").replace("{home}", str(DEFAULT_HOME))
        lines += [f"# {meta['help']}{older}", f"#{meta['name']}={default}", ""]
    return "\n".join(lines)


def table() -> str:
    """The README's table of settings."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for item in fields(Settings):
        meta = item.metadata
        older = f" (also {', '.join(meta['older'])})" if meta["older"] else ""
        default = (meta["default"] or "–").replace("{home}/", "EZREC_HOME/")
        lines.append(f"| {meta['name']}{older} | {default} | {meta['help']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print({"env": env_example, "table": table}[sys.argv[1]](), end="")
