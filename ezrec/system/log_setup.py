"""Log files: one a service, by the names that installations know, and everything on standard output.

What nobody may read is taken out here, at the handler, the last place that every line passes: libraries log
addresses with tokens in them, and a traceback quotes whatever it likes.
"""

from __future__ import annotations

import fcntl
import logging
import logging.handlers
import os
import re
import stat
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ezrec.domain.redaction import hide, redacted
from ezrec.system import journal_stream

FORMAT = "%(asctime)s - %(levelname)s - %(message)s"
_IN_JOURNAL = "%(levelname)s - %(message)s"  # which dates each line itself
# Stage or periodic task → service. The names are those of docs/contract.md.
SERVICES = {
    "record": "recorder",
    "process": "video_worker",
    "ahead": "video_worker",
    "upload": "video_worker",
    "retry": "video_worker",
    "tell": "booking_sync",
    "sync": "booking_sync",
    "status": "system_status",
    "logs": "log_collector",
    "tidy": "ezrec",
    "run": "ezrec",
}
_LOG_FILE = re.compile(r"([\w.-]+\.log)(?:\.(\d{1,4}))?")
_LARGEST = 5 << 20
_KEPT = 3
_ASIDE = ("ezrec.supabase", "ezrec.upload", "ezrec.local")
_QUIET = ("httpx", "httpcore", "hpack", "h2", "watchdog", "asyncio", "urllib3", "picamera2", "PIL")


def logger(part: str) -> logging.Logger:
    """The logger of the service that a stage or a periodic task belongs to."""
    return logging.getLogger(f"ezrec.{SERVICES[part]}")


class _Line(logging.Formatter):
    """One entry of a log as people read it, its traceback included. Only its first line begins at the edge:
    what came from outside must not look like an entry of its own.
    """

    def __init__(self, form: str = FORMAT) -> None:
        super().__init__(form)

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record)).replace("\n", "\n  ")


class _JournalLine(_Line):
    """The same for the journal."""

    def __init__(self) -> None:
        super().__init__(_IN_JOURNAL)

    def format(self, record: logging.LogRecord) -> str:
        return journal_stream.marked(super().format(record), record.levelno)


class _Aside(logging.Handler):
    """Backends log to the service that called them: what the cloud answered belongs into its file."""

    def __init__(self, files: Mapping[str, logging.Handler]) -> None:
        super().__init__()
        self._files = files

    def emit(self, record: logging.LogRecord) -> None:
        service = SERVICES.get(record.threadName or "")
        file = self._files.get(service or "") or next(iter(self._files.values()), None)
        if file is not None:
            file.handle(record)


class _Careful:
    """Says what went wrong with a line, and not the line: logging itself would print it as it is."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        fault = traceback.format_exception_only(*sys.exc_info()[:2])[-1].strip()
        with suppress(OSError, ValueError):
            told = f"a line of {record.name} was not logged: {redacted(fault)}\n"
            sys.stderr.write(journal_stream.for_stream(told, sys.stderr))


class _Screen(_Careful, logging.StreamHandler):  # type: ignore[type-arg]
    """Standard output."""


class _File(_Careful, logging.handlers.RotatingFileHandler):
    """A log file that several processes may write, and rotate, at once.

    The library's own rotates under the others' feet: they would go on writing into the file that is old.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._reopen_if_moved()
        except OSError:
            self.handleError(record)
        super().emit(record)

    def _reopen_if_moved(self) -> None:
        if self.stream is None:
            return
        try:
            is_moved = not os.path.samestat(os.stat(self.baseFilename), os.fstat(self.stream.fileno()))
        except FileNotFoundError:
            is_moved = True
        if is_moved:
            self.stream.close()
            self.stream = self._open()

    def doRollover(self) -> None:  # noqa: N802 - logging's name
        place = os.open(os.path.dirname(self.baseFilename), os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(place, fcntl.LOCK_EX)
            self._reopen_if_moved()  # another process was faster
            if self.stream is None or os.fstat(self.stream.fileno()).st_size > self.maxBytes // 2:
                super().doRollover()
        finally:
            os.close(place)


def begin(
    directory: Path,
    parts: list[str],
    level: int = logging.INFO,
    secrets: Iterable[str] = (),
) -> None:
    """Log these stages and tasks to files in `directory` and to standard output. A full disk stops
    nothing.
    """
    hide(secrets)
    shape = _Line()
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    screen = _Screen(sys.stdout)
    screen.setFormatter(_JournalLine() if journal_stream.leads_to_journal(sys.stdout) else shape)
    root.addHandler(screen)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("ezrec").setLevel(level)
    files: dict[str, logging.Handler] = {}
    for service in sorted({SERVICES[part] for part in parts}):
        try:
            directory.mkdir(parents=True, exist_ok=True)
            file = _File(
                directory / f"{service}.log", maxBytes=_LARGEST, backupCount=_KEPT, encoding="utf-8",
                errors="backslashreplace",
            )  # fmt: skip
        except OSError as fault:
            logging.getLogger("ezrec").warning(
                "no log file %s/%s.log: %s", directory, service, fault.strerror
            )
            continue
        file.setFormatter(shape)
        logging.getLogger(f"ezrec.{service}").addHandler(file)
        files[service] = file
    for name in _ASIDE:
        logging.getLogger(name).addHandler(_Aside(files))


def log_files(directory: Path) -> list[tuple[str, Path]]:
    """`("recorder.log", …/recorder.log.2)` for each plain log file, each log's oldest part first."""
    found = []
    with suppress(OSError):
        for path in directory.iterdir():
            match = _LOG_FILE.fullmatch(path.name)
            if match and not path.name.startswith(".") and stat.S_ISREG(path.lstat().st_mode):
                found.append((match[1], -int(match[2] or 0), path))
    return [(name, path) for name, _, path in sorted(found)]
