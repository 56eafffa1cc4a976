"""Runs FFmpeg's programs: none outlives its worker, runs without end, or fills the disk with its log.

Starts, watches and ends a child, whatever its task. Raises `Stopped`, `TookTooLong` or `FfmpegFailed`; the
caller decides which of these is a `Retry` and which a `Reject`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import resource
import selectors
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ezrec.domain.errors import Retry, is_starved
from ezrec.media.ffmpeg.throttle import Throttle
from ezrec.system import plain_files
from ezrec.system.child_process import as_input, with_parent_death_signal
from ezrec.system.task import CancelToken

_TICK_S = 0.1
_EXPENDABLE = 800  # of 1000 in /proc/…/oom_score_adj
_MOST_MEMORY, _PART_OF_MEMORY = (
    3 << 30,
    0.75,
)  # an hour in 1080p takes 0.4 GB; a damaged file may ask for more
_FILE = "file:"
_LOG_LIMIT = 1 << 20
_IDLE_NICE = 19  # from this priority on, the disk is used only when nobody else needs it
_TAIL = 16 << 10
# Nothing of the worker's environment is passed on: it holds the cloud's keys, and FFREPORT would write files.
_ENVIRONMENT = {"LC_ALL": "C", "AV_LOG_FORCE_NOCOLOR": "1"}
_NOISE = re.compile(r"Conversion failed!|Error while filtering|Terminating|Exiting|x264 \[", re.IGNORECASE)
_LEVEL = re.compile(r"^.*?\[(?:error|fatal|panic)\] ?")
DISK_FULL, SILENT = "disk full", "it said nothing"
_FULL = ("No space left on device", "Disk quota exceeded")
_PASSING = (
    *_FULL, "Input/output error", "Cannot allocate memory", "Resource temporarily unavailable",
    "Too many open files", "Permission denied", "Read-only file system", "Stale file handle",
)  # fmt: skip


class TookTooLong(Retry):
    """A child was ended because it took too long, or made no progress."""


class FfmpegFailed(Exception):
    """A child failed. `last_word`: its last error message. `passing`: the message blames the machine, not the
    file; a damaged file can cause that too, by asking for more memory than there is.
    """

    def __init__(self, code: int, last_word: str, passing: bool) -> None:
        super().__init__(last_word)
        self.code = code
        self.last_word = last_word
        self.passing = passing

    @property
    def lasting(self) -> bool:
        """True when another try would fail too: there is an error message, and it does not pass."""
        return self.code > 0 and not self.passing and self.last_word != SILENT


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that a child may run, and that it may go without progress."""

    wall_s: float
    idle_s: float = 120.0


class Log:
    """A child's messages: the first MiB in a file for people, the end in memory for the program."""

    def __init__(self, path: Path | None = None) -> None:
        self._fd = -1 if path is None else plain_files.create(path)
        self._room = _LOG_LIMIT
        self._tail = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def note(self, text: str) -> None:
        self._keep(text.encode(errors="replace") + b"\n")

    def write(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-_TAIL:]
        self._keep(data)

    def begin(self, argv: Sequence[str]) -> None:
        self._tail = b""
        self.note(f"$ {shlex.join(argv)}")

    def last_word(self) -> str:
        """The last line that says what went wrong, without FFmpeg's addresses and closing remarks."""
        lines = [line.strip() for line in self._tail.decode(errors="replace").splitlines() if line.strip()]
        faults = [line for line in lines if _LEVEL.match(line) and not _NOISE.search(line)]
        line = _LEVEL.sub("", (faults or lines or [SILENT])[-1])
        return "".join(char if char.isprintable() else "?" for char in line)[:300]

    def tail(self) -> str:
        return self._tail.decode(errors="replace")

    def names(self, words: Sequence[str]) -> bool:
        return any(word.encode() in self._tail for word in words)

    def _keep(self, data: bytes) -> None:
        piece = data[: self._room]
        if self._fd < 0 or not piece:
            return
        self._room -= len(piece)
        try:
            os.write(self._fd, piece)
        except OSError:  # a full disk: FFmpeg will fail too, and its message reaches the job
            self._room = 0


def run(
    argv: Sequence[str],
    limits: Limits,
    *,
    nice: int,
    on_output: Callable[[bytes], None],
    log: Log | None = None,
    token: CancelToken | None = None,
    pulse: Callable[[], Hashable] = lambda: None,
    throttle: Throttle | None = None,
) -> None:
    """Run a child to its end in the calling thread; `on_output` gets its standard output.

    `pulse` returns a value that changes when there is progress. Raises `Stopped`, `TookTooLong`,
    `FfmpegFailed`, and `Retry` when the program cannot be started.
    """
    log, token = log or Log(), token or CancelToken()
    token.check()
    throttle = throttle or Throttle()
    throttle.pause(token.check)
    child = start(argv, nice if throttle.is_gentle else 0, log)
    try:
        _bind(child.pid)
        _attend(
            child, on_output, log.write, _Watch(child.pid, Path(argv[0]).name, limits, token, pulse, throttle)
        )
    finally:
        _end(child)
    if child.returncode:
        raise _failure(child.returncode, log)


def answer(program: str, question: str) -> str:
    """What a program prints for one option, such as `-version`; empty when it cannot be run."""
    printed = bytearray()
    try:
        run([program, "-hide_banner", question], Limits(10.0), nice=0, on_output=printed.extend)
    except (FfmpegFailed, Retry):
        return ""
    return printed.decode(errors="replace")


