"""`ezrec import-legacy`: makes jobs of what the older EZREC left."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ezrec.cli.formatting import printable
from ezrec.cli.main import OK, TEMPORARY
from ezrec.domain.errors import Refused, Retry

if TYPE_CHECKING:
    from ezrec.cli.main import Context
    from ezrec.spool.legacy import Legacy, LegacyFile


@click.command("import-legacy")
@click.option(
    "--from", "home", type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The older EZREC's directory; default: EZREC_HOME.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print what would be done, and change nothing.")
@click.option("--remove-published", is_flag=True, help="Remove originals whose video is published.")
@click.pass_context
def import_legacy(ctx: click.Context, home: Path | None, dry_run: bool, remove_published: bool) -> None:
    """Make jobs of the recordings and finished videos that the older EZREC left.

    \b
    Every file is copied, and its original stays until --remove-published. Once a file is
    a job, no later run takes it again. Settings are taken over by `ezrec install`.
    """
    from ezrec.settings.sources import env_file
    from ezrec.spool.legacy import Legacy

    obj: Context = ctx.obj
    home = home or obj.settings.home
    known = {**env_file(home / ".env", []), **os.environ}
    legacy = Legacy(home, known, obj.spool, obj.settings.state, obj.settings.zone)
    with obj.spool.lock("legacy").held(0):
        code = _bring_in(obj, legacy, dry_run)
        _tell_published(obj, legacy, remove_published and not dry_run)
    ctx.exit(code)


def _bring_in(obj: Context, legacy: Legacy, dry_run: bool) -> int:
    from ezrec.app.processing import transcoder

    def measured(path: Path) -> float:
        return transcoder(obj.settings).probe(path).duration_s

    found, left = legacy.look(obj.now)
    for path, why in left:
        click.echo(f"left      {printable(str(path))}: {why}")
    for one in found:
        if legacy.is_known(one):
            continue
        if dry_run:
            click.echo(f"would be copied  {_said(one)}")
            continue
        try:
            entry = legacy.bring_in(one, obj.now, measured)
        except Refused as why:
            click.echo(f"left      {printable(str(one.path))}: {why}")
        except Retry as why:
            click.echo(
                f"no room   {_said(one)}: {why}\nRun this again when some of the videos are published."
            )
            return TEMPORARY
        else:
            click.echo(f"copied    {_said(one)} → {entry.state}/{entry.id}")
    return OK


def _tell_published(obj: Context, legacy: Legacy, remove: bool) -> None:
    published = legacy.published(obj.now)
    for one in published if remove else []:
        legacy.remove(one)
        click.echo(f"removed   {_said(one)}: its video is published")
    if published and not remove:
        size = sum(one.size for one in published) / 1e9
        click.echo(
            f"{len(published)} originals ({size:.1f} GB) are published: --remove-published removes them."
        )


def _said(one: LegacyFile) -> str:
    return f"{printable(str(one.path))} ({one.size / 1e6:.0f} MB)"
