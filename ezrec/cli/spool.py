"""`ezrec spool …`: list, show and move the jobs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from ezrec.cli.formatting import printable, terminal
from ezrec.cli.main import Context, report
from ezrec.cli.params import DurationParam, SizeParam
from ezrec.domain.errors import Busy, NoSuchJob, Refused
from ezrec.domain.stages import RETRY, STAGES
from ezrec.spool.lookup import DONE, IN_SPOOL, KEPT, TRASH, resolve

_PLACES = (*IN_SPOOL, DONE, KEPT, TRASH)
_STAGES = [name for name in STAGES if name != RETRY.name]

as_json = click.option("--json", "as_json", is_flag=True, help="For machines.")
ids = click.argument("ids", nargs=-1, required=True, metavar="ID…")


@click.group()
def spool() -> None:
    """List the jobs and move them, whether EZREC runs or not.

    Name a job by its id or the beginning of it. To have the logs packed and uploaded now, create an empty
    file named `logs` in the spool's raw/.
    """


@spool.command()
@click.argument("states", nargs=-1, type=click.Choice(_PLACES), metavar="[STATE]…")
@click.option("--failed", is_flag=True, help="Only what failed: the same as the state `failed`.")
@click.option("--kept", is_flag=True, help="Only the kept copies of what was uploaded: the state `kept`.")
@click.option(
    "--since", type=DurationParam(), help="Only what moved in that time, finished jobs too: 90s, 12h, 2d."
)
@as_json
@click.pass_obj
def ls(obj: Context, states: tuple[str, ...], failed: bool, kept: bool, since: Any, as_json: bool) -> None:
    """List the jobs: where each is, what happens next, why it waits, and what to do.

    \b
    STATE is one or more of: incoming recording raw processing processed
    deferred failed, and: done (history), kept (uploaded and kept for a while), trash.
    Default: all but the last three.
    """
    import gc

    from ezrec.cli.job_list import rows

    gc.disable()  # ten thousand jobs make no garbage; collecting it would take a quarter of the time
    now = obj.now
    places = {*states, *(("failed",) if failed else ()), *((KEPT,) if kept else ())} or {
        *IN_SPOOL,
        *((DONE,) if since else ()),
    }
    found = rows(obj.spool, sorted(places), now, now - since if since else None)
    if as_json:
        return _echo_json([row.as_json(now) for row in found])
    from ezrec.cli.job_table import draw, footer
    from ezrec.spool.lookup import all_ids

    width, colour = terminal()
    lines = draw(found, all_ids(obj.spool), now, obj.settings.zone, width, colour)
    if not found and places >= {*IN_SPOOL}:
        lines = ["The spool is empty: no booking waits, nothing is to be published."]
    lines += footer(found, _facts(obj), width, colour)
    click.echo("\n".join(lines), color=colour)
    return None


@spool.command()
@click.argument("job_id", metavar="ID")
@as_json
@click.pass_obj
def show(obj: Context, job_id: str, as_json: bool) -> None:
    """Show one job: its window, takes, errors and files, and what happens next."""
    from ezrec.cli import job_view
    from ezrec.spool.lookup import find

    found = find(obj.spool, job_id)
    if as_json:
        return _echo_json(job_view.as_json(found, obj.now))
    width, colour = terminal()
    click.echo("\n".join(job_view.draw(found, obj.now, obj.settings.zone, width, colour)), color=colour)
    return None


@spool.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option(
    "--booking", "booking_id", metavar="ID",
    help="The booking it belongs to; by default the one that the file's name says, else a new id.",
)  # fmt: skip
@click.pass_obj
def put(obj: Context, file: Path, booking_id: str | None) -> None:
    """Copy a video into the spool, to be branded and published."""
    from ezrec.spool.imports import import_video

    if str(file) == "-":
        raise click.BadParameter("a video cannot come through a pipe: name a file", param_hint="FILE")
    if not os.path.lexists(file):
        raise click.BadParameter(f"there is no file {printable(str(file))}", param_hint="FILE")
    entry = import_video(obj.spool, file, booking_id, obj.now, obj.settings.zone)
    click.echo(f"{entry.id} → {entry.state}/")


@spool.command()
@ids
@click.option("--from", "stage", type=click.Choice(_STAGES), help="The stage to begin with.")
@click.pass_context
def retry(ctx: click.Context, ids: tuple[str, ...], stage: str | None) -> None:
    """Try failed or deferred jobs again, with all attempts counted from zero."""
    from ezrec.spool import actions

    obj: Context = ctx.obj
    _each(ctx, ids, lambda job_id, now: actions.retry(
        obj.spool, resolve(obj.spool, job_id), now, obj.lead_s, stage))  # fmt: skip


@spool.command()
@ids
@click.option("--why", default="held by a person", help="The reason, shown with the job.")
@click.pass_context
def hold(ctx: click.Context, ids: tuple[str, ...], why: str) -> None:
    """Hold jobs until they are released."""
    from ezrec.spool import actions

    obj: Context = ctx.obj
    _each(ctx, ids, lambda job_id, now: actions.hold(
        obj.spool, resolve(obj.spool, job_id), now, why[:200] or "held by a person"))  # fmt: skip


@spool.command()
@ids
@click.pass_context
def release(ctx: click.Context, ids: tuple[str, ...]) -> None:
    """Let held jobs continue where they were."""
    from ezrec.spool import actions

    obj: Context = ctx.obj
    _each(ctx, ids, lambda job_id, now: actions.release(
        obj.spool, resolve(obj.spool, job_id), now, obj.lead_s))  # fmt: skip


@spool.command()
@ids
@click.option("--with-footage", is_flag=True, help="Also jobs whose footage was never uploaded.")
@click.pass_context
def rm(ctx: click.Context, ids: tuple[str, ...], with_footage: bool) -> None:
    """Move jobs to the trash; `restore` brings them back."""
    from ezrec.spool import actions

    obj: Context = ctx.obj
    _each(ctx, ids, lambda job_id, now: actions.remove(
        obj.spool, resolve(obj.spool, job_id), now, with_footage=with_footage))  # fmt: skip


@spool.command()
@ids
@click.pass_context
def restore(ctx: click.Context, ids: tuple[str, ...]) -> None:
    """Bring jobs back from the trash to where they were."""
    from ezrec.spool import actions

    obj: Context = ctx.obj
    _each(ctx, ids, lambda job_id, now: actions.restore(obj.spool, job_id, now))


@spool.command()
@click.argument("job_id", metavar="ID")
@click.option("--timeout", type=DurationParam(), help="Give up after that time (exit 75): 90s, 10m, 2h.")
@click.pass_obj
def wait(obj: Context, job_id: str, timeout: Any) -> None:
    """Wait until a job is published (exit 0), has failed or is held (exit 3)."""
    from ezrec.spool.wait import wait as wait_for

    job = wait_for(obj.spool, job_id, timeout.total_seconds() if timeout else None)
    click.echo(f"{job.id} {job.outcome}")


@spool.command()
@click.option("--older", type=DurationParam(), help="Only what is older than that: 12h, 30d.")
@click.option("--until-free", "until_free", type=SizeParam(), help="Only until so much is free: 500MB, 20GB.")
@click.option("--yes", is_flag=True, help="Remove it; without this it is only listed.")
@as_json
@click.pass_obj
def purge(obj: Context, older: Any, until_free: int | None, yes: bool, as_json: bool) -> None:
    """Free disk space: list what may be removed, in the order of removal, or remove it.

    \b
    The order, oldest first: the trash, leftovers of finished jobs, kept copies
    of uploaded videos, rotated logs. Never what was not uploaded.
    """
    from ezrec.cli import purge as purging

    plan = purging.plan(obj.spool, obj.settings.logs, obj.clock, older, until_free)
    gone = purging.carry_out(obj.spool, plan) if yes else []
    if as_json:
        return _echo_json(purging.as_json(plan, gone, obj.now))
    click.echo("\n".join(purging.draw(plan, gone if yes else None, obj.now)))
    return None


def _each(ctx: click.Context, ids: tuple[str, ...], do: Callable[[str, datetime], Any]) -> None:
    """Do it to each job; a job that fails does not stop the others."""
    codes = []
    for job_id in ids:
        try:
            entry = do(job_id, ctx.obj.now)
            click.echo(f"{entry.id} → {entry.path.parent.name.lstrip('.')}/")
        except (NoSuchJob, Refused, Busy) as fault:
            codes.append(report(fault))
    if codes:
        ctx.exit(codes[0])


def _facts(obj: Context) -> Iterator[tuple[str, bool]]:
    """What an operator asks next: is there room, is the clock right, which backend? `(text, is it good)`."""
    from ezrec.domain.clock_words import clock_words
    from ezrec.domain.disk_policy import FreeRoom
    from ezrec.monitoring.state_files import recording_rate

    settings = obj.settings
    room = FreeRoom(shutil.disk_usage(settings.spool).free, recording_rate(settings))
    yield f"disk: {room.words}", not room.is_little
    is_synchronised = obj.clock.is_synchronised()
    cure = "" if is_synchronised else " (ezrec doctor)"
    yield f"clock: {clock_words(is_synchronised=is_synchronised)}{cure}", is_synchronised
    yield f"backend {settings.backend_line}", True


def _echo_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=1))
