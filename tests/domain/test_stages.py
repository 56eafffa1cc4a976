"""Every cell of the table: a stage, an outcome, and where the job goes with which record."""

# ruff: noqa: E501 - the table reads best one case a line

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezrec.domain.booking import Booking
from ezrec.domain.job import Fault, Job, JobOutcome, Kind, Result, Take
from ezrec.domain.names import JobId
from ezrec.domain.outcomes import (
    Closed,
    Crash,
    Crashed,
    Done,
    Interrupted,
    Outcome,
    Preserved,
    Rejected,
    RetryLater,
)
from ezrec.domain.stages import (
    CRASHES,
    DIRECTORIES,
    IN_HAND,
    LONGEST_WAIT_S,
    PROCESS,
    RECORD,
    RETRY,
    ROLES,
    STAGES,
    UPLOAD,
    Role,
    Stage,
    State,
    backoff_s,
    settle,
)

NOW = datetime(2026, 7, 1, 16, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
PLAYING = Booking(JobId("b1"), NOW - HOUR, NOW + HOUR)
OVER = Booking(JobId("b1"), NOW - 2 * HOUR, NOW - HOUR)
TAKE = Take("raw_b1_20260701_173000.mp4", NOW - HOUR, 3600.0, 5)
RESULT = Result(f"processed_{TAKE.file}", 3610.0, 6, ("x",))
S = State


def job(**fields: Any) -> Job:
    return Job(JobId("b1"), Kind.BOOKING, NOW - HOUR, boot_id="boot", **fields)


def died_at(at: datetime, times: int) -> tuple[Fault, ...]:
    return (Fault(at, "record", "died", "…"),) * times


@dataclass(frozen=True)
class Row:
    """`wait_s`: due so long after now at `chance` 0.5; None: no due time."""

    stage: Stage
    outcome: Outcome
    goes_to: State
    given: dict[str, Any] = field(default_factory=dict)
    wait_s: float | None = None
    expect: dict[str, Any] = field(default_factory=dict)


CUT, KILLED = Crashed(power_cut=True), Crashed(power_cut=False)
TABLE = {
    # ---- record
    "record done": Row(RECORD, Done(), S.RAW, {"recoveries": 2, "power_cuts": 2, "due": NOW},
                       expect={"recoveries": 0, "power_cuts": 0, "return_to": None, "outcome": None}),
    "record missed": Row(RECORD, Closed(JobOutcome.MISSED, "too late"), S.DONE,
                         expect={"outcome": JobOutcome.MISSED, "reason": "too late"}),
    "record cancelled": Row(RECORD, Closed(JobOutcome.CANCELLED, "by the front end"), S.DONE, {"due": NOW},
                            expect={"outcome": JobOutcome.CANCELLED}),
    "record kept": Row(RECORD, Preserved("cancelled", "publish it", NOW + HOUR), S.DEFERRED,
                       {"attempts": {"record": 1}, "recoveries": 2}, 3600,
                       {"reason": "cancelled", "remedy": "publish it", "return_to": "incoming",
                        "attempts": {"record": 0}, "recoveries": 0, "outcome": None}),
    "record later": Row(RECORD, RetryLater("no camera"), S.INCOMING, {"attempts": {"record": 1}}, 0.5,
                        {"reason": "no camera", "return_to": "incoming"}),
    "record later, often": Row(RECORD, RetryLater("no camera"), S.INCOMING, {"attempts": {"record": 500}}, 5.0),
    "record later, after": Row(RECORD, RetryLater("no camera", 7), S.INCOMING, {"attempts": {"record": 1}}, 7),
    "record no": Row(RECORD, Rejected("no such camera", "plug it in"), S.FAILED,
                     expect={"reason": "no such camera", "remedy": "plug it in", "return_to": "incoming"}),
    "record crash in play": Row(RECORD, Crash("bug"), S.INCOMING, {"booking": PLAYING, "recoveries": 99}, 5.0,
                                {"recoveries": 100}),
    "record crash after play": Row(RECORD, Crash("bug"), S.INCOMING, {"booking": OVER}, 0.5),
    "record crash after play, footage of a bad match": Row(
        RECORD, Crash("bug"), S.INCOMING,
        {"booking": OVER, "recoveries": 40, "errors": died_at(NOW - 1.5 * HOUR, 20)}, 5.0),
    "record crash after play, too often": Row(
        RECORD, Crash("bug"), S.FAILED,
        {"booking": OVER, "recoveries": 3, "errors": died_at(NOW - 0.5 * HOUR, 3)},
        expect={"reason": "bug (4 times)"}),
    "record crash without booking": Row(RECORD, Crash("bug"), S.FAILED, {"recoveries": 3}),
    "record killed in play": Row(RECORD, KILLED, S.INCOMING, {"booking": PLAYING},
                                 expect={"recoveries": 1, "attempts": {}}),
    "record killed in play, often": Row(RECORD, KILLED, S.INCOMING, {"booking": PLAYING, "recoveries": 9},
                                        expect={"recoveries": 10, "due": None}),
    "record killed after play": Row(RECORD, KILLED, S.INCOMING, {"booking": OVER}),
    "record killed after play, too often": Row(
        RECORD, KILLED, S.FAILED, {"booking": OVER, "recoveries": 3, "errors": died_at(NOW, 3)}),
    "record power cut": Row(RECORD, CUT, S.INCOMING, {"booking": PLAYING, "power_cuts": 99},
                            expect={"power_cuts": 100, "recoveries": 0}),
    "record laid down": Row(RECORD, Interrupted(), S.INCOMING, {"attempts": {"record": 3}},
                            expect={"attempts": {"record": 2}}),
    # ---- process
    "process done": Row(PROCESS, Done(), S.PROCESSED, {"recoveries": 3}, expect={"recoveries": 0, "outcome": None}),
    "process closed": Row(PROCESS, Closed(JobOutcome.REMOVED, "by hand"), S.DONE),
    "process later": Row(PROCESS, RetryLater("disk full"), S.DEFERRED, {"attempts": {"process": 1}}, 5,
                         {"return_to": "raw", "reason": "disk full"}),
    "process later, the second time": Row(PROCESS, RetryLater("disk full"), S.DEFERRED, {"attempts": {"process": 2}}, 10),
    "process later, the limit": Row(PROCESS, RetryLater("disk full"), S.FAILED, {"attempts": {"process": 3}},
                                    expect={"reason": "disk full (after 3 tries)", "return_to": "raw"}),
    "process later, past the limit": Row(PROCESS, RetryLater("x"), S.FAILED, {"attempts": {"process": 9}}),
    "process later, other stages' tries": Row(PROCESS, RetryLater("x"), S.DEFERRED,
                                              {"attempts": {"process": 1, "record": 9, "upload": 9}}, 5),
    "process waits": Row(PROCESS, RetryLater("no room", None, True), S.DEFERRED, {"attempts": {"process": 3}}, 5,
                         {"attempts": {"process": 2}}),
    "process no": Row(PROCESS, Rejected("no picture", "look at it"), S.FAILED, {"attempts": {"process": 1}},
                      expect={"return_to": "raw", "remedy": "look at it"}),
    "process crash": Row(PROCESS, Crash("bug"), S.DEFERRED, {}, 5, {"recoveries": 1, "return_to": "raw"}),
    "process crash, the third": Row(PROCESS, Crash("bug"), S.DEFERRED, {"recoveries": 2}, 20, {"recoveries": 3}),
    "process crash, the fourth": Row(PROCESS, Crash("bug"), S.FAILED, {"recoveries": 3},
                                     expect={"reason": "bug (4 times)", "return_to": "raw"}),
    "process killed": Row(PROCESS, KILLED, S.RAW, {}, expect={"recoveries": 1}),
    "process killed, the third": Row(PROCESS, KILLED, S.RAW, {"recoveries": 2}),
    "process killed, the fourth": Row(PROCESS, KILLED, S.FAILED, {"recoveries": 3}),
    "process power cut": Row(PROCESS, CUT, S.RAW, {"attempts": {"process": 2}},
                             expect={"power_cuts": 1, "attempts": {"process": 1}, "errors": ()}),
    "process power cut, the tenth": Row(PROCESS, CUT, S.RAW, {"power_cuts": 9}),
    "process power cut, the eleventh": Row(PROCESS, CUT, S.FAILED, {"power_cuts": 10}),
    "process laid down": Row(PROCESS, Interrupted(), S.RAW, {"attempts": {"process": 1}},
                             expect={"attempts": {"process": 0}, "errors": ()}),
    "process laid down before it began": Row(PROCESS, Interrupted(), S.RAW, {}, expect={"attempts": {"process": 0}}),
    # ---- upload
    "upload done": Row(UPLOAD, Done(), S.DONE, {"due": NOW}, expect={"outcome": JobOutcome.PUBLISHED}),
    "upload done, named": Row(UPLOAD, Done(), S.DONE, {"outcome": JobOutcome.REMOVED},
                              expect={"outcome": JobOutcome.REMOVED}),
    "upload closed": Row(UPLOAD, Closed(JobOutcome.CANCELLED, "x"), S.DONE,
                         expect={"outcome": JobOutcome.CANCELLED}),
    "upload later": Row(UPLOAD, RetryLater("no route"), S.DEFERRED, {"attempts": {"upload": 1}}, 2.5,
                        {"return_to": "processed"}),
    "upload later, for ever": Row(UPLOAD, RetryLater("no route"), S.DEFERRED, {"attempts": {"upload": 10_000}}, 450),
    "upload later, after": Row(UPLOAD, RetryLater("429", 33), S.DEFERRED, {"attempts": {"upload": 1}}, 33),
    "upload later, after less than nothing": Row(UPLOAD, RetryLater("429", -33), S.DEFERRED, {}, 0),
    "upload later, after an age": Row(UPLOAD, RetryLater("429", 1e300), S.DEFERRED, {}, LONGEST_WAIT_S),
    "upload later, after ever": Row(UPLOAD, RetryLater("429", math.inf), S.DEFERRED, {}, LONGEST_WAIT_S),
    "upload later, after nonsense": Row(UPLOAD, RetryLater("429", math.nan), S.DEFERRED, {"attempts": {"upload": 1}}, 2.5),
    "upload no": Row(UPLOAD, Rejected("413", "raise the limit"), S.FAILED, expect={"return_to": "processed"}),
    "upload crash": Row(UPLOAD, Crash("bug"), S.DEFERRED, {"recoveries": 2}, 10),
    "upload crash, the fourth": Row(UPLOAD, Crash("bug"), S.FAILED, {"recoveries": 3}),
    "upload killed": Row(UPLOAD, KILLED, S.PROCESSED, {}),
    "upload killed, often": Row(UPLOAD, KILLED, S.DEFERRED, {"recoveries": 99}, 450, {"return_to": "processed"}),
    "upload power cut": Row(UPLOAD, CUT, S.PROCESSED, {"power_cuts": 99}),
    "upload laid down": Row(UPLOAD, Interrupted(), S.PROCESSED, {"attempts": {"upload": 1}}),
    # ---- retry: whatever was the outcome, the job says itself where it goes
    **{f"retry {was} to {to}": Row(RETRY, was, to, {"return_to": str(to), "due": NOW, "reason": "x"},
                                   expect={"return_to": str(to), "reason": ""})
       for was in (Done(), KILLED, CUT, Interrupted(), Crash("bug"), RetryLater("x"), Rejected("x", "y"))
       for to in (S.INCOMING, S.RAW, S.PROCESSED)},
    # … and one that does not say goes where its content belongs
    **{f"retry to {to!r} with {what}": Row(RETRY, Done(), goes, {"return_to": to, "due": NOW, **given})
       for to in (None, "", "nowhere", "../raw", "RAW", "deferred", "failed", "done", "recording", "processing")
       for what, goes, given in (
           ("a finished video", S.PROCESSED, {"takes": (TAKE,), "result": RESULT}),
           ("a take", S.RAW, {"takes": (TAKE,)}),
           ("a booking alone", S.INCOMING, {"booking": PLAYING}),
           ("nothing known", S.RAW, {}),
       )},
}  # fmt: skip


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE.keys())
def test_the_table(row: Row) -> None:
    state, after = settle(row.stage, job(**row.given), row.outcome, NOW, 0.5)
    assert state is row.goes_to
    wait_s = None if after.due is None else (after.due - NOW).total_seconds()
    assert wait_s == row.wait_s
    for name, value in row.expect.items():
        assert getattr(after, name) == value, name
    assert after.boot_id == "", "nobody has it in hand any more"
    assert after.arrivals[-1].state == state
    if state is S.FAILED:
        assert after.reason
        assert "b1" in after.remedy or isinstance(row.outcome, Rejected)


