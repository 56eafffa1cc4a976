"""`ezrec local …`: the bookings, videos and branding of the local backend, for the person at the machine.

Works with and without running services. Refuses when the bookings are kept in the cloud: they are changed
there, in the front end.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ezrec.cli.drawing import columns
from ezrec.cli.formatting import printable
from ezrec.cli.params import DurationParam
from ezrec.cli.times import parse_end, parse_time, whole_second_after
from ezrec.domain.booking import BadBooking, Window, overlapping, parse_booking, span_text
from ezrec.domain.errors import NoSuchJob, Refused
from ezrec.domain.names import shown

if TYPE_CHECKING:
    from ezrec.cli.main import Context
    from ezrec.cloud.local.backend import LocalBackend


_FILE = click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path)
_MOST_SPONSORS = 3
_json = click.option("--json", "as_json", is_flag=True, help="Rows as JSON, for machines.")


@click.group()
def local() -> None:
    """Bookings, videos and branding of the local backend."""


@local.command()
@click.option("--start", metavar="TIME", help="18:00, '2026-06-01 18:00' or ISO 8601; today if no date.")
@click.option(
    "--in",
    "starts_in",
    metavar="DURATION",
    type=DurationParam(),
    help="Start so long from now: 90s, 5m, 1h30m.",
)
@click.option("--end", metavar="TIME", help="As --start; of the start's day if no date.")
@click.option("--for", "lasts", metavar="DURATION", type=DurationParam(), help="End so long after the start.")
@click.option("--json", "as_json", is_flag=True, help="The new row as JSON.")
@click.pass_obj
def book(
    obj: Context,
    start: str | None,
    starts_in: timedelta | None,
    end: str | None,
    lasts: timedelta | None,
    as_json: bool,
) -> None:
    """Enter a booking: a start (--start or --in) and an end (--end or --for)."""
    if (start is None) == (starts_in is None):
        raise click.UsageError("give either --start or --in")
    if (end is None) == (lasts is None):
        raise click.UsageError("give either --end or --for")
    store, zone = _store(obj), obj.settings.zone
    now = store.clock.now()
    begins = whole_second_after(now + starts_in) if starts_in is not None else _time(start or "", now, zone)
    ends = begins + lasts if lasts is not None else parse_end(end or "", begins, zone)
    if ends <= begins:
        raise click.UsageError(f"it would end before it starts: {span_text(Window(begins, ends), zone)}")
    if ends <= now:
        raise click.UsageError(f"that is over: {span_text(Window(begins, ends), zone)}; give the date too")
    booking_id = store.book(begins, ends)
    if as_json:
        click.echo(json.dumps(_one(store, booking_id)))
    else:
        click.echo(f"{booking_id}  {span_text(Window(begins, ends), zone)}")
    _tell_overlaps(store, booking_id, zone)


@local.command()
@_json
@click.pass_obj
def bookings(obj: Context, as_json: bool) -> None:
    """List this account's bookings."""
    rows = _store(obj).all_bookings()
    if as_json:
        click.echo(json.dumps(rows))
        return
    zone = obj.settings.zone
    _table(
        ("ID", "WINDOW", "CAMERA", "STATUS"),
        [
            (
                row["id"],
                _window(row, zone),
                row["camera_id"] or "0",
                _with_word(obj, row["id"], row["status"]),
            )
            for row in rows
        ],
        nothing="no bookings",
    )


@local.command()
@click.option(
    "--copy-to",
    metavar="DIRECTORY",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also copy the videos there, named by date, court and booking; those that are there already stay.",
)
@_json
@click.pass_obj
def videos(obj: Context, copy_to: Path | None, as_json: bool) -> None:
    """List this account's published videos, newest first, and where each lies."""
    from ezrec.cli import local_videos

    local_videos.show(_store(obj), obj.settings, copy_to, as_json=as_json)


@local.command()
@click.argument("booking_id", metavar="ID")
@click.pass_obj
def cancel(obj: Context, booking_id: str) -> None:
    """Cancel a booking, also one that is being recorded. The beginning of its ID is enough."""
    store = _store(obj)
    found = _one(store, booking_id)["id"]
    if not store.cancel(found):
        raise NoSuchJob(f"booking {found} is gone")
    click.echo(f"{found} cancelled")


