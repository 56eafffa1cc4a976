"""`ezrec alerts`: lists what is wrong now, and puts away what a person has seen.

What is wrong with the box ends by itself once it is cured. What went wrong with a booking (missed, partial,
bare) cannot be undone, so it stays until somebody says that it was seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from ezrec.cli.formatting import printable, span, terminal, utc

if TYPE_CHECKING:
    from ezrec.cli.main import Context
    from ezrec.domain.alerts import Alert


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.pass_context
def alerts(ctx: click.Context, as_json: bool) -> None:
    """List what is wrong now, the worst first, each with its id and what to type.

    A booking that was missed, or recorded in part, and a video that lacks some of its branding stay in the
    list until you put them away with `ezrec alerts clear`. All else ends by itself once it is cured.
    """
    if ctx.invoked_subcommand is not None:
        return
    from ezrec.monitoring.collect import look

    obj: Context = ctx.obj
    snapshot, found = look(obj.settings, obj.clock)
    if as_json:
        import json

        click.echo(json.dumps([_as_json(alert) for alert in found], indent=1))
        return
    width, colour = terminal()
    lines = list(_lines(found, snapshot.at, width, colour))
    click.echo("\n".join(lines or ["Nothing is wrong."]), color=colour)


@alerts.command()
@click.argument("ids", nargs=-1, metavar="[ID]…")
@click.option("--all", "everything", is_flag=True, help="All that can be put away.")
@click.pass_context
def clear(ctx: click.Context, ids: tuple[str, ...], everything: bool) -> None:
    """Put incidents away, by the ids that `ezrec alerts` lists, or by the id of their booking.

    They stay away, also when EZREC is started again. The beginning of an id is enough.
    """
    from ezrec.monitoring.outcomes import of_box, put_away

    if bool(ids) is everything:
        raise click.UsageError("give the ids that `ezrec alerts` lists, or --all")
    obj: Context = ctx.obj
    found = of_box(obj.settings)
    chosen, wrong = [one.id for one in found], list[Exception]()
    if not everything:
        chosen, wrong = _chosen(ids, {one.id: str(one.job) for one in found})
    put_away(obj.settings.state, chosen)
    for name in chosen:
        click.echo(f"{name} is put away")
    if everything and not chosen:
        click.echo("there is nothing to put away")
    if wrong:
        from ezrec.cli.main import report

        codes = [report(fault) for fault in wrong]
        ctx.exit(codes[0])


def _chosen(typed: Sequence[str], jobs: dict[str, str]) -> tuple[list[str], list[Exception]]:
    """The ids that were meant, and a fault for each word that means none. `jobs`: the incidents' jobs."""
    from ezrec.domain.alerts import RULES
    from ezrec.domain.errors import NoSuchJob, Refused
    from ezrec.domain.names import shown

    chosen: list[str] = []
    wrong: list[Exception] = []
    for word in typed:
        fitting = [one for one in jobs if word in (one, jobs[one])]
        fitting = fitting or [one for one in jobs if word and one.startswith(word)]
        if any(rule.name == word for rule in RULES):
            wrong.append(Refused(f"{word} ends by itself once it is cured", "see what to do: ezrec alerts"))
        elif not fitting:
            wrong.append(NoSuchJob(f"no alert {shown(word)} is to be put away; ezrec alerts lists them"))
        elif len({jobs[one] for one in fitting}) > 1:
            wrong.append(NoSuchJob(f"{len(fitting)} alerts begin with {shown(word)}: give more of the id"))
        else:
            chosen += fitting
    return list(dict.fromkeys(chosen)), wrong


def _as_json(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.id,
        "name": alert.name,
        "severity": alert.severity,
        "job": alert.job or None,
        "message": alert.message,
        "remedy": alert.remedy,
        "since": utc(alert.since or alert.raised_at),
        "is_raised": alert.counts,
        "can_be_cleared": bool(alert.job),
    }


def _lines(found: Sequence[Alert], now: datetime, width: int | None, colour: bool) -> Iterator[str]:
    from ezrec.cli.drawing import folded

    for alert in found:
        began = alert.since or alert.raised_at
        since = f", since {span((now - began).total_seconds())}" if began else ""
        head = f"{printable(alert.id)}  ({alert.severity}{since})"
        yield click.style(head, bold=True) if colour else head
        yield from folded(printable(alert.message), width, indent=4)
        yield from folded(f"→ {printable(alert.remedy)}", width, "  ", 4)
