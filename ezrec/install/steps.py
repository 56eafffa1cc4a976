"""A plan is a list of steps; this runs it. A dry run prints exactly what a real run does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


class StepFailed(Exception):
    """A step failed. The message names it, with the last output of what it ran."""


class NoNetwork(StepFailed):
    """What a step needs could not be fetched. Nothing is half done: the same command goes on from here."""


@dataclass(frozen=True, slots=True)
class Step:
    """One change to the machine. `is_done` only looks; None: the step runs each time."""

    what: str
    why: str
    do: Callable[[], object]
    is_done: Callable[[], bool] | None = None


def pending(plan: Sequence[Step]) -> bool:
    """True when something is to be changed."""
    return any(step.is_done is not None and not step.is_done() for step in plan)


def run(plan: Sequence[Step], say: Callable[[str], None], *, dry: bool = False) -> int:
    """Run the steps that are not done yet, in order; returns how many changed something. Raises `StepFailed`.

    After each step `is_done` is asked again: a package manager may succeed without having done anything.
    """
    changed = 0
    for step in plan:
        if step.is_done is not None and step.is_done():
            say(f"  done      {step.what}")
            continue
        changed += step.is_done is not None
        say(f"  {'would do' if dry else 'doing   '}  {step.what} – {step.why}")
        if dry:
            continue
        try:
            step.do()
        except OSError as fault:
            where = f": {fault.filename}" if fault.filename else ""
            raise StepFailed(f"{step.what}: {fault.strerror or fault}{where}") from fault
        if step.is_done is not None and not step.is_done():
            raise StepFailed(f"{step.what}: it was tried, and is still not so")
    return changed