@local.command()
@click.argument("booking_id", metavar="ID")
@click.option("--start", metavar="TIME", help="The new start; of the same day if no date.")
@click.option("--end", metavar="TIME", help="The new end.")
@click.pass_obj
def change(obj: Context, booking_id: str, start: str | None, end: str | None) -> None:
    """Move the start or the end of a booking. The beginning of its ID is enough."""
    if start is None and end is None:
        raise click.UsageError("give --start, --end, or both")
    store, zone = _store(obj), obj.settings.zone
    row = _one(store, booking_id)
    try:
        old = parse_booking(row, zone).window
    except BadBooking as fault:
        raise Refused(str(fault), "cancel it and make a new one") from fault
    begins = _time(start, old.start, zone) if start is not None else old.start
    ends = parse_end(end, begins, zone) if end is not None else old.end
    if ends <= begins:
        raise click.UsageError(f"it would end before it starts: {span_text(Window(begins, ends), zone)}")
    if not store.change(row["id"], begins, ends):
        raise NoSuchJob(f"booking {row['id']} is gone")
    click.echo(f"{row['id']}  {span_text(Window(begins, ends), zone)}")
    _tell_overlaps(store, row["id"], zone)


@local.command("set-branding")
@click.option("--intro", type=_FILE, help="Video that goes in front of every recording.")
@click.option("--logo", type=_FILE, help="Picture for the bottom right corner.")
@click.option("--sponsor", type=_FILE, multiple=True, help="A sponsor's logo; up to three, in their order.")
@click.option("--no-intro", is_flag=True, help="Use no intro.")
@click.option("--no-logo", is_flag=True, help="Use no logo.")
@click.option("--no-sponsors", is_flag=True, help="Use no sponsors' logos.")
@click.pass_obj
def set_branding(
    obj: Context,
    intro: Path | None,
    logo: Path | None,
    sponsor: tuple[Path, ...],
    no_intro: bool,
    no_logo: bool,
    no_sponsors: bool,
) -> None:
    """Set the intro, the logo and sponsors' logos (files are copied); what is not named stays.

    Each file is tried first: one that no video could be made with is refused.
    """
    from ezrec.app.processing import check_assets

    changes = (("intro", intro, no_intro), ("logo", logo, no_logo), ("sponsors", sponsor, no_sponsors))
    if any(file and gone for _, file, gone in changes):
        raise click.UsageError("either give a file or do without it")
    if len(sponsor) > _MOST_SPONSORS:
        raise click.UsageError(f"at most {_MOST_SPONSORS} sponsors' logos")
    remove = [kind for kind, _, gone in changes if gone]
    if not (intro or logo or sponsor or remove):
        raise click.UsageError("give --intro, --logo or --sponsor")
    store = _store(obj)
    given = (("intro", intro), ("logo", logo), *(("sponsor", path) for path in sponsor))
    check_assets(obj.settings, [(kind, path) for kind, path in given if path is not None])
    now = store.set_branding(intro, logo, sponsors=sponsor, remove=remove)
    click.echo(f"intro  {now.intro or '–'}\nlogo   {now.logo or '–'}")
    for key in now.sponsors:
        click.echo(f"sponsor  {key}")


def _store(obj: Context) -> LocalBackend:
    if obj.settings.backend != "local":
        raise Refused(
            f"the bookings and videos of this device are kept by {obj.settings.backend}",
            "use the web front end, or set EZREC_BACKEND=local",
        )
    return obj.local()


def _one(store: LocalBackend, typed: str) -> dict[str, Any]:
    """The booking with this id, or the only one whose id begins so."""
    rows = store.all_bookings()
    found = [row for row in rows if row["id"] == typed] or [
        row for row in rows if row["id"].startswith(typed)
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise NoSuchJob(f"there is no booking {shown(typed)}")
    raise NoSuchJob(f"{len(found)} bookings begin with {shown(typed)}: give more of the id")


def _tell_overlaps(store: LocalBackend, booking_id: str, zone: tzinfo) -> None:
    """Say on stderr which other bookings of this camera the one that was just entered overlaps."""
    bookings = []
    for row in store.all_bookings():
        with contextlib.suppress(BadBooking):
            bookings.append(parse_booking(row, zone))
    (entered,) = [one for one in bookings if one.id == booking_id]
    for other in overlapping(entered, bookings):
        click.echo(
            f"ezrec: it overlaps {other.id}, {span_text(other.window, zone)}: "
            "each gets its whole video; if one is a mistake: ezrec local cancel ID",
            err=True,
        )


def _time(text: str, near: datetime, zone: tzinfo) -> datetime:
    return parse_time(text, near.astimezone(zone).date(), zone)


def _with_word(obj: Context, job_id: str | None, text: str | None) -> str:
    """`text`, and what its job is called: partial, missed, without logo."""
    from ezrec.cli.local_videos import words_for

    return ", ".join([text or "–", *(word for word in words_for(obj.settings, job_id) if word != text)])


def _window(row: Mapping[str, Any], zone: tzinfo) -> str:
    try:
        window = parse_booking(row, zone).window
    except BadBooking as fault:
        return f"unreadable: {fault}"
    return span_text(window, zone)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], nothing: str) -> None:
    click.echo("\n".join(columns([head, *(tuple(map(printable, row)) for row in rows)])) if rows else nothing)
