"""`python -m bench [NAME…] [--write]`: measure, tell, and with --write keep it in bench/RESULTS.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from bench import capture, idle, listing, machine, recording, start, throughput, wakeup
from bench.result import Result

MEASURES: dict[str, Callable[[float], Result]] = {
    "wakeup": wakeup.measure,
    "idle": idle.measure,
    "listing": listing.measure,
    "start": start.measure,
    "throughput": throughput.measure,
    "recording": recording.measure,
    "capture": capture.measure,
}
RESULTS = Path(__file__).with_name("RESULTS.md")


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(MEASURES)), metavar="[NAME]…")
@click.option("--write", is_flag=True, help="Write bench/RESULTS.md; of all measures alone.")
def bench(names: Sequence[str], write: bool) -> None:
    """Measure what EZREC promises: wakeup, idle, listing, start, throughput, recording, capture. About 7
    minutes."""
    if write and names:
        raise click.UsageError("--write wants all measures: they are read side by side")
    found = []
    for name in names or MEASURES:
        result = MEASURES[name](1.0)
        found.append(result)
        goal = f"goal {result.goal}: {'met' if result.is_met else 'MISSED'}"
        click.echo(f"{name:>10}  {result.found}; {result.floor}; ratio {result.ratio:.2f}; {goal}")
    if write:
        RESULTS.write_text(page(found))


def page(found: Sequence[Result]) -> str:
    return "\n".join(
        [
            "# What EZREC costs",
            "",
            "Written by `make bench ARGS=--write`. Every measure stands beside a floor, the least that the",
            "machine takes for the same thing: their ratio tells of the program, the figure alone of the",
            "machine. Measure and floor take turns, and medians count.",
            "",
            *machine.facts(),
            "",
            "| measure | found | floor | ratio | goal | met |",
            "|---|---|---|---|---|---|",
            *(result.row() for result in found),
            "",
            "How each was measured:",
            "",
            *(f"- {result.what}: {result.how}" for result in found),
            "",
        ]
    )


if __name__ == "__main__":
    bench()
