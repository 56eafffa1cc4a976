"""`ezrec run`, `ezrec run-stage`, `ezrec pulse`: what systemd's units call."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ezrec.runtime.scheduler import Services
    from ezrec.runtime.worker import Worker
    from ezrec.settings import Settings

# A file that will be complete in a moment is waited for: another user's file is complete when it has not
# changed for a while, which a process that ends at once never sees; a path unit would start it for ever.
_SOON_S, _PATIENCE_S = 5.0, 30.0
# A path unit starts the service again as long as there is work: with wrong settings for ever, and at once. So
# the process sleeps here before it ends, and not in ExecStopPost=, which nothing can cut short.
_CONFIG_PAUSE_S = 30.0
_END_LIMIT_S = 30.0


def _names(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str]:
    from ezrec.app.services import NAMES

    wanted = [name.strip() for name in value.split(",")] if value else list(NAMES)
    for name in wanted:
        if name not in NAMES:
            raise click.BadParameter(f"{name!r} is none of {', '.join(NAMES)}")
    return wanted


@click.command()
@click.option(
    "--only",
    callback=_names,
    metavar="PART,…",
    help="Some of: record, process, upload, retry, sync, tell, status, logs, tidy, ahead.",
)
@click.option("--kept", is_flag=True, hidden=True, help="End when standard input does.")
@click.pass_obj
def run(context: Any, only: list[str], kept: bool) -> None:
    """Record, process and upload until stopped.

    Three processes: the recorder, everything else, and a supervisor that restarts either.
    """
    from ezrec.runtime import supervisor
    from ezrec.system import child_process

    if kept:
        child_process.end_with_parent()
    settings: Settings = context.settings
    if not kept:  # else the supervisor has looked
        _refuse_unfit_host(settings)
        if supervisor.RECORDER in only and only != [supervisor.RECORDER]:
            supervisor.become(only, settings.logs)
    child_process.weigh(child_process.LAST if supervisor.RECORDER in only else child_process.FIRST)
    if kept and supervisor.RECORDER not in only:
        child_process.bound_memory()
    _serve(settings, only, kept)


def _serve(settings: Settings, only: list[str], kept: bool) -> None:
    """Run what is named in this process, until stopped."""
    from ezrec.app.services import build
    from ezrec.domain.errors import Retry
    from ezrec.runtime import supervisor
    from ezrec.system import log_setup

    is_recorder = only == ["record"]
    _begin_logs(settings, only if is_recorder else [*only, "run"])
    log = log_setup.logger("record" if is_recorder else "run")
    services = build(settings, only)
    asked = _stop_on_signals(services)
    # Beside the start, not before it: a recorder that was started again has a match to go on with.
    saying = threading.Thread(target=_log_start, args=(log, settings, only, kept), name="versions")
    saying.start()
    if kept:
        os.environ.pop("NOTIFY_SOCKET", None)  # systemd wants to hear from the supervisor alone
        _end_with_supervisor(services)
    try:
        services.serve(kept=kept)
    except Retry:  # it is logged; without descriptors nothing could be loaded to say it again
        raise click.exceptions.Exit(supervisor.AGAIN) from None
    finally:
        log.info("ezrec ends%s", f": {asked[0]}" if asked else "")


def _refuse_unfit_host(settings: Settings) -> None:
    """End with 78 and a line a fault where no start can go well: systemd then does not start us again.

    An ExecStartPre= could not do this: RestartPreventExitStatus= looks at the main process only.
    """
    from ezrec.diagnostics.doctor import look
    from ezrec.domain.errors import ConfigError

    wrong = [found for found in look(settings, quick=True) if found.verdict == "fault"]
    if wrong:
        raise ConfigError([f"{found.check}: {found.evidence} – {found.remedy}" for found in wrong])


def _begin_logs(settings: Settings, parts: list[str]) -> None:
    from ezrec.system import log_setup

    log_setup.begin(settings.logs, parts, secrets=settings.secrets())


def _stop_on_signals(services: Services) -> list[str]:
    """Returns a list, to which the name of each signal that comes is added."""
    came: list[str] = []

    def stop(number: int, _: object) -> None:
        came.append(signal.Signals(number).name)
        services.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    # Python runs handlers in the main thread, which sleeps on when the kernel gave the signal to another
    # (as it does for a traced process): the number itself, written here by whoever got it, wakes it.
    signal.set_wakeup_fd(services.end_fd, warn_on_full_buffer=False)
    return came


def _log_start(log: Any, settings: Settings, parts: list[str], kept: bool) -> None:
    """Log the versions. A missing FFmpeg stops nothing: jobs wait and say so until it is installed."""
    from ezrec import __version__
    from ezrec.media.versions import versions

    _warn_of_held_stages(log, settings, parts)
    if parts != ["record"] or not kept:  # of the two processes that begin together, one says it
        for note in settings.notes():
            log.warning("%s", note)
    shown = ", ".join(f"{name} {version}" for name, version in versions().items())
    recording = " to record" if parts == ["record"] else ""
    log.info("ezrec %s begins%s: %s", __version__, recording, shown)


def _warn_of_held_stages(log: Any, settings: Settings, parts: list[str]) -> None:
    from ezrec.domain.stages import STAGES
    from ezrec.spool.spool import Spool

    for stage in (name for name in STAGES if name in parts):
        holder = Spool(settings.spool).lock(stage).holder()
        if holder and not f"{holder} ".startswith(f"pid {os.getpid()} "):
            log.warning("the %s stage is held by %s: it begins here when that process ends", stage, holder)


def _end_with_supervisor(services: Services) -> None:
    """End when standard input does: then the supervisor is gone.

    The kernel has killed us by then, as a rule. This is for a process that started too late for that, and for
    a kernel that does not. It takes no longer than the supervisor would have waited.
    """

    from ezrec.runtime import supervisor

    def listen() -> None:
        with contextlib.suppress(OSError):  # a killed supervisor may have left messages of ours unread
            while os.read(0, 4096):
                pass
        services.stop()
        time.sleep(_END_LIMIT_S)
        os._exit(supervisor.AGAIN)

    threading.Thread(target=listen, name="supervisor's pipe", daemon=True).start()


@click.command("run-stage")
@click.argument("stage", type=click.Choice(["record", "process", "upload", "retry"]))
@click.option("--once", is_flag=True, help="Do what is due, then end: the default.")
@click.option(
    "--wait",
    "wait_s",
    type=float,
    default=0.0,
    metavar="SECONDS",
    help="How long to wait while another process works on the stage.",
)
@click.option("--patient", is_flag=True, hidden=True, help="Wait before ending because of wrong settings.")
@click.pass_obj
def run_stage(context: Any, stage: str, once: bool, wait_s: float, patient: bool) -> None:
    """Do the work that is due in one stage, then end. What is due in a few seconds is waited for.

    Exit code 0 even where jobs failed (see ezrec spool ls); 4 while another process works on the stage.
    """
    from ezrec.cli import main
    from ezrec.domain.errors import ConfigError

    try:
        _work(context.settings, stage, wait_s)
    except ConfigError as fault:
        if not patient:
            raise
        code = main.report_config_error(fault)
        time.sleep(_CONFIG_PAUSE_S)
        raise click.exceptions.Exit(code) from None


def _work(settings: Settings, stage: str, wait_s: float) -> None:
    from ezrec.app.recording import recorder_liveness
    from ezrec.app.services import worker

    _begin_logs(settings, [stage])
    liveness = recorder_liveness(settings) if stage == "record" else None
    made = worker(stage, settings, wait_s, liveness)
    stopping = threading.Event()

    def stop(*_: object) -> None:
        stopping.set()
        threading.Thread(target=made.stop).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if liveness:
        liveness.start()
    try:
        _run_to_the_end(made, stopping)
    finally:
        if liveness:
            liveness.stop()
    made.hooks.finish(settings.hook_limit_s)


def _run_to_the_end(worker: Worker, stopping: threading.Event) -> None:
    gives_up = time.monotonic() + _PATIENCE_S
    while (rest_s := worker.run()) is not None and not stopping.is_set():
        if rest_s > min(_SOON_S, gives_up - time.monotonic()):
            break
        worker.wake_up.wait(rest_s)


@click.command()
@click.argument("name", type=click.Choice(["sync", "tell", "status", "logs", "tidy", "ahead"]))
@click.pass_obj
def pulse(context: Any, name: str) -> None:
    """Run a periodic task once: fetch bookings, report statuses, send a heartbeat, collect logs …"""
    from ezrec.app.periodic import periodic_task

    settings: Settings = context.settings
    _begin_logs(settings, [name])
    work = periodic_task(name, settings).work
    work()
    work.finish(settings.hook_limit_s)  # this process ends, and with it what it has begun