def test_no_cell_is_missing() -> None:
    outcomes = {Done, Closed, RetryLater, Rejected, Crash, Crashed, Interrupted}
    tested = {(row.stage.name, type(row.outcome)) for row in TABLE.values()}
    assert {(name, outcome) for name in STAGES for outcome in outcomes} - tested == {("retry", Closed)}


TIMES = st.integers(0, 6_000_000_000).map(lambda s: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=s))
JOBS = st.builds(
    Job,
    id=st.just(JobId("b1")),
    kind=st.sampled_from(Kind),
    created=TIMES,
    booking=st.none() | TIMES.map(lambda t: Booking(JobId("b1"), t, t + HOUR)),
    due=st.none() | TIMES,
    attempts=st.dictionaries(st.sampled_from([*STAGES, "other"]), st.integers(-5, 10**30)),
    recoveries=st.integers(-5, 10**30),
    power_cuts=st.integers(-5, 10**30),
    boot_id=st.text(),
    return_to=st.none() | st.text() | st.sampled_from(State).map(str),
    held=st.sampled_from(["", "by a person"]),
    errors=st.lists(
        st.builds(Fault, TIMES, st.sampled_from(list(STAGES)), st.text(), st.text()), max_size=3
    ).map(tuple),
    outcome=st.none() | st.sampled_from(JobOutcome),
)
OUTCOMES = st.one_of(
    st.builds(Done), st.builds(Closed, st.sampled_from(JobOutcome), st.text()),
    st.builds(RetryLater, st.text(), st.none() | st.floats(), st.booleans()), st.builds(Rejected, st.text(), st.text()),
    st.builds(Crash, st.text()), st.builds(Crashed, st.booleans()), st.builds(Interrupted),
)  # fmt: skip
CHANCES = st.floats(0, 1, exclude_max=True)