class _Watch:
    """Raises when a child has to be ended."""

    def __init__(
        self,
        pid: int,
        name: str,
        limits: Limits,
        token: CancelToken,
        pulse: Callable[[], Hashable],
        throttle: Throttle,
    ) -> None:
        self._pid, self._throttle = pid, throttle
        self._name, self._limits, self._token, self._pulse = name, limits, token, pulse
        self._began = self._moved = time.monotonic()
        self._seen = pulse()

    def check(self) -> None:
        self._token.check()
        self._rest()
        now, seen = time.monotonic(), self._pulse()
        if seen != self._seen:
            self._seen, self._moved = seen, now
        if now - self._began > self._limits.wall_s:
            raise TookTooLong(f"{self._name} was ended: not done after {self._limits.wall_s:.0f} s")
        if now - self._moved > self._limits.idle_s:
            raise TookTooLong(f"{self._name} was ended: no progress for {self._limits.idle_s:.0f} s")

    def _rest(self) -> None:
        """Stop the child (SIGSTOP) while a recording needs the machine; that time counts towards no limit."""
        if not self._throttle.should_pause():
            return
        os.killpg(self._pid, signal.SIGSTOP)
        rested = self._throttle.pause(self._token.check)
        os.killpg(self._pid, signal.SIGCONT)
        self._began, self._moved = self._began + rested, self._moved + rested


def _attend(
    child: subprocess.Popen[bytes],
    on_output: Callable[[bytes], None],
    note: Callable[[bytes], None],
    watch: _Watch,
) -> None:
    """Read both pipes (a full one would block the child) until it has ended."""
    assert child.stdout
    assert child.stderr
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ, on_output)
        selector.register(child.stderr, selectors.EVENT_READ, note)
        while selector.get_map():
            watch.check()
            for key, _ in selector.select(_TICK_S):
                data = os.read(key.fd, 1 << 16)
                if data:
                    key.data(data)
                else:
                    selector.unregister(key.fileobj)
    while child.poll() is None:
        watch.check()
        time.sleep(0.005)


def start(argv: Sequence[str], nice: int, log: Log, private: bytes = b"") -> subprocess.Popen[bytes]:
    """Start a child that the kernel kills when the *thread* that started it ends. Raises `Retry`.

    `private` is given to its standard input: every user of the machine may read its arguments. The caller has
    to read both pipes, and to end and reap the child.
    """
    _hand_over(argv)
    command = [_found(argv[0]), *argv[1:]]
    log.begin(command)
    try:
        with as_input(private) if private else contextlib.nullcontext(subprocess.DEVNULL) as stdin:
            return subprocess.Popen(
                [*_guard(nice), *command],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                cwd="/",
                env=_ENVIRONMENT,
            )
    except OSError as fault:
        reason = f"{command[0]} cannot be started: {fault.strerror}"
        raise Retry(reason, blameless=is_starved(fault)) from fault


def _hand_over(argv: Sequence[str]) -> None:
    """Check the files that a child opens by name, because FFmpeg follows links, waits at FIFOs, and writes
    through both. Raises `NotPlain` for an input; removes what is in the place of an output.
    """
    for before, word in itertools.pairwise(argv):
        if word.startswith(_FILE):
            path = Path(word.removeprefix(_FILE))
            if before == "-i":
                with contextlib.suppress(FileNotFoundError):  # the child will say so
                    plain_files.look(path, shared=True)
            else:
                plain_files.clear(path)


def _bind(pid: int) -> None:
    """When memory runs out, the kernel shall kill this child: an encode can be repeated, a match cannot.

    By default it would inherit the protection of the process that started it, perhaps the recorder's.
    """
    with contextlib.suppress(OSError):  # it has ended already
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(_EXPENDABLE))
        # Not RLIMIT_AS: with many cores FFmpeg reserves gigabytes of address space that it does not use.
        resource.prlimit(pid, resource.RLIMIT_DATA, (_memory(), _memory()))


@functools.cache
def _memory() -> int:
    """Bytes that a child may allocate; beyond them it fails."""
    return min(_MOST_MEMORY, int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * _PART_OF_MEMORY))


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill the child's process group if it still runs, and reap it."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    for pipe in (child.stdout, child.stderr):
        if pipe:
            pipe.close()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:  # it cannot be interrupted, because the storage hangs
        raise Retry(f"process {child.pid} cannot be ended: the storage does not answer") from None


def _failure(code: int, log: Log) -> FfmpegFailed:
    if code == -signal.SIGKILL:
        return FfmpegFailed(code, "killed from outside, perhaps for want of memory", passing=True)
    if code < 0:
        return FfmpegFailed(code, f"crashed ({signal.Signals(-code).name})", passing=False)
    if log.names(_FULL):
        return FfmpegFailed(code, DISK_FULL, passing=True)
    return FfmpegFailed(code, log.last_word(), passing=log.names(_PASSING))


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise Retry(f"{program} is not installed: sudo apt install ffmpeg", 60, blameless=True)
    return path


@functools.cache
def _guard(nice: int) -> tuple[str, ...]:
    """The programs in front of every command; each replaces itself (`exec`) by the next, so the pid stays.

    The child dies with the *thread* that started it, so `run` starts it and waits in the same thread.
    """
    niced, ioniced = (shutil.which(name) for name in ("nice", "ionice"))
    guard = with_parent_death_signal()
    if not nice:
        return guard
    weight = ("-c", "3") if nice >= _IDLE_NICE else ("-c", "2", "-n", "7")
    guard = (*guard, ioniced, "-t", *weight) if ioniced else guard
    return (*guard, niced, "-n", str(nice)) if niced else guard
