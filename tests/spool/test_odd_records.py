"""Whatever stands in one `job.json`, the box goes on: it is a job or an unknown file, and the rest is seen.

A record may be written by hand, by another version, or by a disk that loses bits. Here it is changed in one
place, by values that some reader might not expect, and everything that lists is run over it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ezrec.app import common
from ezrec.cli import job_view, purge
from ezrec.cli.job_list import rows
from ezrec.cli.job_table import draw as draw_table
from ezrec.cli.status_view import draw as draw_status
from ezrec.diagnostics.spool_checks import jobs as look_at_jobs
from ezrec.domain import alerts, status_file
from ezrec.domain.errors import Busy, NoSuchJob, Refused
from ezrec.domain.job import encode
from ezrec.domain.outcomes import Done
from ezrec.domain.stages import DIRECTORIES, RECORD, RETRY, State, settle
from ezrec.monitoring import prometheus
from ezrec.runtime.hooks import Hooks
from ezrec.runtime.worker import Worker
from ezrec.spool import actions
from ezrec.spool.imports import import_video
from ezrec.spool.lookup import DONE, EVERYWHERE, KEPT, all_ids, find
from ezrec.spool.spool import Gone, Spool, forget, history
from tests.fakes.clock import StandingClock
from tests.support.boxes import CourtBox, a_box
from tests.support.full_job import FULL
from tests.support.jobs import NOW, ezrec, laid

LOG = logging.getLogger("test")
WHOLE: dict[str, Any] = json.loads(encode(FULL)) | {
    "id": "odd", "kept_until": "2026-07-02T16:00:00Z", "steps": {"row": "2026-07-01T18:00:00Z"},
}  # fmt: skip
WHOLE["takes"][0] |= {"holes": WHOLE["gaps"], "ended_by": "still open", "sound": [
    {"file": "a.m4a", "offset_s": 0.5, "duration_s": 3.0, "lasted_s": 3.0, "size": 7},
]}  # fmt: skip
ODD_DATES = [
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "0001-01-01T00:00:30-14:00",
    "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.999999+14:00",
    "1899-12-31T23:59:59Z", "2500-01-01T00:00:00Z", "1970-01-01T00:00:00-23:59", "2026-07-01T18:00:00+23:59",
    "2026-07-01T18:00:00", "2026-02-30T18:00:00Z", "",
]  # fmt: skip
ODD: list[Any] = [
    *ODD_DATES, None, True, [], {}, -1, 2**53, 2**63, 2**70, -(2**70), 1e-300, 1e6, 1e308, -1e308, "\0",
    "\x1b[2J", "x" * 10_000, "../../etc", "raw", "deferred", "\u2028", "NaN",
]  # fmt: skip


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, by the keys that lead there."""
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from places_in(inner, (*path, key))


def changed(path: tuple[Any, ...], odd: Any) -> bytes:
    whole = json.loads(json.dumps(WHOLE))
    if not path:
        return json.dumps(odd).encode()
    at = whole
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = odd
    return json.dumps(whole).encode()


_DATED = ("created", "due", "kept_until", "start", "end", "started", "at", "row")
DATES = [path for path in places_in(WHOLE) if path and path[-1] in _DATED]


@pytest.fixture(scope="module")
def box() -> Iterator[CourtBox]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield a_box(Path(folder))


def lay(spool: Spool, data: bytes) -> None:
    """The odd record in every place that is listed, beside a sound job in each directory."""
    for place in (*map(spool.directory, DIRECTORIES), spool.trash, spool.kept):
        shutil.rmtree(place)
        (place / "odd").mkdir(parents=True)
        (place / "odd" / "job.json").write_bytes(data)
    (spool.done / "odd.json").write_bytes(data)
    for state in DIRECTORIES:
        laid(spool, state, f"sound-{state}")


def look_at_everything(box: CourtBox) -> None:
    spool = box.spool
    for state in DIRECTORIES:
        assert f"sound-{state}" in {entry.id for entry in spool.entries(state)}
    for zone in (UTC, box.settings.zone):
        found = rows(spool, [*EVERYWHERE, KEPT], NOW)
        draw_table(found, all_ids(spool), NOW, zone, 100)
        json.dumps([row.as_json(NOW) for row in found])
    facts = box.collect()
    box.collect(facts)
    judged = alerts.judge(facts, (), 3600.0).alerts
    assert status_file.decode(status_file.encode(status_file.StatusFile(facts, judged))).facts == facts
    prometheus.text(facts, judged, "0")
    draw_status(facts, judged, "EZREC", UTC, 100, colour=False)
    list(look_at_jobs(box.settings))
    list(history(spool))
    purge.draw(purge.plan(spool, box.settings.logs, common.clock(box.settings), None, None), None, NOW)
    for place in (*map(str, DIRECTORIES), DONE, "trash"):
        with suppress(NoSuchJob):
            one = find(spool, "odd", (place,))
            job_view.draw(one, NOW, UTC, 100)
            json.dumps(job_view.as_json(one, NOW))


