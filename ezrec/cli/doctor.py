"""`ezrec doctor`: checks this machine and prints every fault with its remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ezrec.cli.drawing import folded
from ezrec.cli.formatting import printable, terminal
from ezrec.cli.main import ALARMED, CONFIGURATION, OK
from ezrec.domain.redaction import cleaned

if TYPE_CHECKING:
    from ezrec.domain.findings import Finding

_COLOURS = {"ok": "green", "warning": "yellow", "fault": "red"}
_WIDTH = 80
_WORD, _NAME = 9, 15  # columns of the verdict and of the check's name


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For machines: a list of findings.")
@click.option("--quick", is_flag=True, help="Only what a start needs: software, settings, spool.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, quick: bool) -> None:
    """Check this machine: what is wrong, and how to fix it.

    \b
    Exit codes: 0 no fault (warnings may be), 78 the settings are wrong, 6 another fault.
    """
    from ezrec.diagnostics.doctor import examine

    if as_json:
        import json

        found = [cleaned(finding) for finding in examine(quick=quick)]
        click.echo(json.dumps([finding.as_json() for finding in found], indent=1))
    else:
        found = []
        for finding in map(cleaned, examine(quick=quick)):  # printed as they come: some take a second
            click.echo(draw(finding, colour=terminal()[1]))
            found.append(finding)
        click.echo("\n" + summary(found))
    ctx.exit(exit_code(found))


def exit_code(found: list[Finding]) -> int:
    faults = {finding.check for finding in found if finding.verdict == "fault"}
    if "settings" in faults:
        return CONFIGURATION
    return ALARMED if faults else OK


def draw(finding: Finding, *, colour: bool = False) -> str:
    """One finding in 80 columns: verdict, check, evidence; the remedy below it."""
    word = f"{finding.verdict:<{_WORD}}"
    if colour:
        word = click.style(word, fg=_COLOURS[finding.verdict], bold=finding.verdict != "ok")
    margin, width = " " * (_WORD + _NAME), _WIDTH - _WORD - _NAME
    lines = folded(printable(finding.evidence), width, whole_words=True)
    if finding.remedy:
        lines = lines + folded(f"→ {printable(finding.remedy)}", width, "  ", whole_words=True)
    return "\n".join([f"{word}{finding.check:<{_NAME}}{lines[0]}", *(margin + line for line in lines[1:])])


def summary(found: list[Finding]) -> str:
    counts = {word: sum(finding.verdict == word for finding in found) for word in ("fault", "warning", "ok")}
    if not counts["fault"] and not counts["warning"]:
        return f"All is well: {counts['ok']} checks."
    faults = "no fault" if not counts["fault"] else _number(counts["fault"], "fault")
    return f"{faults}, {_number(counts['warning'], 'warning')}, {counts['ok']} ok."


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
