"""A job's outbox: which steps in the cloud are done, and when. Tells nobody anything.

The steps stand in `job.json`, which belongs to the job's owner. What the pulse `tell` says beside the work
lies in a file of its own, because two writers of one record would lose each other's words; the owner takes
it in when it records a step. A step may be repeated: none does harm the second time.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

import msgspec

from ezrec.domain import json_decode
from ezrec.spool.spool import Entry
from ezrec.system import durable, plain_files

TOLD = "told.json"
_LARGEST = 1 << 16
_REFUSED = "refused: "
_ASKED_AGAIN = timedelta(hours=1)  # somebody may have put the rights in order


def record(entry: Entry, step: str, now: datetime) -> None:
    """For the job's owner: a step is done."""
    told = {name: at for name, at in _read(entry).items() if not name.startswith(_REFUSED)}
    entry.update(steps={**told, **entry.job.steps, step: now})


def tell(entry: Entry, status: str, now: datetime, *, is_refused: bool = False) -> None:
    """For whoever tells beside the work: a status was told, or refused."""
    said = {**_read(entry), (_REFUSED + status if is_refused else status): now}
    with suppress(FileNotFoundError):  # it has moved on: the next look finds it there
        durable.write(entry.path / TOLD, msgspec.json.encode(said))


def is_settled(entry: Entry, status: str, now: datetime) -> bool:
    """True when there is nothing to be told now."""
    if status in entry.job.steps:
        return True
    said = _read(entry)
    refused = said.get(_REFUSED + status)
    return status in said or (refused is not None and abs(now - refused) < _ASKED_AGAIN)


def _read(entry: Entry) -> dict[str, datetime]:
    try:
        found = json_decode.decode(plain_files.read(entry.path / TOLD, _LARGEST), dict[str, datetime])
    except (OSError, msgspec.DecodeError):
        return {}
    return {name: at for name, at in found.items() if at.tzinfo is not None}