def let_stages_look(spool: Spool) -> None:
    """What the recorder and the retry stage do with their directories; no handler is run."""
    for stage, moved in ((RECORD, State.INCOMING), (RETRY, State.DEFERRED)):
        drain = Worker(stage, spool, Hooks(spool.root / "hooks", 5, LOG), StandingClock(NOW), LOG, {})
        due, _ = drain._look()
        for entry in [entry for entry in due if entry.id == "odd"]:
            settle(stage, entry.job, Done(), NOW, 0.5)
        assert f"sound-{moved}" in {entry.id for entry in spool.entries(moved)}


def remove_it(spool: Spool) -> None:
    for state in DIRECTORIES:
        with suppress(NoSuchJob, Refused, Busy, Gone):
            actions.remove(spool, find(spool, "odd", (state,)).entry, NOW, with_footage=True)  # type: ignore[arg-type]


def hold_the_box_to(box: CourtBox, data: bytes) -> None:
    lay(box.spool, data)
    look_at_everything(box)
    let_stages_look(box.spool)
    remove_it(box.spool)


@pytest.mark.parametrize("path", DATES, ids=lambda path: ".".join(map(str, path)))
def test_a_date_that_leaves_the_calendar_makes_an_unknown_file(box: CourtBox, path: tuple[Any, ...]) -> None:
    for odd in ODD_DATES:
        hold_the_box_to(box, changed(path, odd))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.sampled_from(list(places_in(WHOLE))), st.sampled_from(ODD))
def test_no_odd_value_in_a_record_keeps_the_others_from_being_seen(
    box: CourtBox, path: tuple[Any, ...], odd: Any
) -> None:
    hold_the_box_to(box, changed(path, odd))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.integers(0, len(encode(FULL))), st.binary(max_size=8), st.integers(0, 40))
def test_no_damage_to_its_bytes_does_either(box: CourtBox, at: int, put_in: bytes, cut_out: int) -> None:
    data = json.dumps(WHOLE).encode()
    hold_the_box_to(box, data[:at] + put_in + data[at + cut_out :])


def test_a_sound_record_passes_all_of_it(box: CourtBox) -> None:
    """Else the tests above would hold unknown files alone to nothing."""
    lay(box.spool, json.dumps(WHOLE).encode())
    assert {entry.id for entry in box.spool.entries(State.RAW)} == {"odd", "sound-raw"}
    look_at_everything(box)
    let_stages_look(box.spool)
    remove_it(box.spool)


STAMPS = [-(2**40), -1, 0, 2**33, 2**40]


@pytest.mark.parametrize("stamp", STAMPS)
def test_no_stamp_of_a_file_leaves_the_calendar(box: CourtBox, tmp_path: Path, stamp: int) -> None:
    """A file system keeps stamps that no calendar has; a copy keeps them too."""
    lay(box.spool, json.dumps(WHOLE).encode())
    clip = box.home / "match.mp4"
    clip.write_bytes(b"video")
    for path in (*box.spool.trash.iterdir(), *box.spool.done.iterdir(), clip):
        os.utime(path, (stamp, stamp))
    entry = import_video(box.spool, clip, "put-in", NOW, UTC)
    assert box.spool.read(State.RAW, entry.id).job.takes[0].started.year in range(1970, 2201)
    look_at_everything(box)
    forget(box.spool, NOW, is_synchronised=True)
    shutil.rmtree(entry.path)


@pytest.mark.parametrize(
    "command", [["spool", "ls"], ["status"], ["spool", "rm", "odd"], ["spool", "show", "odd"]]
)
def test_the_program_says_it_in_a_line(tmp_path: Path, command: list[str]) -> None:
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    for state in (State.INCOMING, State.RAW):
        (spool.directory(state) / "odd").mkdir()
        data = changed(("booking", "start"), "0001-01-01T00:00:00Z")
        (spool.directory(state) / "odd" / "job.json").write_bytes(data)
    laid(spool, State.RAW, "sound")
    done = ezrec(tmp_path, *command, USER_ID="u1", EZREC_BACKEND="local")
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (0, 2, 5, 6), (done.returncode, done.stderr)
