"""A job in whose record every field has a value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ezrec.domain.booking import Booking, Window
from ezrec.domain.job import Arrival, Fault, Job, JobOutcome, Kind, Result, Take
from ezrec.domain.names import JobId

T0 = datetime(2026, 7, 1, 16, tzinfo=UTC)
BOOKING = Booking(JobId("b1"), T0, T0 + timedelta(hours=1), "u1", "0", "confirmed")
TAKE = Take("raw_b1_20260701_180000.mp4", T0, 3600.04, 4_500_000_000, "end of the window")
FULL = Job(
    id=JobId("b1"),
    kind=Kind.BOOKING,
    created=T0,
    booking=BOOKING,
    due=T0,
    attempts={"record": 2, "upload": 9},
    recoveries=1,
    power_cuts=2,
    boot_id="7d0b",
    return_to="raw",
    held="by a person",
    errors=(Fault(T0, "upload", "retry", "no route – “host”", "wait"),),
    arrivals=(Arrival("raw", T0),),
    takes=(TAKE,),
    gaps=(Window(T0, T0 + timedelta(seconds=3)),),
    coverage_pct=99.9,
    recording=JobOutcome.PARTIAL,
    result=Result("processed_raw_b1_20260701_180000.mp4", 3610.04, 1, ("a", "b"), 10.0, ("no logo",)),
    outcome=JobOutcome.PUBLISHED,
    reason="why",
    remedy="what to do",
)
