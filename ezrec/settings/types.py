"""The kinds of settings: each turns a text into its value, or raises `ValueError` with what it must be."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from ezrec.domain import camera_address
from ezrec.domain.durations import parse_duration
from ezrec.domain.names import BadName, safe_id

_LONGEST = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Resolution:
    """Width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def span(value: str) -> timedelta:
    """A length of time; `0` for none."""
    found = timedelta(0) if value.strip() == "0" else parse_duration(value)
    if found > _LONGEST:
        raise ValueError("must be ten years at most")
    return found


def text(value: str) -> str:
    return value


def path(value: str) -> Path:
    path = Path(value).expanduser()
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def number(low: float, high: float) -> Callable[[str], float]:
    def parse(value: str) -> float:
        number = float(value)
        if not low <= number <= high:
            raise ValueError(f"must be between {low:g} and {high:g}")
        return number

    return parse


def whole(low: int, high: int) -> Callable[[str], int]:
    return lambda value: int(number(low, high)(str(int(value))))


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f"must be one of: {', '.join(choices)}")
        return value

    return parse


def camera(value: str) -> str:
    if camera_address.is_network_camera(value):
        return camera_address.checked(value)
    if value in ("auto", "picamera2", "software") or re.fullmatch(r"v4l2:/dev/[\w./-]+", value):
        return value
    *others, last = camera_address.KINDS.values()
    raise ValueError(f"must be {', '.join(others)} or {last}")


def audio(value: str) -> str:
    if value in ("off", "software") or re.fullmatch(
        r"(alsa|pulse):[A-Za-z0-9_@][A-Za-z0-9_:,=.@-]{0,199}", value
    ):
        return value
    raise ValueError("must be off, alsa:hw:1,0 or the like, pulse:default or the like, or software")


def some_of(*choices: str) -> Callable[[str], tuple[str, ...]]:
    def parse(value: str) -> tuple[str, ...]:
        given = tuple(word.strip() for word in value.split(",")) if value != "none" else ()
        if not set(given) <= set(choices):
            raise ValueError(f"must be `none`, or some of: {', '.join(choices)}")
        return given

    return parse


def flag(value: str) -> bool:
    if value.lower() in ("1", "true", "yes", "on"):
        return True
    if value.lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("must be yes or no")


def identifier(value: str) -> str:
    try:
        return safe_id(value)
    except BadName as fault:
        raise ValueError(str(fault)) from None


def resolution(value: str) -> Resolution:
    match = re.fullmatch(r"(\d{2,4})[xX](\d{2,4})", value)
    if not match:
        raise ValueError("must look like 1920x1080")
    width, height = int(match[1]), int(match[2])
    if width % 2 or height % 2 or not (64 <= width <= 7680 and 64 <= height <= 4320):
        raise ValueError("must be even numbers between 64x64 and 7680x4320")
    return Resolution(width, height)


def url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a URL such as https://abc.supabase.co")
    return value.rstrip("/")


def zone(value: str) -> tzinfo:
    try:
        return ZoneInfo(value)
    except (ValueError, OSError, KeyError):
        raise ValueError("must be a time zone such as Europe/Madrid") from None
