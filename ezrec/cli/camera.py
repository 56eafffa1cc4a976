"""`ezrec camera …`: list the cameras, test the chosen one, take a picture."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ezrec.cli.drawing import columns
from ezrec.cli.formatting import printable, terminal
from ezrec.cli.main import OK, USAGE, Context

if TYPE_CHECKING:
    from collections.abc import Callable

as_json = click.option("--json", "as_json", is_flag=True, help="For machines.")


@click.group()
def camera() -> None:
    """List the connected cameras, test the chosen one, take a picture."""


@camera.command("list")
@as_json
@click.pass_obj
def list_(context: Context, as_json: bool) -> None:
    """List the connected cameras, and mark the one that EZREC_CAMERA chooses."""
    from ezrec.diagnostics.camera_test import connected

    found = connected(context.settings)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=1))
        return
    rows = [
        (f"{'*' if one.is_chosen else ' '} {one.kind}", one.setting, printable(one.name)) for one in found
    ]
    click.echo("\n".join(columns(rows)))
    click.echo("\n* is the one that EZREC_CAMERA chooses")


@camera.command()
@click.option(
    "--seconds", type=click.FloatRange(2, 600), default=10, show_default=True, help="How long it records."
)
@as_json
@click.pass_context
def test(ctx: click.Context, seconds: float, as_json: bool) -> None:
    """Record a few seconds with the chosen camera, and judge the result.

    \b
    Nothing is kept. Exit codes: 0 fit to record (warnings may be), 1 not fit,
    3 a booking needs the camera, 4 the recorder has it, 75 no camera found.
    """
    from ezrec.cli.doctor import draw
    from ezrec.diagnostics.camera_test import judge, perform, verdict
    from ezrec.domain.findings import Verdict

    result = perform(ctx.obj.settings, seconds, _bar() if not as_json else lambda done: None)
    found = judge(result)
    if as_json:
        shown = {
            "verdict": verdict(found),
            "found": [one.as_json() for one in found],
            "trial": asdict(result),
        }
        click.echo(json.dumps(shown, indent=1))
    else:
        for finding in found:
            click.echo(draw(finding, colour=terminal()[1]))
        click.echo("\n" + verdict(found))
    ctx.exit(USAGE if any(one.verdict is Verdict.FAULT for one in found) else OK)


@camera.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
def snapshot(context: Context, file: Path) -> None:
    """Write what the camera sees to FILE (.jpg or .png).

    Works while EZREC runs: the recorder makes the picture, or it is the latest key
    frame of what is being recorded.
    """
    from ezrec.diagnostics.camera_test import check_target
    from ezrec.diagnostics.camera_test import snapshot as take

    check_target(file)
    click.echo(printable(f"{file}: {take(context.settings, file)}"))


def _bar() -> Callable[[float], None]:
    """A progress display; none where stderr is no terminal."""
    if not sys.stderr.isatty():
        return lambda done: None
    return lambda done: click.echo(f"\rrecording … {100 * done:3.0f} % ", nl=False, err=True)
