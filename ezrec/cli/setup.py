"""`ezrec setup …`: what the installer asks of the program that it has just built. Not for people."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from ezrec.cli.formatting import printable, terminal, window

if TYPE_CHECKING:
    from ezrec.cli.main import Context
    from ezrec.diagnostics.first_look import FirstLook

_PICTURE_COLUMNS, _PICTURE_ROWS = 64, 36  # as wide as it is high on a terminal, 16:9


@click.group(hidden=True)
def setup() -> None:
    """What the installer asks of the program: the names of the settings, checks, the last screen."""


@setup.command()
def names() -> None:
    """Print every name of a setting that the environment or a file of answers may set."""
    from ezrec.settings.definitions import RETIRED, TABLE

    for item in TABLE:
        click.echo("\n".join((item.metadata["name"], *item.metadata["older"])))
    click.echo("\n".join(RETIRED))


@setup.command()
@click.argument("name", required=False)
def check(name: str | None) -> None:
    """Check NAME among the settings in the environment by doing; without NAME all of them by form. JSON."""
    import json

    from ezrec.diagnostics import answers

    if name:
        click.echo(json.dumps(answers.check(name, os.environ).as_json()))
    else:
        click.echo(json.dumps(answers.check_all(os.environ)))


@setup.command()
@click.option("--person", default="", help="Who installed it; with --member: is in the group ezrec.")
@click.option("--member", is_flag=True)
@click.pass_obj
def done(obj: Context, person: str, member: bool) -> None:
    """Print the last screen of an installation."""
    from ezrec.diagnostics.first_look import first_look

    settings = obj.settings
    os.umask(0o007)
    found = first_look(settings)
    click.echo()
    for line in _picture(found):
        click.echo(line)
    for line in _facts(obj, found):
        click.echo(printable(line))
    sudo = "" if member else "sudo "
    click.echo("\nThree commands:")
    for command, what in (
        (f"{sudo}ezrec status", "is all well, and what comes next"),
        (f"{sudo}ezrec camera snapshot court.jpg", "what the camera sees now"),
        (f"{sudo}ezrec doctor", "checks everything, and names the cure of each fault"),
    ):
        click.echo(f"  {command:<40} {what}")
    if member:
        click.echo(f"{printable(person)} may type them without sudo, after logging in again.")


def _picture(found: FirstLook) -> list[str]:
    from ezrec.cli.picture import can_draw, drawn

    if found.picture is None or not can_draw(os.environ, is_terminal=sys.stdout.isatty()):
        return []
    width, _ = terminal()
    if width is not None and width < _PICTURE_COLUMNS:
        return []
    all_colours = os.environ.get("COLORTERM", "") in ("truecolor", "24bit")
    return drawn(found.picture, _PICTURE_COLUMNS, _PICTURE_ROWS, all_colours=all_colours)


def _facts(obj: Context, found: FirstLook) -> list[str]:
    lines = [f"ALARM: {one}" for one in found.wrong] or ["EZREC runs."]
    lines.append(f"Camera:       {found.camera}")
    if found.picture is not None:
        lines.append(f"Its picture:  {found.picture}")
    coming = found.next_booking
    if coming is not None:
        when = window(coming.start, coming.end, obj.settings.zone, obj.now)
        lines.append(f"Next booking: {when} ({coming.booking})")
    elif obj.settings.backend == "local":
        lines.append("Next booking: none; to enter one: ezrec local book --start 18:00 --for 90m")
    else:
        lines.append("Next booking: none" if found.bookings_known else "Next booking: not known yet")
    return lines
