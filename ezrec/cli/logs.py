"""`ezrec logs`: shows what the services wrote, rotated files included, and follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ezrec.cli.main import Context

_LINES = 50


def _services(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    from ezrec.system.log_setup import SERVICES

    known = sorted({*SERVICES.values()})
    for name in value:
        if name not in known:
            raise click.BadParameter(f"{name!r} is none of {', '.join(known)}")
    return value or tuple(known)


@click.command()
@click.argument("services", nargs=-1, callback=_services, metavar="[SERVICE]…")
@click.option("-f", "--follow", is_flag=True, help="Follow what is written, until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(0), default=_LINES, metavar="N", help=f"The last N lines; {_LINES}."
)
@click.pass_obj
def logs(obj: Context, services: tuple[str, ...], follow: bool, lines: int) -> None:
    """Show the newest lines of the services' logs, in the order of their times.

    \b
    SERVICE is one or more of: booking_sync recorder video_worker
    system_status log_collector ezrec. Default: all.
    """
    from ezrec.cli.formatting import printable
    from ezrec.cli.log_reader import follow_on, tail
    from ezrec.domain.redaction import redacted

    found = tail(obj.settings.logs, services, lines)
    several = len(services) > 1

    def show(service: str, line: str) -> None:
        line = printable(redacted(line))
        click.echo(f"{service:<14} {line}" if several else line)

    for service, line in found.lines:
        show(service, line)
    if not found.lines and not follow:
        click.echo(f"Nothing is written in {obj.settings.logs}.", err=True)
    if follow:
        try:
            follow_on(obj.settings.logs, found.ends, show)
        except KeyboardInterrupt:
            return
