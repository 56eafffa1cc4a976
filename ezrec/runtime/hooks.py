"""Hooks: the owner's executables, started when something happens. They observe; they never stop a job.

The owner's webhook is told of the same alerts and finished jobs, by a thread of its own (`webhook.py`).

`hooks/<directory>/` mirrors the spool (`hooks/done/` for what has left it); `hooks/alert/` is for alerts.
All run in one thread, one after another, so that a slow hook delays other hooks and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ezrec.domain import job as records
from ezrec.domain.job import Job, Kind
from ezrec.domain.names import shown
from ezrec.domain.webhook import alert_event, job_event
from ezrec.runtime.webhook import WebhookSender
from ezrec.system.child_process import as_input, with_parent_death_signal

DONE = "done"  # … when a job is over
ALERT = "alert"  # the directory of those that run at alerts
_MOST_WAITING = 1000
_MOST_OUTPUT = 4000  # bytes of a hook's output that reach the log
_AT_ONCE = 1 << 16
_END_LIMIT_S = 10.0  # for a killed process to be gone
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")  # keys of the cloud stay here


@dataclass(frozen=True, slots=True)
class Event:
    """What the hooks of `directory` get: `data` on standard input, and `environ`. `about` is for the log."""

    directory: str
    about: str
    environ: Mapping[str, str]
    data: bytes


class Hooks:
    """Runs what lies in `root`. `limit_s` is how long one hook may take.

    `webhook` is told of alerts, and of jobs that are over; `camera` is what it is told to call this one.
    """

    def __init__(
        self,
        root: Path,
        limit_s: float,
        log: logging.Logger,
        webhook: WebhookSender | None = None,
        camera: str = "",
    ) -> None:
        self._webhook = webhook
        self._camera = camera
        self._root = root
        self._limit_s = limit_s
        self._log = log
        self._events: queue.Queue[Event | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def announce(self, directory: str, stage: str, path: Path, job: Job) -> None:
        """Run the hooks of a directory because an entry has arrived there. Returns at once.

        A log archive is no news to an owner: no hook runs for it.
        """
        if job.kind is Kind.LOGS:
            return
        if self._webhook and directory == DONE:
            self._send(job_event(json.loads(records.encode(job))))
        if not self.present(directory):
            return
        environ = {
            "EZREC_JOB": job.id,
            "EZREC_ENTRY": str(path),
            "EZREC_STAGE": stage,
            "EZREC_EVENT": directory,
        }
        self._enqueue(Event(directory, f"job {job.id}", environ, records.encode(job)))

    def alert(self, name: str, state: str, data: bytes) -> None:
        """Run `hooks/alert/` because an alert was `raised` or `cleared`. Returns at once."""
        if self._webhook:
            self._send(alert_event(state, json.loads(data)))
        if self.present(ALERT):
            environ = {"EZREC_ALERT": name, "EZREC_STATE": state, "EZREC_EVENT": ALERT}
            self._enqueue(Event(ALERT, f"alert {name} {state}", environ, data))

    def _send(self, event: dict[str, Any]) -> None:
        if self._webhook:
            self._webhook.send({"camera": self._camera, **event})

    def _enqueue(self, event: Event) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="hooks", daemon=True)
                self._thread.start()
        try:
            self._events.put_nowait(event)
        except queue.Full:
            where = event.directory
            self._log.warning(
                "hooks/%s is not run for %s: %d calls wait already", where, event.about, _MOST_WAITING
            )

    def present(self, directory: str) -> list[Path]:
        """The hooks of a directory in the order in which they run."""
        try:
            found = sorted((self._root / directory).iterdir())
        except OSError:
            return []
        return [path for path in found if _is_hook(path)]

    def finish(self, limit_s: float) -> None:
        """Let the hooks that wait run, and the webhook be told, for at most `limit_s` seconds."""
        ends = time.monotonic() + limit_s
        self._finish_hooks(ends)
        if self._webhook:
            self._webhook.finish(ends - time.monotonic())

    def _finish_hooks(self, ends: float) -> None:
        if self._thread is None:
            return
        try:
            self._events.put(None, timeout=max(0.0, ends - time.monotonic()))
        except queue.Full:
            return
        self._thread.join(max(0.0, ends - time.monotonic()))

    def _work(self) -> None:
        while (event := self._events.get()) is not None:
            for path in self.present(event.directory):
                try:
                    self._run(path, event)
                except (OSError, ValueError) as fault:
                    name = f"{event.directory}/{shown(path.name)}"
                    self._log.warning("hook %s for %s could not be run: %s", name, event.about, fault)

    def _run(self, path: Path, event: Event) -> None:
        name = f"hook {event.directory}/{shown(path.name)} for {event.about}"
        with as_input(event.data) as record:
            try:
                child = subprocess.Popen(
                    [*with_parent_death_signal(), str(path)],
                    stdin=record,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    cwd="/",
                    env=_environment(event),
                )
            except OSError as fault:
                self._log.warning("%s cannot be started: %s", name, fault.strerror)
                return
        try:
            output = _read_output(child, self._limit_s)
        finally:
            _end(child)
        if output is None:
            self._log.warning("%s was ended: not done after %g s", name, self._limit_s)
            return
        text = output.decode(errors="replace").strip()
        if child.returncode:
            self._log.warning("%s failed with %d: %s", name, child.returncode, text or "it said nothing")
        elif text:
            self._log.info("%s: %s", name, text)


def _read_output(child: subprocess.Popen[bytes], limit_s: float) -> bytes | None:
    """The end of the hook's output, however much that is; None if it does not end in time.

    What it left in the background may hold its standard output open: that is not waited for.
    """
    assert child.stdout is not None
    out, output = child.stdout.fileno(), b""
    ends = time.monotonic() + limit_s
    ended = os.pidfd_open(child.pid)
    try:
        waited_for = [out, ended]
        while waited_for and (left_s := ends - time.monotonic()) > 0:
            ready, _, _ = select.select(waited_for, [], [], left_s)
            if out in ready:
                piece = os.read(out, _AT_ONCE)
                output = (output + piece)[-_MOST_OUTPUT:]
                if not piece:
                    waited_for.remove(out)
            elif ended in ready:
                child.wait(_END_LIMIT_S)
                return output
    finally:
        os.close(ended)
    return None


def _is_hook(path: Path) -> bool:
    return not path.name.startswith(".") and path.is_file() and os.access(path, os.X_OK)


def _environment(event: Event) -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**passed, **event.environ}


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the hook's whole process group, whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    if child.stdout:
        child.stdout.close()
    with contextlib.suppress(subprocess.TimeoutExpired):  # in a system call that never ends: leave it
        child.wait(_END_LIMIT_S)