@given(st.sampled_from(list(STAGES.values())), JOBS, OUTCOMES, TIMES, CHANCES)
def test_any_outcome_of_any_job_is_settled_as_the_table_allows(
    stage: Stage, before: Job, outcome: Outcome, now: datetime, chance: float
) -> None:
    state, after = settle(stage, before, outcome, now, chance)
    assert settle(stage, before, outcome, now, chance) == (state, after), "the same facts, the same answer"
    allowed = {stage.takes_from, stage.success, stage.later, S.FAILED}
    if isinstance(outcome, Closed):
        allowed = {S.DONE}
    if stage is RETRY:
        allowed = {S.INCOMING, S.RAW, S.PROCESSED}
    assert state in allowed
    assert state not in IN_HAND
    assert (
        after.due is None
        or now <= after.due <= now + timedelta(seconds=LONGEST_WAIT_S)
        or after.due == before.due
    )
    assert after.boot_id == ""
    kept = (
        "id",
        "kind",
        "created",
        "booking",
        "held",
        "takes",
        "gaps",
        "coverage_pct",
        "recording",
        "result",
    )
    assert all(getattr(after, name) == getattr(before, name) for name in kept)
    if state is S.FAILED and stage is not RETRY:
        assert after.return_to == stage.takes_from, "a person can send it back"


