"""Whether what should run here does: judged by what a process left, and by what the kernel says of it.

A file that says "all is well" is no proof: its writer may have died since, or have been stopped. Only what
is true now counts, so whoever asks (`ezrec status`, the doctor, the heartbeat) judges anew. Values in, values
out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ezrec.domain.durations import span
from ezrec.domain.health import CameraState, Health

# A recorder that has something to do writes its health far more often than this; one that rests need not.
SILENT_S = 30.0
SILENT_AT_REST_S = 900.0


class Life(StrEnum):
    """What can be shown of a process that should run."""

    LIVES = "lives"
    NEVER = "never"  # it has left no word here
    ENDED = "ended"  # killed, failed, or asked to end
    STOPPED = "stopped"  # frozen by a signal (SIGSTOP), or by a debugger
    SILENT = "silent"  # its process is there, and it has not said for too long that it works

    @property
    def is_alive(self) -> bool | None:
        """None: it never left a word, so nobody knows."""
        return None if self is Life.NEVER else self is Life.LIVES

    @property
    def is_in_the_way(self) -> bool:
        """Whether a process is there that has to be ended before another can work."""
        return self in (Life.STOPPED, Life.SILENT)


class ProcessState(StrEnum):
    """What the kernel says of a process id."""

    RUNS = "runs"
    STOPPED = "stopped"
    GONE = "gone"  # or a zombie: it has ended, and its parent has not looked


def age_of(health: Health, now: datetime, monotonic: float, boot_id: str) -> float:
    """Seconds since a health was written. By the clock that no step moves, where both are of one run of the
    machine: by the other, a box that has just been given the time is years older."""
    if health.monotonic is not None and health.boot_id == boot_id:
        return monotonic - health.monotonic
    return (now - health.at).total_seconds()


def of_recorder(
    health: Health | None, process: ProcessState, age_s: float, boot_id: str, *, is_needed: bool = False
) -> Life:
    """`process` is that of the writer of `health`, `age_s` its age. `is_needed`: a booking is in play, so
    that a recorder that works has written lately."""
    if health is None:
        return Life.NEVER
    if process is ProcessState.GONE or (health.boot_id and health.boot_id != boot_id):
        return Life.ENDED
    if process is ProcessState.STOPPED:
        return Life.STOPPED
    rests = health.camera_state is CameraState.OFF and not health.recording and not is_needed
    limit_s = SILENT_AT_REST_S if rests else SILENT_S  # a clock that was set back tells nothing
    return Life.LIVES if age_s <= limit_s else Life.SILENT


def of_services(age_s: float | None, process: ProcessState | None, limit_s: float) -> Life:
    """Of the periodic tasks, and of the worker that runs them. `age_s`: since they last wrote their status,
    None where they never did; `process`: the writer's, None where a timer starts one for each run."""
    if age_s is None:
        return Life.NEVER
    if process is ProcessState.GONE:
        return Life.ENDED
    if process is ProcessState.STOPPED:
        return Life.STOPPED
    return Life.LIVES if abs(age_s) <= limit_s else Life.SILENT


@dataclass(frozen=True, slots=True)
class Starter:
    """How EZREC is started here. `unit`: what systemd knows it by; empty where systemd does not start it.

    `in_the_way`: a process that hangs and has to be ended before another can work; 0: there is none.
    """

    unit: str = ""
    in_the_way: int = 0

    @property
    def command(self) -> str:
        """What a person types so that it runs again."""
        if self.unit:
            return f"sudo systemctl {'restart' if self.in_the_way else 'start'} {self.unit}"
        return f"kill -KILL {self.in_the_way}; ezrec run" if self.in_the_way else "ezrec run"


def recorder_words(life: Life, health: Health | None, now: datetime) -> str:
    """What is wrong with the recorder, for a person; empty while it lives."""
    pid = health.pid if health else 0
    silent = f", and said its last word {span((now - health.at).total_seconds())} ago" if health else ""
    return {
        Life.LIVES: "",
        Life.NEVER: "no recorder runs: none has left a word here",
        Life.ENDED: f"no recorder runs: it has ended{silent}",
        Life.STOPPED: f"the recorder does nothing: its process {pid} is stopped{silent}",
        Life.SILENT: f"the recorder hangs: its process {pid} is there{silent}",
    }[life]


def services_words(life: Life, pid: int) -> str:
    """What is wrong with the worker and the periodic tasks; empty while they live."""
    so = "no booking is fetched, no video is made or uploaded"
    return {
        Life.LIVES: "",
        Life.NEVER: f"EZREC's services have never run here: {so}",
        Life.ENDED: f"EZREC's services are gone: {so}",
        Life.STOPPED: f"EZREC's services do nothing, their process {pid} is stopped: {so}",
        Life.SILENT: f"EZREC's services are silent: {so}",
    }[life]
