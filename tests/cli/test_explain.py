"""`ezrec explain`: the sentences for each way that a booking can go."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest

from ezrec.cli import explain
from ezrec.cli.main import run
from ezrec.domain.booking import Window
from ezrec.domain.job import OPEN, JobOutcome, Kind, Result, Take
from ezrec.domain.stages import State
from ezrec.spool.lookup import find
from ezrec.spool.spool import Spool
from tests.support.jobs import HOUR, NOW, booking, laid

START = NOW - HOUR
TAKE = Take("raw_b1_20261121_160000.mp4", START, 3480.0, 10**9, "the power was cut")
GAP = Window(START + timedelta(minutes=31), START + timedelta(minutes=33))
RESULT = Result("processed_raw_b1.mp4", 3485.0, 10**9, (), notes=("no logo: it could not be fetched",))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    return spool


def said(spool: Spool, state: State, **fields: Any) -> str:
    entry = laid(spool, state, "b1", **{"booking": booking("b1", START), **fields})
    found = find(spool, entry.id)
    return " ".join(explain.of_a_job(found, NOW, UTC, found.entry.progress() if found.entry else {}))


def test_a_booking_to_come_waits_for_its_start(spool: Spool) -> None:
    text = said(spool, State.INCOMING, booking=booking("b1", NOW + 2 * HOUR), takes=())
    assert (
        text
        == "Booking b1 is for Sat 21 Nov 20:00–21:00, camera 0. Nothing is recorded yet: it starts in 2 h 00."
    )


def test_what_is_recorded_now_ends_at_its_time(spool: Spool) -> None:
    under_way = booking("b1", NOW - HOUR / 2)
    text = said(spool, State.RECORDING, booking=under_way, takes=(replace(TAKE, ended_by=OPEN),))
    assert "It is being recorded until 18:30." in text


def test_a_booking_that_should_be_recorded_and_is_not_is_called_so(spool: Spool) -> None:
    text = said(spool, State.RECORDING, booking=booking("b1", NOW - HOUR / 2), takes=())
    assert "It should be recorded now, and nothing is: ezrec status tells why." in text


def test_what_is_missing_is_named_with_its_cause(spool: Spool) -> None:
    text = said(spool, State.RAW, takes=(TAKE,), gaps=(GAP,), gap_count=1, missing_s=120.0, coverage_pct=96.7)
    assert "0:58:00.0 was recorded, 96.7 % of its time." in text
    assert "Missing: 17:31:00 to 17:33:00 (120.0 s): the power was cut." in text
    assert text.endswith("Its video is not made yet. It waits for its turn to be made into a video.")


def test_a_video_in_the_making_tells_how_far_it_is(spool: Spool) -> None:
    laid(spool, State.PROCESSING, "b2", booking=booking("b2", START)).report(part=0.5, eta_s=90, speed=2.44)
    found = find(spool, "b2")
    assert found.entry
    *_, last = explain.of_a_job(found, NOW, UTC, found.entry.progress())
    assert last == "The video is being made: 50 %, 2.4× real time, 90 s left."


def test_a_published_video_is_named_with_what_is_missing_on_it(spool: Spool) -> None:
    entry = laid(spool, State.PROCESSED, "b1", booking=booking("b1", START), takes=(TAKE,), result=RESULT)
    spool.leave(entry, replace(entry.job, outcome=JobOutcome.PUBLISHED).arrived("done", NOW))
    text = " ".join(explain.of_a_job(find(spool, "b1"), NOW, UTC, {}))
    assert "Its video is published, 0:58:05.0 long, 1.0 GB: processed_raw_b1.mp4." in text
    assert "About the video: no logo: it could not be fetched." in text
    assert text.endswith("Nothing more happens to it.")


def test_a_missed_booking_says_why(spool: Spool) -> None:
    entry = laid(spool, State.INCOMING, "b1", booking=booking("b1", START), takes=())
    missed = replace(entry.job, outcome=JobOutcome.MISSED, reason="the box was off")
    spool.leave(entry, missed.arrived("done", NOW))
    text = " ".join(explain.of_a_job(find(spool, "b1"), NOW, UTC, {}))
    assert "Nothing was recorded: the box was off. Nothing more happens to it." in text


def test_what_needs_a_person_names_the_command(spool: Spool) -> None:
    failed = said(spool, State.FAILED, takes=(TAKE,), reason="no picture", remedy="copy it again")
    assert failed.endswith("Nothing happens by itself: no picture. What to type: copy it again")


def test_a_wait_says_until_when(spool: Spool) -> None:
    text = said(
        spool, State.DEFERRED, takes=(TAKE,), reason="the cloud is away", due=NOW + timedelta(minutes=5),
        return_to="processed", result=RESULT,
    )  # fmt: skip
    assert "It waits: the cloud is away. It goes on by itself at Sat 21 Nov 18:05:00 (in 5 min)." in text
    assert "Its video is made, 0:58:05.0 long, 1.0 GB, and not published yet." in text


def test_a_log_archive_and_a_clip_are_called_so(spool: Spool) -> None:
    assert "is an archive of this box's logs" in said(
        spool, State.PROCESSED, kind=Kind.LOGS, booking=None, takes=()
    )
    laid(spool, State.RAW, "c1", kind=Kind.CLIP, booking=None)
    first, *_ = explain.of_a_job(find(spool, "c1"), NOW, UTC, {})
    assert "no booking is known for it" in first


@pytest.mark.parametrize(
    ("status", "start", "told"),
    [
        ("cancelled", NOW + HOUR, "It is cancelled, so nothing is recorded."),
        ("video_uploaded", START, "Its row says video_uploaded: this box does not record it again."),
        ("confirmed", NOW - 3 * HOUR, "It was over before this box knew of it, so there is no recording."),
        ("confirmed", NOW + HOUR, "If that does not happen within a minute: ezrec doctor"),
    ],
)
def test_a_booking_without_a_job_is_explained_too(status: str, start: Any, told: str) -> None:
    assert list(explain.of_a_booking(replace(booking("b1", start), status=status), NOW, UTC))[-1] == told


def test_an_unknown_booking_says_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EZREC_HOME", str(tmp_path))
    assert run(["explain", "nobody"]) == 2
    told = capsys.readouterr().err
    assert "this box knows no booking or job 'nobody': no bookings were fetched yet" in told
    assert "those of account local and camera 0 alone" in told


def test_the_command_tells_of_a_booking_that_was_only_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ezrec import settings

    monkeypatch.setenv("EZREC_HOME", str(tmp_path))
    cache = settings.load({"EZREC_HOME": str(tmp_path)}).booking_cache
    cache.parent.mkdir(parents=True, exist_ok=True)
    row = {"id": "b9", "date": "2020-01-01", "start_time": "10:00", "end_time": "11:00"}
    cache.write_text(json.dumps([row]))
    assert run(["explain", "b9"]) == 0
    assert "It was over before this box knew of it" in capsys.readouterr().out