@given(st.sampled_from(list(STAGES.values())), JOBS, OUTCOMES, TIMES)
def test_attempts_are_never_lost(stage: Stage, before: Job, outcome: Outcome, now: datetime) -> None:
    _, after = settle(stage, before, outcome, now, 0.5)
    mine = stage.name
    others = {name: n for name, n in before.attempts.items() if name != mine}
    assert {name: n for name, n in after.attempts.items() if name != mine} == others
    given_back = isinstance(outcome, Interrupted) or outcome in (CUT, replace_blame(outcome))
    had = before.attempts.get(mine, 0)
    assert after.attempts.get(mine, 0) in ({had, max(0, had - 1)} if given_back else {had})


def replace_blame(outcome: Outcome) -> Outcome | None:
    return replace(outcome, blameless=True) if isinstance(outcome, RetryLater) else None


@given(st.integers(), st.floats(0.1, 100), st.floats(100, 10_000), CHANCES)
def test_a_backoff_is_never_shorter_than_half_a_second_nor_longer_than_its_cap(
    n: int, base_s: float, cap_s: float, chance: float
) -> None:
    wait_s = backoff_s(n, base_s, cap_s, chance)
    assert 0.5 <= wait_s <= cap_s
    assert wait_s <= max(0.5, base_s * 2 ** max(0, min(n, 40) - 1))


def test_a_backoff_doubles_until_its_cap() -> None:
    almost = 1 - 2**-53
    assert [round(backoff_s(n, 5, 900, almost)) for n in range(1, 11)] == [
        5, 10, 20, 40, 80, 160, 320, 640, 900, 900,
    ]  # fmt: skip


def test_a_job_that_crashes_every_time_reaches_a_person_in_the_end() -> None:
    state, mine = S.RAW, job()
    for _ in range(CRASHES):
        state, mine = settle(PROCESS, mine.with_attempt("process", "boot"), Crash("bug"), NOW, 0.5)
        assert state is S.DEFERRED
    state, mine = settle(PROCESS, mine.with_attempt("process", "boot"), Crash("bug"), NOW, 0.5)
    assert state is S.FAILED
    assert [fault.kind for fault in mine.errors] == ["crash"] * (CRASHES + 1)


def test_power_cuts_do_not_use_up_the_tries_of_a_job() -> None:
    mine = job()
    for _ in range(5):
        _, mine = settle(PROCESS, mine.with_attempt("process", "boot"), CUT, NOW, 0.5)
    state, mine = settle(PROCESS, mine.with_attempt("process", "boot"), RetryLater("disk full"), NOW, 0.5)
    assert state is S.DEFERRED


def test_every_directory_has_a_meaning_and_every_stage_takes_from_one() -> None:
    assert set(ROLES) == set(DIRECTORIES)
    for stage in STAGES.values():
        assert stage.takes_from in DIRECTORIES
        assert ROLES[stage.works_in][0] is Role.IN_HAND or stage.works_in is stage.takes_from
