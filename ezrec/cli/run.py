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

# A stage waits for what is due within seconds: a file that another user copies counts as complete only when
# it has not changed for a while. A process that ended before would be restarted by its path unit, for ever.
_SOON_S, _PATIENCE_S = 5.0, 30.0
# A path unit restarts a service as long as there is work: with wrong settings that would be a storm. So the
# process pauses itself: a pause in the unit's ExecStopPost= could not be cut short.
_CONFIG_PAUSE_S = 30.0
_END_LIMIT_S = 30.0


def _parts(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str]:
    from ezrec.app.services import LANES

    wanted = [name.strip() for name in value.split(",")] if value else list(LANES)
    for name in wanted:
        if name not in LANES:
            raise click.BadParameter(f"{name!r} is none of {', '.join(LANES)}")
    return wanted


@click.command()
@click.option(
    "--only",
    callback=_parts,
    metavar="PART,…",
    help="Some of: record, process, upload, retry, sync, tell, status, logs, tidy, ahead.",
)
@click.option("--kept", is_flag=True, hidden=True, help="End when standard input does.")
@click.pass_obj
def run(context: Any, only: list[str], kept: bool) -> None:
    """Record, process and upload until stopped.

    Three processes: the recorder, everything else, and a keeper that restarts either.
    """
    from ezrec.runtime import keeper
    from ezrec.system import child_process

    if kept:
        child_process.end_with_parent()
    settings: Settings = context.settings
    if not kept:  # else the keeper has checked it
        _refuse_unfit_host(settings)
        if keeper.RECORDER in only and only != [keeper.RECORDER]:
            keeper.become(only, settings.logs, settings.log_format)
    child_process.weigh(child_process.LAST if keeper.RECORDER in only else child_process.FIRST)
    if kept and keeper.RECORDER not in only:
        child_process.bound_memory()
    _serve(settings, only, kept)


def _serve(settings: Settings, only: list[str], kept: bool) -> None:
    """Run these parts in this process, until stopped."""
    from ezrec.app import services as app
    from ezrec.system import log_setup

    is_recorder = only == ["record"]
    _begin_logs(settings, only if is_recorder else [*only, "run"])
    log = log_setup.logger("record" if is_recorder else "run")
    services = app.services(settings, only)
    asked = _stop_on_signals(services)
    # In a thread of its own: a restarted recorder may have a match to record.
    logging_start = threading.Thread(target=_log_start, args=(log, settings, only), name="versions")
    logging_start.start()
    if kept:
        os.environ.pop("NOTIFY_SOCKET", None)  # systemd listens to the keeper only, and logs all others
        _end_with_keeper(services)
    try:
        app.attend(services, kept=kept)
    finally:
        log.info("ezrec ends%s", f": {asked[0]}" if asked else "")


def _refuse_unfit_host(settings: Settings) -> None:
    """End with 78 and one line for each fault where no start can succeed: systemd then does not restart us.

    An ExecStartPre= could not do this: RestartPreventExitStatus= looks at the main process only.
    """
    from ezrec.diagnostics.doctor import look
    from ezrec.domain.errors import ConfigError

    wrong = [found for found in look(settings, quick=True) if found.verdict == "fault"]
    if wrong:
        raise ConfigError([f"{found.check}: {found.evidence} – {found.remedy}" for found in wrong])


def _begin_logs(settings: Settings, parts: list[str]) -> None:
    from ezrec.system import log_setup

    log_setup.begin(settings.logs, parts, form=settings.log_format, secrets=settings.secrets())


def _stop_on_signals(services: Services) -> list[str]:
    """Stop the services on SIGTERM and SIGINT; returns a list that the signals' names are added to."""
    came: list[str] = []

    def stop(number: int, _: object) -> None:
        came.append(signal.Signals(number).name)
        services.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    # Python runs handlers in the main thread, which sleeps on when the kernel gave the signal to another one
    # (as it does for a traced process). The signal's number, written to this descriptor, wakes it.
    signal.set_wakeup_fd(services.end_bell, warn_on_full_buffer=False)
    return came


def _log_start(log: Any, settings: Settings, parts: list[str]) -> None:
    """Log versions and settings of the start. Without FFmpeg jobs wait: it may be installed meanwhile."""
    from ezrec import __version__
    from ezrec.app import services as app

    _log_busy_stages(log, settings, parts)
    found = app.media_versions()
    shown = ", ".join(f"{name} {version or 'missing'}" for name, version in found.items())
    recording = " to record" if parts == ["record"] else ""
    log.info("ezrec %s begins%s: %s", __version__, recording, shown)


def _log_busy_stages(log: Any, settings: Settings, parts: list[str]) -> None:
    from ezrec.domain.stages import STAGES
    from ezrec.spool.spool import Spool

    for stage in (name for name in STAGES if name in parts):
        holder = Spool(settings.spool).lock(stage).holder()
        if holder and not holder.startswith(f"pid {os.getpid()} "):
            log.warning("the %s stage is held by %s: it begins here when that process ends", stage, holder)


def _end_with_keeper(services: Services) -> None:
    """End when standard input ends: then the keeper that started us is gone.

    As a rule the kernel has killed us by then. This covers a process that started too late for that, and
    takes no longer than the keeper itself would have waited.
    """

    from ezrec.runtime import keeper

    def listen() -> None:
        with contextlib.suppress(OSError):  # a killed keeper may have left our messages unread
            while os.read(0, 4096):
                pass
        services.stop()
        time.sleep(_END_LIMIT_S)
        os._exit(keeper.AGAIN)

    threading.Thread(target=listen, name="keeper's pipe", daemon=True).start()


@click.command("run-stage")
@click.argument("stage", type=click.Choice(["record", "process", "upload", "retry"]))
@click.option("--once", is_flag=True, help="Do what is due, then end: the default.")
@click.option(
    "--wait",
    "wait_s",
    type=float,
    default=0.0,
    metavar="SECONDS",
    help="How long to wait for a stage that is busy.",
)
@click.option("--patient", is_flag=True, hidden=True, help="Rest before an end because of wrong settings.")
@click.pass_obj
def run_stage(context: Any, stage: str, once: bool, wait_s: float, patient: bool) -> None:
    """Do the work that is due in one stage, then end. Waits for what is due within a few seconds.

    Exit codes: 0 also when jobs failed (they are in the spool), 4 when another process works on the stage.
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
    from ezrec.app import services as app

    _begin_logs(settings, [stage])
    recorder = app.vitals(settings) if stage == "record" else None
    drain = app.drain(stage, settings, wait_s, recorder)
    stopping = threading.Event()

    def stop(*_: object) -> None:
        stopping.set()
        threading.Thread(target=drain.stop).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if recorder:
        recorder.start()
    try:
        _work_until_nothing_is_due(drain, stopping)
    finally:
        if recorder:
            recorder.stop()
    drain.hooks.finish(settings.hook_limit_s)


def _work_until_nothing_is_due(drain: Worker, stopping: threading.Event) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while (rest_s := drain.run()) is not None and not stopping.is_set():
        if rest_s > min(_SOON_S, deadline - time.monotonic()):
            break
        drain.bell.wait(rest_s)


@click.command()
@click.argument("name", type=click.Choice(["sync", "tell", "status", "logs", "tidy", "ahead"]))
@click.pass_obj
def pulse(context: Any, name: str) -> None:
    """Run a periodic task once: fetch bookings, report steps, send a heartbeat, collect logs, and so on."""
    from ezrec.app import services as app

    settings: Settings = context.settings
    _begin_logs(settings, [name])
    app.beat_once(name, settings)
