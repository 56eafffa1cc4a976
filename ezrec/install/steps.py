"""A plan is a list of steps, and this runs it. What a dry run prints is what a real one does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


class StepFailed(Exception):
    """A step did not work. The message says which, and the last words of what it ran."""


@dataclass(frozen=True, slots=True)
class Step:
    """One change to the machine. `is_done` only looks; None: it is done each time."""

    what: str
    why: str
    do: Callable[[], object]
    is_done: Callable[[], bool] | None = None


def pending(plan: Sequence[Step]) -> bool:
    """True when something is to be changed."""
    return any(step.is_done is not None and not step.is_done() for step in plan)


def run(plan: Sequence[Step], say: Callable[[str], None], *, dry: bool = False) -> int:
    """Do what is not done yet, in order; how many changes that were. Raises `StepFailed`.

    A step that says it worked is asked again whether it is done: a package manager may end well without
    having done anything.
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
