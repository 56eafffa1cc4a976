"""`ezrec status`: reads files only, so that it answers while everything else hangs or is dead."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ezrec.cli.main import Context
    from ezrec.domain.alerts import Alert
    from ezrec.domain.snapshot import Snapshot

_REDRAW_S = 1.0  # times pass although no file changes, and a person watches
_BURST_S = 0.5  # between two drawings: many changes at once are drawn once


@click.command()
@click.option("--json", "as_json", is_flag=True, help="All facts and alerts, for machines.")
@click.option(
    "--watch", is_flag=True, help="Draw again every second and whenever something changes, until Ctrl-C."
)
@click.pass_context
def status(ctx: click.Context, as_json: bool, watch: bool) -> None:
    """Show whether it records what it should, whether the bookings fit on the disk, and what is stuck.

    Each problem has the command that helps.

    Ends with 0 when all is well, 5 on a warning, 6 on an alarm.
    """
    obj: Context = ctx.obj
    if not watch:
        ctx.exit(_show(obj, as_json))
    _watch(obj, lambda: _show(obj, as_json))


def _show(obj: Context, as_json: bool) -> int:
    from ezrec.monitoring.collect import look

    snapshot, alerts = look(obj.settings, obj.clock)
    if as_json:
        _echo_json(snapshot, alerts)
    else:
        from ezrec.cli.formatting import terminal
        from ezrec.cli.status_view import draw

        width, colour = terminal()
        title = f"EZREC {obj.settings.camera_id}"
        click.echo("\n".join(draw(snapshot, alerts, title, obj.settings.zone, width, colour)), color=colour)
    return _code(alerts)


def _code(alerts: list[Alert]) -> int:
    """An alert that may still pass by itself is a warning, however grave it would be."""
    from ezrec.cli.main import ALARMED, OK, WARNED
    from ezrec.domain.alerts import Severity

    if any(alert.counts and alert.severity is Severity.CRITICAL for alert in alerts):
        return ALARMED
    return WARNED if alerts else OK


def _echo_json(snapshot: Snapshot, alerts: list[Alert]) -> None:
    import msgspec

    shown = {
        "code": _code(alerts),
        "alerts": alerts,
        "facts": snapshot,
        "recording_hours": snapshot.recording_hours,
        "last_24_h": snapshot.day.words,
        "booked_bytes": snapshot.booked_bytes,
        "upload_left_s": snapshot.uploads.left_s,
    }
    click.echo(msgspec.json.format(msgspec.json.encode(shown), indent=1).decode())


def _watch(obj: Context, show: Callable[[], int]) -> None:
    """Draw whenever a file changes, and every `_REDRAW_S` so that the ages are right."""
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
        ended = True  # an exception raised inside a finaliser would be lost
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, end)
    try:
        while not ended:
            if sys.stdout.isatty():
                click.echo("\033[H\033[J", nl=False)
            show()
            click.echo("\nPress Ctrl-C to end.")
            time.sleep(_BURST_S)
            wake_up.wait(_REDRAW_S)
            watcher.check()
    except KeyboardInterrupt:
        return
    finally:
        watcher.disarm()
