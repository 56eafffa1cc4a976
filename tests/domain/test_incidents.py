"""What went wrong with recordings and videos: the words for it, the incidents, the last day in one line."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ezrec.domain.booking import Booking
from ezrec.domain.incidents import Day, Digest, called, day, digest, incidents_of, left_out, percent
from ezrec.domain.job import Job, JobOutcome, Kind, Result
from ezrec.domain.names import safe_id
from ezrec.processing.passthrough import NOTE

NOW = datetime(2026, 6, 1, 18, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
BRANDED = ("raw_b1.mp4:5", "intro:/cache/intro.mp4", "logo:/cache/logo.png")
PLAIN = ("raw_b1.mp4:5", "intro:None", "logo:None")


def job(job_id: str = "b1", *notes: str, made_from: tuple[str, ...] = BRANDED, **changes: Any) -> Job:
    booking = Booking(safe_id(job_id), NOW - 3 * HOUR, NOW - 2 * HOUR, "u1")
    made = Job(safe_id(job_id), Kind.BOOKING, NOW - 4 * HOUR, booking)
    made = made.arrived("raw", NOW - 2 * HOUR)
    result = Result("processed_b1.mp4", 3600.0, 6, made_from, notes=notes) if notes else None
    return replace(made, **{"result": result, **changes})


def done(job_id: str, outcome: JobOutcome, *notes: str, **changes: Any) -> Job:
    return job(job_id, *notes, outcome=outcome, **changes).arrived("done", NOW - HOUR)


@pytest.mark.parametrize(
    ("note", "made_from", "lacks"),
    [
        ("published without the logo: it is no picture; copy it again", BRANDED, ("logo",)),
        ("published without the intro: it is damaged; copy it again", BRANDED, ("intro",)),
        ("published without the sponsor: it is empty; copy it again", BRANDED, ("sponsor",)),
        ("published without the sponsor's logo 'u/logo/x.png': not there", PLAIN, ("sponsor",)),
        ("published without the logo 'u/intro/logo.png': not there", PLAIN, ("logo",)),
        ("published without intro and logo: FFmpeg was killed", BRANDED, ("intro", "logo")),
        ("published without intro and sponsors' logos: x", BRANDED, ("intro", "sponsor")),
        (NOTE, BRANDED, ("intro", "logo")),
        (NOTE, PLAIN, ()),  # nothing was to be put in
        ("the sound of take 1 is left out", BRANDED, ()),
        ("slow to open: it is in fragments still", BRANDED, ()),
    ],
)
def test_what_a_video_lacks_is_read_from_its_notes(
    note: str, made_from: tuple[str, ...], lacks: tuple[str, ...]
) -> None:
    assert left_out(job("b1", note, made_from=made_from)) == lacks


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (job(), ()),
        (job(recording=JobOutcome.PARTIAL, coverage_pct=41.97), ("partial (41.9 %)",)),
        (job(recording=JobOutcome.PARTIAL), ("partial",)),
        (job(recording=JobOutcome.CANCELLED), ("cancelled",)),
        (done("b1", JobOutcome.MISSED), ("missed",)),
        (done("b1", JobOutcome.PUBLISHED, "published without the logo: x"), ("without logo",)),
        (
            done("b1", JobOutcome.PUBLISHED, NOTE, recording=JobOutcome.PARTIAL, coverage_pct=99.99),
            ("partial (99.9 %)", "without intro and logo"),
        ),
    ],
)
def test_a_job_is_called_what_it_is(found: Job, words: tuple[str, ...]) -> None:
    assert called(found) == words


def test_a_share_is_never_rounded_up_to_all_of_it() -> None:
    assert [percent(job(coverage_pct=share)) for share in (99.96, 100.0, 0.04)] == [
        "99.9 %",
        "100.0 %",
        "0.0 %",
    ]


def test_an_incident_says_what_why_and_what_to_type() -> None:
    (missed,) = incidents_of(done("b1", JobOutcome.MISSED, reason="no camera during the whole booking"))
    assert missed.text == "booking b1 was missed: no camera during the whole booking"
    assert missed.remedy == "why: ezrec explain b1; once you know: ezrec alerts clear missed-b1"
    (partial,) = incidents_of(job(recording=JobOutcome.PARTIAL, coverage_pct=41.9, missing_s=2091.0))
    assert partial.text == "booking b1 was recorded in part: 41.9 % of it is there, 2091 s are missing"
    (bare,) = incidents_of(done("b1", JobOutcome.PUBLISHED, "published without the logo: no picture"))
    assert bare.text == "the video of b1 is without logo: no picture"


@pytest.mark.parametrize("outcome", [JobOutcome.REMOVED, JobOutcome.CANCELLED, JobOutcome.PUBLISHED])
def test_what_a_person_wanted_is_no_incident(outcome: JobOutcome) -> None:
    assert list(incidents_of(done("b1", outcome))) == []


def test_a_part_that_a_person_removed_is_no_incident_any_more() -> None:
    assert list(incidents_of(done("b1", JobOutcome.REMOVED, recording=JobOutcome.PARTIAL))) == []


def digests(*jobs: Job) -> list[Digest]:
    return [found for one in jobs if (found := digest(one)) is not None]


def test_the_last_day_is_one_line() -> None:
    jobs = [done(f"b{n}", JobOutcome.PUBLISHED) for n in range(2)]
    jobs += [done(f"c{n}", JobOutcome.PUBLISHED, "published without the logo: x") for n in range(2)]
    jobs.append(done("d", JobOutcome.PUBLISHED, recording=JobOutcome.PARTIAL, coverage_pct=41.9))
    jobs.append(done("e", JobOutcome.MISSED))
    logs = replace(done("logs-1", JobOutcome.PUBLISHED), kind=Kind.LOGS)
    found = day(digests(*jobs, logs), NOW)
    assert found.words == "5 published, 1 partial (41.9 %), 1 missed, 2 without logo"
    assert found.is_bad


def test_a_day_ends_after_a_day_and_holds_what_is_still_on_its_way() -> None:
    partial = job(recording=JobOutcome.PARTIAL, coverage_pct=50.0)
    assert day(digests(partial), NOW).words == "0 published, 1 partial (50.0 %)"
    assert day(digests(partial), NOW + 23 * HOUR) == Day()
    assert day(digests(done("b1", JobOutcome.PUBLISHED)), NOW - 2 * HOUR) == Day(), "that is to come"


def test_of_many_parts_some_shares_are_named() -> None:
    jobs = [job(f"b{n}", recording=JobOutcome.PARTIAL, coverage_pct=50.0 + n) for n in range(5)]
    assert day(digests(*jobs), NOW).words == "0 published, 5 partial (50.0 %, 51.0 %, 52.0 %, …)"
