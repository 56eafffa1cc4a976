"""Log files: one a service, by the names that installations know, and everything on standard output."""

from __future__ import annotations

import logging
import logging.handlers
import re
import sys
from collections.abc import Mapping
from pathlib import Path

FORMAT = "%(asctime)s - %(levelname)s - %(message)s"
# lane → service. The names are those of docs/contract.md.
SERVICES = {
    "record": "recorder",
    "process": "video_worker",
    "ahead": "video_worker",
    "upload": "video_worker",
    "retry": "video_worker",
    "tell": "booking_sync",
    "sync": "booking_sync",
    "realtime": "booking_sync",
    "status": "system_status",
    "logs": "log_collector",
    "tidy": "ezrec",
    "run": "ezrec",
}
_LARGEST = 5 << 20
_KEPT = 3
_SECRETS = (
    re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),
    re.compile(r"\bsb_(?:secret|publishable)_[\w-]+"),
    re.compile(r"(?<=token=)[^&\s\"']+"),
    re.compile(r"(?<=[Bb]earer )[^\s\"',]+"),
    re.compile(r"(?<=://)[^/@\s:]+:[^/@\s]+(?=@)"),
)
_ASIDE = ("ezrec.supabase", "ezrec.upload", "ezrec.local")
_QUIET = ("httpx", "httpcore", "hpack", "watchdog", "asyncio")


def logger(lane: str) -> logging.Logger:
    """The logger of the service that a lane belongs to."""
    return logging.getLogger(f"ezrec.{SERVICES[lane]}")


def redacted(text: str) -> str:
    """`text` without keys, tokens and passwords in addresses."""
    for secret in _SECRETS:
        text = secret.sub("***", text)
    return text


class _Line(logging.Formatter):
    """One entry of a log, its traceback included, without what nobody may read."""

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class _Aside(logging.Handler):
    """Backends speak in the lane that called them: what the cloud answered belongs into that lane's file."""

    def __init__(self, files: Mapping[str, logging.Handler]) -> None:
        super().__init__()
        self._files = files

    def emit(self, record: logging.LogRecord) -> None:
        service = SERVICES.get(record.threadName or "")
        file = self._files.get(service or "") or next(iter(self._files.values()), None)
        if file is not None:
            file.handle(record)


def begin(directory: Path, lanes: list[str], level: int = logging.INFO) -> None:
    """Log these lanes to files in `directory` and to standard output. A full disk stops nobody."""
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    screen = logging.StreamHandler(sys.stdout)
    screen.setFormatter(_Line())
    root.addHandler(screen)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("ezrec").setLevel(level)
    files: dict[str, logging.Handler] = {}
    for service in sorted({SERVICES[lane] for lane in lanes}):
        try:
            directory.mkdir(parents=True, exist_ok=True)
            file = logging.handlers.RotatingFileHandler(
                directory / f"{service}.log", maxBytes=_LARGEST, backupCount=_KEPT, encoding="utf-8"
            )
        except OSError as fault:
            logging.getLogger("ezrec").warning(
                "no log file %s/%s.log: %s", directory, service, fault.strerror
            )
            continue
        file.setFormatter(_Line())
        logging.getLogger(f"ezrec.{service}").addHandler(file)
        files[service] = file
    for name in _ASIDE:
        logging.getLogger(name).addHandler(_Aside(files))
