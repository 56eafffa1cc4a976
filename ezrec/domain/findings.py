"""What a check of the machine found, in one shape for people and for machines. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """The result of a check. With a fault something does not work."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: the verdict, the evidence, and what a person can do."""

    check: str
    verdict: Verdict
    evidence: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


Findings = Iterator[Finding]


def ok(check: str, evidence: str) -> Finding:
    return Finding(check, Verdict.OK, evidence)


def warning(check: str, evidence: str, remedy: str) -> Finding:
    return Finding(check, Verdict.WARNING, evidence, remedy)


def fault(check: str, evidence: str, remedy: str) -> Finding:
    return Finding(check, Verdict.FAULT, evidence, remedy)
