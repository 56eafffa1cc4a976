"""`ezrec demo`: shows what EZREC does, without camera, account or root."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from ezrec.diagnostics.demo import DemoReport, Progress

_PATH = ("incoming", "recording", "raw", "processing", "processed", "done")
_SAYS = {
    "incoming": "the booking waits for its start",
    "recording": "the camera is writing it",
    "raw": "footage waits to be branded",
    "processing": "FFmpeg puts the intro before it and the logo over it",
    "processed": "the finished video is uploaded",
    "done": "published",
    "deferred": "waits, and comes back by itself",
}


@click.command()
@click.option(
    "--home", type=click.Path(path_type=Path, file_okay=False), help="The directory; default: ./demo/<time>."
)
@click.option(
    "--seconds", type=click.IntRange(2, 600), default=10, show_default=True, help="Length of the booking."
)
@click.option("--json", "as_json", is_flag=True, help="The last line is a JSON object.")
@click.option(
    "--pull-plug", is_flag=True, help="Kill everything in the middle of the match, and start again."
)
def demo(home: Path | None, seconds: int, as_json: bool, pull_plug: bool) -> None:
    """Watch one booking go from camera to published video, in under 40 s."""
    from datetime import datetime

    from ezrec.diagnostics.demo import forget_earlier, perform

    removed = 0 if home else forget_earlier(Path("demo"))
    home = (home or Path("demo") / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}").absolute()
    click.echo(f"A booking of {seconds} s, as soon as the recorder is up; everything lies in {home}")
    with _live() as show:
        report = perform(home, seconds, show, pull_plug=pull_plug)
    _tell(report, home, removed)
    if as_json:
        click.echo(json.dumps(report.as_json(), default=str))


def _tell(report: DemoReport, home: Path, removed: int) -> None:
    booking, video = report.rows["bookings"], report.rows["videos"]
    missing = f"; {report.missing_s:.1f} s are missing" if report.missing_s else "; nothing is missing"
    lines = {
        "Your video": report.video,
        "": f"{report.duration_s:.1f} s: the intro ({report.intro_s:.1f} s), then the match with the logo",
        "Recorded": f"{report.recorded_s:.1f} s{missing}",
        "In pictures": report.contact_sheet,
        "For the website": f"a row in videos: {video['filename']}, {video['file_size'] / 1e6:.1f} MB",
        "The booking": f"{booking['id']} is now {booking['status']}",
        "Time in": ", ".join(f"{stage.name} {stage.seconds:.1f} s" for stage in report.stages),
    }
    if report.interruptions:
        lines["The plug"] = "was pulled in the middle: what was recorded before and after it is in the video"
    click.echo()
    for name, text in lines.items():
        click.echo(f"{name:>16}  {text}")
    typed = Path(sys.argv[0]).absolute()  # in a clone `ezrec` is on no path
    is_here = typed.name == "ezrec" and typed.is_relative_to(Path.cwd())
    program = os.path.relpath(typed) if is_here else "ezrec"
    after = {
        f"{program} demo --pull-plug": "the same, with the plug pulled in the middle",
        f"EZREC_HOME={home} {program} explain {booking['id'][:8]}": "why this booking has a video",
        "sudo ./install.sh": "make this machine a court camera",
    }
    click.echo("\nNext:")
    for command, meaning in after.items():
        click.echo(f"  {command}\n      {meaning}")
    if removed:
        click.echo(f"\n{removed} older demo folder{'s' if removed > 1 else ''} removed; the newest is kept.")


@contextlib.contextmanager
def _live() -> Iterator[Callable[[Progress], None]]:
    """A view that is drawn anew on a terminal; elsewhere a line at every change."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    if not console.is_terminal:
        yield _by_line()
        return
    with Live(console=console, refresh_per_second=8) as live:
        yield lambda progress: live.update(_picture(progress))


def _by_line() -> Callable[[Progress], None]:
    last: list[Any] = [None]
    noted = [""]

    def show(progress: Progress) -> None:
        if progress.note != noted[0]:
            noted[0] = progress.note
            click.echo(f"{progress.spent_s:5.1f} s  {progress.note}")
        if progress.state != last[0] and progress.state is not None:
            last[0] = progress.state
            click.echo(f"{progress.spent_s:5.1f} s  {progress.state}/  {_SAYS.get(progress.state, '')}")

    return show


def _picture(progress: Progress) -> Any:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    reached = _PATH.index(progress.state) if progress.state in _PATH else -1
    for number, name in enumerate(_PATH):
        is_here = number == reached
        mark = "●" if is_here else "✔" if number < reached or progress.state == "done" else "·"
        style = "bold cyan" if is_here else "green" if number < reached else "dim"
        part = progress.progress.get("part") if is_here else None
        bar: Any = ProgressBar(total=1, completed=part, width=30) if part is not None else ""
        said = Text(_SAYS[name] if is_here else "", style="cyan")
        table.add_row(Text(mark, style=style), Text(f"{name}/", style=style), bar, said)
    table.add_row("", Text(f"{progress.spent_s:.0f} s", style="dim"), "", "")
    if progress.note:
        table.add_row(
            Text("⚡", style="yellow"), Text("power", style="yellow"), "", Text(progress.note, style="yellow")
        )
    return table
