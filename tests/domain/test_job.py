"""The record of a job: what goes in comes out, and nothing hostile comes out."""

# ruff: noqa: E501 - a case a word, a line as wide as it needs

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezrec.domain.booking import Booking
from ezrec.domain.job import (
    BadRecord,
    Fault,
    Job,
    Kind,
    Take,
    decode,
    encode,
)
from ezrec.domain.names import JobId
from tests.support.full_job import FULL, T0, TAKE


def test_a_full_record_comes_back_as_it_was() -> None:
    assert decode(encode(FULL)) == FULL


def test_the_least_record_comes_back_as_it_was() -> None:
    least = Job(JobId("a"), Kind.CLIP, T0)
    assert decode(encode(least)) == least


@given(st.text(), st.dictionaries(st.text(), st.integers(-(2**70), 2**70)), st.floats(0, 1e6))
def test_any_words_and_numbers_come_back_as_they_were(
    text: str, attempts: dict[str, int], seconds: float
) -> None:
    take = Take(TAKE.file, T0, seconds, 1, text)
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    job = Job(JobId("a"), Kind.CLIP, T0, attempts=attempts, reason=text, takes=(take,))
    assert decode(encode(job)) == job


def test_a_record_is_indented_for_the_person_who_opens_it() -> None:
    assert b'\n "id": "b1",\n' in encode(FULL)


def test_a_field_of_a_later_version_is_passed_over() -> None:
    assert decode(changed(tomorrow={"x": 1})) == FULL


def changed(**fields: Any) -> bytes:
    return json.dumps(json.loads(encode(FULL)) | fields).encode()


def with_take(**fields: Any) -> bytes:
    return changed(takes=[json.loads(encode(FULL))["takes"][0] | fields])


ESCAPES = [
    "../../etc/passwd", "/etc/passwd.mp4", "..", ".hidden.mp4", "a/b.mp4", "a\0.mp4", "a\n.mp4", "a.mp4\n", "",
    "-i.mp4", "concat:a|b.mp4", "x" * 300 + ".mp4", "job.json", "ü.mp4", " .mp4",
]  # fmt: skip


@pytest.mark.parametrize("name", ESCAPES)
def test_a_file_name_that_no_job_holds_is_refused(name: str) -> None:
    for data in (with_take(file=name), changed(result=json.loads(encode(FULL))["result"] | {"file": name})):
        with pytest.raises(BadRecord) as said:
            decode(data)
        assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0" * 900, b"null", b"[]", b"{}", b"7", b"{", encode(FULL)[:-40], b"\xff\xfe{}", b'"\xed\xa0\x80"',
        changed(id="../x"), changed(id="x" * 10_000), changed(id=5), changed(id=None), changed(id="a\n"),
        changed(kind="other"), changed(created="2026-07-01T00:00:00"), changed(created="soon"),
        changed(created=None), changed(due="2026-99-99"), changed(due=5), changed(attempts=[]),
        changed(attempts={"record": "two"}), changed(recoveries=1.5), changed(errors={}), changed(errors=[1]),
        changed(takes=[{}]), changed(booking={"id": "../x"}), changed(booking=[]), changed(outcome="won"),
        changed(booking=json.loads(encode(FULL))["booking"] | {"id": "../x"}),
        changed(coverage_pct="all"), with_take(duration_s=-1), with_take(duration_s=1e300), with_take(size=-1),
        encode(FULL).replace(b"99.9", b"NaN"), encode(FULL).replace(b"99.9", b"1e999"),
        encode(FULL).replace(b"99.9", b"Infinity"),
        b'{"x":' + b"[" * 100_000, b"[" * 100_000, b'{"x":' * 100_000,
        b'{"id":"a","kind":"clip","created":"2026-07-01T00:00:00Z","x":' + b"[" * 9999 + b"]" * 9999 + b"}",
    ],
)  # fmt: skip
def test_a_record_that_is_none_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(BadRecord) as said:
        decode(data)
    assert "\n" not in str(said.value)
    assert len(str(said.value)) < 300


@given(st.binary(max_size=200))
def test_any_bytes_give_a_record_or_a_refusal(data: bytes) -> None:
    with pytest.raises(BadRecord):
        decode(data)


@given(st.integers(0, len(encode(FULL)) - 1), st.integers(0, 255))
def test_one_wrong_byte_gives_a_record_or_a_refusal(at: int, byte: int) -> None:
    data = bytearray(encode(FULL))
    data[at] = byte
    try:
        job = decode(bytes(data))
    except BadRecord:
        return
    assert decode(encode(job)) == job


def test_a_job_is_due_at_its_time_and_never_while_it_is_held() -> None:
    job = Job(JobId("a"), Kind.CLIP, T0, due=T0)
    early = T0 - timedelta(microseconds=1)
    assert (job.is_due(early), job.is_due(T0)) == (False, True)
    assert Job(JobId("a"), Kind.CLIP, T0).is_due(early)
    assert not Job(JobId("a"), Kind.CLIP, T0, held="by a person").is_due(T0)


def test_a_wait_that_began_in_the_future_is_over_and_only_the_bookings_start_counts() -> None:
    """The clock ran hours or years ahead, put the job off for some seconds, and was set right."""
    ahead = T0 + timedelta(days=300)
    put_off = Job(JobId("a"), Kind.CLIP, T0, due=ahead + timedelta(seconds=30)).arrived("deferred", ahead)
    assert put_off.is_due(T0)
    assert not put_off.is_due(ahead)
    start = T0 + timedelta(hours=1)
    booked = replace(put_off, booking=Booking(JobId("a"), start, start + timedelta(hours=1)))
    assert not booked.is_due(T0)
    waits = booked.waits_until(T0)
    assert waits is not None
    assert start - timedelta(minutes=5) < waits < start
    assert not replace(put_off, held="by a person").is_due(T0)


def test_a_record_keeps_its_newest_faults_and_arrivals_and_stays_small() -> None:
    job = Job(JobId("a"), Kind.CLIP, T0)
    for n in range(500):
        job = job.with_fault(Fault(T0, "upload", "retry", f"{n} " + "x" * 400)).arrived("raw", T0)
    assert job.errors[-1].message.startswith("499 ")
    assert len(encode(job)) < 64 * 1024


def test_waiting_for_the_same_thing_is_told_once_with_its_newest_time() -> None:
    job, later = Job(JobId("a"), Kind.CLIP, T0), T0 + timedelta(hours=1)
    for at in (T0, later):
        job = job.with_fault(Fault(at, "upload", "waits", "no network"))
    assert job.errors == (Fault(later, "upload", "waits", "no network"),)
    assert len(job.with_fault(Fault(later, "upload", "waits", "no clock")).errors) == 2


def test_an_attempt_is_counted_before_the_work_and_can_be_taken_back() -> None:
    job = Job(JobId("a"), Kind.CLIP, T0, due=T0, reason="x", remedy="y").with_attempt("process", "boot")
    assert (job.attempts, job.boot_id, job.due, job.reason, job.remedy) == (
        {"process": 1},
        "boot",
        None,
        "",
        "",
    )
    assert job.without_attempt("process").attempts == {"process": 0}
    assert job.without_attempt("process").without_attempt("process").attempts == {"process": 0}


def test_a_take_ends_when_its_footage_does() -> None:
    assert TAKE.ended == T0 + timedelta(seconds=3600.04)
