"""`ezrec status`: from files alone, so that it answers while everything else is stuck or dead."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ezrec.cli.main import Context
    from ezrec.domain.alerts import Alert
    from ezrec.domain.machine import Machine
    from ezrec.domain.snapshot import Snapshot
    from ezrec.domain.status_file import StatusFile

# A report older than so many beats (and the time in which none is written at rest) has no writer any more.
_BEATS = 3
_AT_REST_S = 300.0
_REDRAW_S = 15.0  # ages grow although no file changes
_BREATH_S = 0.5  # between two drawings: a burst of changes is one


@click.command()
@click.option("--json", "as_json", is_flag=True, help="All facts and alerts, for machines.")
@click.option("--watch", is_flag=True, help="Draw anew whenever something changes, until Ctrl-C.")
@click.pass_context
def status(ctx: click.Context, as_json: bool, watch: bool) -> None:
    """Say whether it records what it should, whether what is booked fits, what is stuck, and what to type.

    Ends with 0 when all is well, 5 on a warning, 6 on an alarm.
    """
    obj: Context = ctx.obj
    if not watch:
        ctx.exit(_show(obj, as_json))
    _watch(obj, lambda: _show(obj, as_json))


def _show(obj: Context, as_json: bool) -> int:
    facts, alerts = look(obj)
    if as_json:
        _echo(facts, alerts)
    else:
        from ezrec.cli.spool import _terminal
        from ezrec.cli.status_view import draw

        width, colour = _terminal()
        title = f"EZREC {obj.settings.camera_id}"
        click.echo("\n".join(draw(facts, alerts, title, obj.settings.zone, width, colour)), color=colour)
    return _code(alerts)


def look(obj: Context) -> tuple[Snapshot, list[Alert]]:
    """The facts of this moment, and what is wrong by them: the worst first, the hardly noticed too."""
    from ezrec.domain.alerts import Severity, judge
    from ezrec.domain.redaction import cleaned
    from ezrec.monitoring.collect import last_report, survey
    from ezrec.spool.spool import Spool
    from ezrec.spool.usage import read_room

    settings, clock = obj.settings, obj.clock
    last = last_report(settings.state)
    spool = Spool(settings.spool)
    machine = _machine(settings.spool, last, clock.now())
    before = last.facts if last else None
    facts = survey(spool, settings, clock, machine, before, before.versions if before else None)
    if before is not None:
        facts = replace(facts, forecast_short=before.forecast_short)
    measure = read_room(settings.state, facts.at)
    facts = replace(facts, disk_measure=measure.told if measure else "")
    judged = judge(facts, _remembered(obj), settings.upload_stall_h * 3600)
    alerts = [alert for alert in judged.alerts if alert.gone_s is None]
    silent = _silence(facts, last, settings.status_interval_s)
    alerts += [silent] if silent else []
    order = list(Severity)[::-1]
    return cleaned(facts), sorted(
        map(cleaned, alerts), key=lambda alert: (order.index(alert.severity), not alert.is_raised)
    )


def _remembered(obj: Context) -> tuple[Alert, ...]:
    from ezrec.monitoring.status import read_alerts

    return read_alerts(obj.settings.state)


def _machine(spool: Any, last: StatusFile | None, now: Any) -> Machine:
    """What a report that is not too old says, with the disk, the load and the uptime as they are now."""
    from ezrec.domain.machine import Machine
    from ezrec.system.host import nearest

    is_fresh = last is not None and abs((now - last.facts.at).total_seconds()) < 2 * _AT_REST_S
    machine = last.facts.machine if last is not None and is_fresh else Machine()
    one, five, fifteen = (round(load, 2) for load in os.getloadavg())
    disk = os.statvfs(nearest(spool))
    return replace(
        machine,
        uptime_s=time.clock_gettime(time.CLOCK_BOOTTIME),
        load=(one, five, fifteen),
        disk_bytes=disk.f_blocks * disk.f_frsize,
        disk_free_bytes=disk.f_bavail * disk.f_frsize,
    )


def _silence(facts: Snapshot, last: StatusFile | None, interval_s: float) -> Alert | None:
    """Nobody writes reports any more: then nobody raises alerts either."""
    from ezrec.domain.alerts import Alert, Severity

    limit_s = _BEATS * interval_s + _AT_REST_S
    if last is not None and abs((facts.at - last.facts.at).total_seconds()) <= limit_s:
        return None
    message = "EZREC's services are silent" if last else "EZREC's services have never run here"
    remedy = "systemctl status ezrec; without systemd: ezrec run"
    at = last.facts.at if last and last.facts.at <= facts.at else None
    return Alert("services_silent", Severity.WARNING, message, remedy, facts.boot_id, 0.0, at)


def _code(alerts: list[Alert]) -> int:
    """What is hardly noticed yet is a warning, however bad it would be."""
    from ezrec.cli.main import ALARMED, OK, WARNED
    from ezrec.domain.alerts import Severity

    if any(alert.is_raised and alert.severity is Severity.CRITICAL for alert in alerts):
        return ALARMED
    return WARNED if alerts else OK


def _echo(facts: Snapshot, alerts: list[Alert]) -> None:
    import msgspec

    told = {
        "code": _code(alerts),
        "alerts": alerts,
        "facts": facts,
        "recording_hours": facts.recording_hours,
        "booked_bytes": facts.booked_bytes,
        "upload_left_s": facts.uploads.left_s,
    }
    click.echo(msgspec.json.format(msgspec.json.encode(told), indent=1).decode())


def _watch(obj: Context, show: Callable[[], int]) -> None:
    """Draw when a file says so; between two files, let the ages grow now and then."""
    import logging
    import signal
    import sys

    from ezrec.domain.stages import DIRECTORIES
    from ezrec.runtime.file_events import DirectoryWatcher
    from ezrec.system.task import WakeUp

    wake_up = WakeUp()
    obj.settings.state.mkdir(parents=True, exist_ok=True)
    places = [*(obj.spool.directory(state) for state in DIRECTORIES), obj.settings.state]
    watcher = DirectoryWatcher(dict.fromkeys(places, wake_up.set), logging.getLogger("ezrec.status"))
    watcher.arm()
    ended = False

    def end(number: int, frame: Any) -> None:
        nonlocal ended
        ended = True  # where Python may raise nothing, as in a finaliser, the exception gets lost
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, end)
    try:
        while not ended:
            if sys.stdout.isatty():
                click.echo("\033[H\033[J", nl=False)
            show()
            click.echo("\nCtrl-C ends this.")
            time.sleep(_BREATH_S)
            wake_up.wait(_REDRAW_S)
            watcher.check()
    except KeyboardInterrupt:
        return
    finally:
        watcher.disarm()
