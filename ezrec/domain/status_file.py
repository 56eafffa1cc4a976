"""The report: the facts and what was made of them, as they stand in `status.json`. Values only.

Read by `ezrec status` and by whoever cares to; replaced whole, and as old as its `facts.at`.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from ezrec.domain import json_decode
from ezrec.domain.alerts import Alert
from ezrec.domain.redaction import cleaned
from ezrec.domain.snapshot import Snapshot

FILE = "status.json"  # in EZREC_STATE


@dataclass(frozen=True, slots=True)
class StatusFile:
    """One look at the box. `alerts` holds those too that are not raised yet.

    `pid`: the process that writes it again and again; 0 where a timer starts one for each run.
    """

    facts: Snapshot
    alerts: tuple[Alert, ...] = ()
    pid: int = 0
    v: int = 1


def encode(report: StatusFile) -> bytes:
    """The bytes of `status.json`, indented for the person who opens it."""
    return msgspec.json.format(msgspec.json.encode(cleaned(report)), indent=1) + b"\n"


def decode(data: bytes) -> StatusFile:
    """Read a `status.json`; raises `ValueError` (msgspec's) for anything else."""
    return json_decode.decode(data, StatusFile)
