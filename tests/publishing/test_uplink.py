"""Uploads that have to wait: where they wait, what is told of it, and what lets them go on."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ezrec import settings
from ezrec.app import common, services
from ezrec.cli.next_step import next_step
from ezrec.cloud.connectivity import Connectivity, WakeOnReturn
from ezrec.cloud.supabase.connection import Connection
from ezrec.cloud.supabase.credentials import Credentials
from ezrec.domain.alerts import judge
from ezrec.domain.booking import Booking
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.job import Kind, Result
from ezrec.domain.machine import Machine
from ezrec.domain.names import safe_id
from ezrec.domain.outcomes import Done
from ezrec.domain.stages import State
from ezrec.domain.upload_schedule import Hours, Wait, read_hours, upload_order
from ezrec.monitoring.collect import collect
from ezrec.monitoring.log_upload import LogCollector
from ezrec.publishing.policy import UploadPolicy
from ezrec.publishing.upload import archive, upload
from ezrec.spool.spool import Entry, Spool
from ezrec.system.task import Task
from tests.fakes.backend import FakeBackend
from tests.fakes.clock import StandingClock
from tests.faults.chaos import ChaosProxy, Cut, Portal
from tests.support.stagework import a_drain, a_spool, put, read, where
from tests.support.wait import LIMIT_S, eventually

ZONE = ZoneInfo("Europe/Madrid")
NOON = datetime(2026, 6, 1, 12, 0, tzinfo=ZONE).astimezone(UTC)
NIGHT = read_hours("22:00-07:00")
ALWAYS = Hours()
VIDEO = b"a finished video"


class Pieces(FakeBackend):
    """Stores in four pieces; `between` is called after each, as time goes by."""

    def __init__(self, between: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.between = between

    def store(
        self, bucket: str, key: str, source: Path, progress: Any, *, state: Path | None = None, **options: Any
    ) -> bool:
        if state is None:  # small, and sent in one
            return super().store(bucket, key, source, progress, **options)
        sent = int(state.read_text()) if state.exists() else 0
        for number in range(sent, 4):
            state.write_text(str(number + 1))
            self.between()
            if number < 3:
                progress((number + 1) / 4)
        stored = super().store(bucket, key, source, lambda _: None, state=state, **options)
        progress(1.0)
        return stored


class Court:
    """A spool with an upload stage and a retry stage behind one policy."""

    def __init__(
        self, root: Path, hours: Hours = ALWAYS, *, while_recording: bool = True, now: datetime = NOON
    ) -> None:
        self.spool: Spool = a_spool(root)
        self.clock = StandingClock(now)
        self.connectivity = Connectivity(root / "reach")
        self.policy = UploadPolicy(
            self.spool, self.clock, ZONE, hours, while_recording, self.connectivity.is_offline
        )
        self.cloud = Pieces()

    def finished(self, name: str, start: datetime = NOON, video: bytes = VIDEO) -> Entry:
        booking = Booking(safe_id(name), start, start + timedelta(hours=1), "user-1", "0")
        made = Result(f"{name}.mp4", 10.0, len(video), ("x",))
        entry = put(self.spool, State.PROCESSED, name, kind=Kind.BOOKING, booking=booking, result=made)
        (entry.path / made.file).write_bytes(video)
        return entry

    def records(self, minutes: float) -> Entry:
        begins = self.clock.now()
        booking = Booking(safe_id("now"), begins, begins + timedelta(minutes=minutes), "user-1", "0")
        return put(self.spool, State.RECORDING, "now", kind=Kind.BOOKING, booking=booking)

    def upload(self) -> None:
        a_drain("upload", self.spool, self._handle, clock=self.clock, order=upload_order).run()

    def _handle(self, entry: Entry, task: Task) -> Done:
        return upload(
            entry,
            task,
            backend=self.cloud,
            clock=self.clock,
            zone=ZONE,
            user_id="user-1",
            camera_id="0",
            log=logging.getLogger("test"),
            check_policy=self.policy.check,
        )

    def retry(self) -> float | None:
        return a_drain("retry", self.spool, clock=self.clock, come=self.policy.ended_waits).run()


def test_outside_the_hours_a_video_waits_with_the_reason_and_the_time(tmp_path: Path) -> None:
    court = Court(tmp_path, NIGHT)
    court.finished("match")
    court.upload()
    job = read(court.spool, "match")
    assert where(court.spool) == {"match": "deferred"}
    assert job.due == datetime(2026, 6, 1, 22, 0, tzinfo=ZONE)
    assert job.attempts["upload"] == 0, "nobody is to blame"
    seen = next_step(job, "deferred", court.clock.now())
    assert seen.at == job.due
    assert "22:00-07:00" in seen.why
    assert seen.cure == "set by EZREC_UPLOAD_WINDOW", "a retry would only come back"


def test_when_the_hours_begin_it_is_uploaded(tmp_path: Path) -> None:
    court = Court(tmp_path, NIGHT)
    court.finished("match")
    court.upload()
    assert court.retry() == pytest.approx(10 * 3600)
    court.clock.pass_time(10 * 3600)
    court.retry()
    court.upload()
    assert where(court.spool) == {"match": "done"}


def test_hours_that_were_widened_let_go_on_at_once(tmp_path: Path) -> None:
    court = Court(tmp_path, NIGHT)
    court.finished("match")
    court.upload()
    court.policy = UploadPolicy(
        court.spool, court.clock, ZONE, read_hours("11:00-14:00"), True, court.connectivity.is_offline
    )
    court.retry()
    assert where(court.spool) == {"match": "processed"}


def test_an_upload_pauses_where_its_hours_end_and_goes_on_from_there(tmp_path: Path) -> None:
    court = Court(tmp_path, NIGHT, now=datetime(2026, 6, 2, 6, 59, tzinfo=ZONE).astimezone(UTC))
    court.cloud.between = lambda: court.clock.pass_time(40)
    court.finished("match")
    court.upload()
    job = read(court.spool, "match")
    assert job.due == datetime(2026, 6, 2, 22, 0, tzinfo=ZONE)
    state = court.spool.directory(State.DEFERRED) / "match" / "upload.json"
    assert state.read_text() == "2", "what was sent is kept"
    assert court.cloud.objects == {}
    court.clock.pass_time(15 * 3600 + 60)
    court.retry()
    court.upload()
    assert where(court.spool) == {"match": "done"}


def closing_with_the_last_piece(court: Court) -> None:
    """The night ends while the last piece is sent."""
    sent: list[int] = []

    def last_minute() -> None:
        sent.append(1)
        if len(sent) == 4:
            court.clock.pass_time(120)

    court.cloud.between = last_minute


def test_what_arrived_with_the_last_piece_is_told_whatever_the_hour(tmp_path: Path) -> None:
    court = Court(tmp_path, NIGHT, now=datetime(2026, 6, 2, 6, 59, tzinfo=ZONE).astimezone(UTC))
    court.finished("match")
    closing_with_the_last_piece(court)
    court.upload()
    assert where(court.spool) == {"match": "done"}
    assert len(court.cloud.video_rows) == 1


def test_what_accompanies_a_video_goes_with_it_whatever_the_hour(tmp_path: Path) -> None:
    court = Court(tmp_path, NIGHT, now=datetime(2026, 6, 2, 6, 59, tzinfo=ZONE).astimezone(UTC))
    entry = court.finished("match")
    (entry.path / "artefacts").mkdir()
    (entry.path / "artefacts" / "poster.jpg").write_bytes(b"a poster")
    closing_with_the_last_piece(court)
    court.upload()
    assert where(court.spool) == {"match": "done"}
    assert ("videos", "user-1", "artefacts", "match", "poster.jpg") in court.cloud.objects


def test_where_so_set_an_upload_makes_way_for_a_recording_within_a_piece(tmp_path: Path) -> None:
    court = Court(tmp_path, while_recording=False)
    recordings: list[Entry] = []

    def whistle() -> None:
        if not recordings:
            recordings.append(court.records(minutes=60))

    court.cloud.between = whistle
    court.finished("match")
    court.upload()
    job = read(court.spool, "match")
    assert where(court.spool)["match"] == "deferred"
    assert job.due == NOON + timedelta(minutes=60)
    assert "recording" in job.reason
    court.retry()
    assert where(court.spool)["match"] == "deferred"
    court.spool.move(recordings[0], State.RAW)  # called off after ten minutes
    court.clock.pass_time(600)
    court.retry()
    court.upload()
    assert where(court.spool) == {"match": "done", "now": "raw"}


def test_by_default_a_recording_holds_nothing(tmp_path: Path) -> None:
    court = Court(tmp_path)
    court.records(minutes=60)
    court.finished("match")
    court.upload()
    assert where(court.spool)["match"] == "done"


def test_log_archives_keep_no_hours(tmp_path: Path) -> None:
    court = Court(tmp_path, NIGHT)
    put(court.spool, State.PROCESSED, "logs", kind=Kind.LOGS)
    a_drain("upload", court.spool, clock=court.clock).run()
    assert where(court.spool) == {"logs": "done"}


def test_when_the_network_is_back_all_that_waited_for_it_goes_on_at_once(tmp_path: Path) -> None:
    court = Court(tmp_path)
    for name in ("a", "b", "c"):
        court.finished(name)
    put(court.spool, State.DEFERRED, "other", created=NOON, due=NOON + timedelta(hours=1), return_to="raw")
    court.connectivity.mark_offline()
    court.cloud.fail_next(3, Retry("no connection", 900, waits_for=Wait.NETWORK), "whose")
    court.upload()
    court.retry()
    assert where(court.spool) == dict.fromkeys(("a", "b", "c", "other"), "deferred")
    court.connectivity.mark_online()
    court.retry()
    assert where(court.spool) == {**dict.fromkeys(("a", "b", "c"), "processed"), "other": "deferred"}
    assert read(court.spool, "a").waits_for == ""


def test_a_match_that_comes_meanwhile_goes_before_the_backlog(tmp_path: Path) -> None:
    court, order = Court(tmp_path), []
    for hour in range(3):
        court.finished(f"old-{hour}", NOON - timedelta(hours=10 - hour))

    def slow(entry: Entry, task: Task) -> Done:
        order.append(str(entry.id))
        court.clock.pass_time(600)
        if len(order) == 1:
            court.finished("new", NOON)
        return Done()

    a_drain("upload", court.spool, slow, clock=court.clock, order=upload_order).run()
    assert order == ["old-2", "new", "old-1", "old-0"]


def test_the_end_of_an_outage_is_an_event_for_the_services(tmp_path: Path) -> None:
    # A rescan every hour: what happens within seconds was not found by looking.
    chosen = replace(settings.load({"EZREC_HOME": str(tmp_path), "TZ": "UTC"}), rescan_s=3600)
    spool, connectivity = common.spool(chosen), Connectivity(chosen.reach)
    connectivity.mark_offline()
    later = datetime.now(UTC) + timedelta(hours=1)
    put(spool, State.DEFERRED, "match", due=later, return_to="processed", waits_for=Wait.NETWORK)
    running = services.build(chosen, ["retry"])
    is_ready = threading.Event()
    thread = threading.Thread(target=running.run, args=(is_ready.set, lambda: None, 3600.0))
    thread.start()
    try:
        assert is_ready.wait(LIMIT_S)
        assert where(spool) == {"match": "deferred"}
        connectivity.mark_online()
        assert eventually(lambda: where(spool) == {"match": "processed"})
    finally:
        running.stop()
        thread.join(LIMIT_S)
    assert not thread.is_alive()


def test_the_lanes_that_pause_are_woken_when_the_cloud_is_there_again_and_not_without_end(
    tmp_path: Path,
) -> None:
    chosen = settings.load({"EZREC_HOME": str(tmp_path), "TZ": "UTC"})
    connectivity = Connectivity(chosen.reach)
    woken: list[str] = []
    came = WakeOnReturn(
        connectivity, common.clock(chosen), [lambda: woken.append("retry")], [lambda: woken.append("sync")]
    )
    connectivity.mark_offline()
    came()
    assert woken == [], "its loss is an event in the same folder"
    connectivity.mark_online()
    came()
    assert woken == ["retry", "sync"]
    for _ in range(9):  # one lane gets through, and another does not
        connectivity.mark_offline()
        came()
        connectivity.mark_online()
        came()
    assert woken == ["retry", "sync", *["retry"] * 9]


def test_a_lane_that_pauses_for_the_network_looks_as_soon_as_it_is_back(tmp_path: Path) -> None:
    environ = {"EZREC_HOME": str(tmp_path), "TZ": "UTC", "EZREC_BACKEND": "local", "USER_ID": "user-1"}
    chosen = settings.load({**environ, "BOOKING_FETCH_INTERVAL": "3600"})
    common.spool(chosen)
    connectivity = Connectivity(chosen.reach)
    connectivity.mark_offline()
    running = services.build(chosen, ["sync"])
    is_ready = threading.Event()
    thread = threading.Thread(target=running.run, args=(is_ready.set, lambda: None, 3600.0))
    thread.start()
    try:
        assert is_ready.wait(LIMIT_S)
        assert eventually(chosen.booking_cache.exists)  # its first look
        chosen.booking_cache.unlink()
        connectivity.mark_online()
        assert eventually(chosen.booking_cache.exists)
    finally:
        running.stop()
        thread.join(LIMIT_S)
    assert not thread.is_alive()


def test_one_that_comes_during_an_upload_overtakes_it_at_the_next_piece(tmp_path: Path) -> None:
    court = Court(tmp_path)
    old = court.finished("old", NOON - timedelta(days=1))
    stored: list[str] = []
    sent: list[int] = []

    def between() -> None:
        sent.append(len(court.cloud.objects))
        court.clock.pass_time(600)
        if len(sent) == 2:
            court.finished("new", NOON)
        if len(sent) == 3:
            court.finished("older", NOON - timedelta(days=2))  # waits its turn

    court.cloud.between = between
    court.upload()
    stored = [path for _, path in (key[:2] for key in court.cloud.video_rows)]
    assert stored == ["new.mp4", "old.mp4", "older.mp4"]
    assert len(sent) == 12, "no piece was sent twice"
    assert read(court.spool, str(old.id)).attempts["upload"] == 1


def test_one_that_comes_between_the_look_and_the_upload_goes_first_too(tmp_path: Path) -> None:
    court = Court(tmp_path)
    order = court.policy.order
    for day in range(1, 4):
        court.finished(f"day-{day}", NOON - timedelta(days=day))

    def handle(entry: Entry, task: Task) -> Done:
        if not court.spool.names(State.RAW) and entry.id == "day-1":
            put(court.spool, State.RAW, "mark")
            court.finished("new", NOON)
        return court._handle(entry, task)

    a_drain("upload", court.spool, handle, clock=court.clock, order=order).run()
    stored = [name for _, name in court.cloud.video_rows]
    assert stored == ["new.mp4", "day-1.mp4", "day-2.mp4", "day-3.mp4"]


# ---- whether the cloud can be reached


def ask(connection: Connection) -> None:
    connection.call("asking", lambda: connection.http.get(f"{connection.credentials.url}/rest/v1/bookings"))


def a_connection(url: str, connectivity: Connectivity) -> Connection:
    return Connection(
        Credentials(url, "sb_publishable_x"), connect_s=5, silence_s=5, connectivity=connectivity
    )


def test_a_connection_that_cannot_be_made_waits_for_the_network(tmp_path: Path) -> None:
    connectivity = Connectivity(tmp_path / "reach")
    connection = a_connection("http://127.0.0.1:1", connectivity)
    with pytest.raises(Retry) as caught:
        ask(connection)
    connection.close()
    assert caught.value.waits_for == Wait.NETWORK
    assert connectivity.is_offline()


def test_one_that_broke_off_does_not(tmp_path: Path) -> None:
    connectivity = Connectivity(tmp_path / "reach")
    with ChaosProxy(1, [Portal()] * 5) as other, ChaosProxy(other.port, [Cut(20)] * 5) as proxy:
        connection = a_connection(proxy.url, connectivity)
        with pytest.raises(Retry) as caught:
            ask(connection)
        connection.close()
    assert caught.value.waits_for == ""
    assert not connectivity.is_offline()


def test_the_page_of_a_guest_network_is_not_the_cloud(tmp_path: Path) -> None:
    connectivity = Connectivity(tmp_path / "reach")
    with ChaosProxy(1, [Portal()] * 5) as proxy:
        connection = a_connection(proxy.url, connectivity)
        with pytest.raises(Retry) as caught:
            ask(connection)
        connection.close()
    assert caught.value.waits_for == Wait.NETWORK
    assert connectivity.is_offline()


def test_any_answer_of_the_cloud_ends_it_also_a_refusal(tmp_path: Path) -> None:
    connectivity = Connectivity(tmp_path / "reach")
    connectivity.mark_offline()

    def refused() -> None:
        from ezrec.cloud.supabase.errors import CloudError

        raise CloudError(413, "EntityTooLarge", "too large")

    connection = a_connection("http://127.0.0.1:1", connectivity)
    with pytest.raises(Reject):
        connection.call("asking", refused)
    assert not connectivity.is_offline()
    assert (connectivity.folder / "online").exists(), "its coming is the event"


def test_a_disk_that_cannot_be_written_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    connectivity = Connectivity(tmp_path / "file")
    connectivity.mark_offline()
    connectivity.mark_online()
    assert not connectivity.is_offline()


def test_an_upload_whose_address_ends_soon_is_not_overtaken(tmp_path: Path) -> None:
    court = Court(tmp_path)
    order = court.policy.order
    court.finished("old", NOON - timedelta(days=1))
    sent: list[int] = []

    def between() -> None:
        sent.append(1)
        if len(sent) == 1:  # as the backend writes it down
            entry = court.spool.read(State.PROCESSED, "old")
            place = {
                "url": "x",
                "expires": (court.clock.now() + timedelta(minutes=20)).isoformat(),
                "size": 9,
            }
            (entry.path / "upload.json").write_text(json.dumps(place))
        if len(sent) == 2:
            court.finished("new", NOON)

    class Noted(Pieces):
        """Keeps its count in a file of its own."""

        def store(self, *args: Any, state: Path | None = None, **more: Any) -> bool:
            count = state.with_name("count") if state else None
            return super().store(*args, state=count, **more)

    court.cloud = Noted(between)
    a_drain("upload", court.spool, court._handle, clock=court.clock, order=order).run()
    assert [name for _, name in court.cloud.video_rows] == ["old.mp4", "new.mp4"]


# ---- what is cured in the cloud


TOO_LARGE = Reject("uploading a.mp4: 413 EntityTooLarge", "raise the size limit", again_s=900)


def test_what_is_cured_in_the_cloud_waits_for_it_and_is_told_and_goes_on_by_itself(tmp_path: Path) -> None:
    court = Court(tmp_path)
    for name in ("a", "b"):
        court.finished(name)
    court.cloud.fail_next(2 * 3, TOO_LARGE, "store")
    for _ in range(3):
        court.upload()
        assert where(court.spool) == {"a": "deferred", "b": "deferred"}
        job = read(court.spool, "a")
        assert job.due == court.clock.now() + timedelta(minutes=15)
        assert (job.attempts["upload"], len(job.errors)) == (0, 1), "said once, however often it is tried"
        seen = next_step(job, "deferred", court.clock.now())
        assert "413" in seen.why
        assert "raise the size limit" in seen.cure
        court.clock.pass_time(901)
        court.retry()
    court.upload()
    assert where(court.spool) == {"a": "done", "b": "done"}


def test_a_job_that_waits_for_a_cure_is_an_alert_and_no_stopped_upload(tmp_path: Path) -> None:
    court = Court(tmp_path)
    court.finished("a", NOON - timedelta(days=1))
    court.cloud.fail_next(1, TOO_LARGE, "store")
    court.upload()
    chosen = settings.load({"EZREC_HOME": str(tmp_path), "TZ": "UTC"})
    court.clock.pass_time(24 * 3600)
    seen = collect(court.spool, chosen, court.clock, Machine(uptime_s=9000.0))
    facts = replace(seen, cloud_reached_at=seen.at, clock_synchronised=True)
    raised = judge(facts, ()).raised
    assert [alert.name for alert in raised] == ["upload_blocked"]
    assert "413" in raised[0].message
    assert "raise the size limit" in raised[0].message


@pytest.mark.parametrize("kind", ["waits", "failed"])
def test_logs_that_cannot_be_sent_make_one_job_and_not_one_an_interval(tmp_path: Path, kind: str) -> None:
    chosen = settings.load({"EZREC_HOME": str(tmp_path), "TZ": "UTC", "EZREC_BACKEND": "local"})
    court = Court(tmp_path)
    chosen.logs.mkdir(parents=True)
    fault = Reject("bucket not found", "create it", again_s=900 if kind == "waits" else None)
    court.cloud.fail_next(1000, fault, "whose")
    collect = LogCollector(court.spool, court.clock, chosen, logging.getLogger("test"))

    def handle(entry: Entry, task: Task) -> Done:
        return archive(entry, task, backend=court.cloud, bucket="logs", camera_id="0", log=collect.log)

    def a_quarter() -> None:
        with (chosen.logs / "recorder.log").open("a") as file:
            file.write("2026-06-01 12:00:00,000 - INFO - a line\n")
        collect()
        a_drain("upload", court.spool, handle, clock=court.clock).run()
        court.clock.pass_time(900)
        court.retry()

    for _ in range(95):
        a_quarter()
    assert len(where(court.spool)) == 1
    court.clock.pass_time(24 * 3600)
    a_quarter()
    assert len(where(court.spool)) == (1 if kind == "waits" else 2), (
        "one of its own fault is tried anew daily"
    )
