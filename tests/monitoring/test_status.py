"""`ezrec pulse status`: local files first, then the cloud; every alert is sent once."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ezrec.cloud.supabase.state_cache import StateCache
from ezrec.domain.cloud_state import Access
from ezrec.domain.errors import Retry
from ezrec.domain.job import Arrival, JobOutcome
from ezrec.domain.stages import State
from ezrec.domain.status_file import StatusFile
from ezrec.monitoring.outcomes import History, forget, of_box, put_away
from ezrec.monitoring.state_files import read_put_away, read_status_file
from ezrec.monitoring.status import StatusReporter
from ezrec.system.gauges import SystemGauges
from tests.fakes.backend import FakeBackend
from tests.support.boxes import CourtBox, a_box
from tests.support.jobs import laid

LIMIT_S = 60.0


@pytest.fixture
def box(tmp_path: Path) -> CourtBox:
    """A box whose recorder lives."""
    made = a_box(tmp_path)
    made.rests()
    return made


def beat(box: CourtBox, status: StatusReporter | None = None) -> dict[str, Any]:
    """One run in a process of its own; the row that is in the cloud afterwards."""
    status = status or box.status()
    status()
    status.finish(LIMIT_S)
    return next(iter(box.cloud.status_rows.values()), {})


def report(box: CourtBox) -> StatusFile:
    found = read_status_file(box.settings.state)
    assert found is not None
    return found


# ---- the heartbeat


def test_the_heartbeat_has_the_columns_of_the_table_and_sane_numbers(box: CourtBox) -> None:
    status = replace(box.status(), gauges=SystemGauges(box.home))
    found = beat(box, status)
    assert found["pi_active"] is True
    assert found["last_heartbeat"] == found["updated_at"] == "2026-06-01T12:00:00+00:00"
    assert (found["user_id"], found["camera_id"]) == ("user-1", "0")
    for name in ("cpu_usage_percent", "memory_usage_percent", "disk_usage_percent"):
        assert 0 <= found[name] <= 100, name
    assert 0 < found["memory_available_gb"] <= found["memory_total_gb"] < 100_000
    assert 0 <= found["disk_free_gb"] <= found["disk_total_gb"]
    assert 0 < found["uptime_seconds"] < 100 * 365 * 86400
    for name in ("load_15min", "sent_gb", "received_gb"):
        assert found["details"][name] >= 0, name
    json.dumps(found)


def test_the_heartbeat_says_whether_it_records_and_what_went_wrong_last(box: CourtBox) -> None:
    found = beat(box)
    assert (found["is_recording"], found["last_error"]) == (False, None)
    box.healthy(recording=("b1",))
    failed = laid(box.spool, State.FAILED, "b9", reason="no picture")
    failed.update(arrivals=(Arrival("failed", box.now),))
    found = beat(box)
    assert found["is_recording"] is True
    assert found["last_error"] == "job b9 needs a person: no picture"


def test_there_is_one_row_a_camera(box: CourtBox) -> None:
    status = box.status()
    beat(box, status)
    beat(box, status)
    assert len(box.cloud.status_rows) == 1


@pytest.mark.parametrize("is_one", [True, False], ids=["one process", "a process a beat"])
def test_a_cloud_that_was_never_reached_is_an_alert_that_ends_with_the_first_heartbeat(
    box: CourtBox, is_one: bool
) -> None:
    status = box.status()
    box.cloud.fail_next(30, Retry("the project does not answer"), "heartbeat")
    raised: list[bool] = []
    for _ in range(30):
        beat(box, status if is_one else None)
        raised.append(any(alert.is_raised for alert in report(box).alerts))
        box.pass_time(15)
    assert raised[:18] == [False] * 18, "a new box may need a moment"
    assert raised[25:] == [True] * 5
    [alert] = report(box).alerts
    assert (alert.name, alert.message) == (
        "cloud_never_reached",
        "the cloud was never reached: the project does not answer",
    )
    for _ in range(2):
        beat(box, status if is_one else None)
        box.pass_time(15)
    assert report(box).alerts == ()


class Dead(FakeBackend):
    """A cloud that answers nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.let_go = threading.Event()
        self.sent: list[Any] = []

    def heartbeat(self, row: Any) -> None:
        self.asked.set()
        assert self.let_go.wait(LIMIT_S)
        self.sent.append(row["last_heartbeat"])


def test_a_dead_network_delays_no_local_file_and_queues_nothing(box: CourtBox) -> None:
    box.cloud = cloud = Dead()
    status = box.status()
    status()
    assert cloud.asked.wait(LIMIT_S)
    for _ in range(5):
        box.pass_time(300)
        status()
        assert report(box).facts.at == box.now
    cloud.let_go.set()
    status.finish(LIMIT_S)
    assert cloud.sent == ["2026-06-01T12:00:00+00:00", "2026-06-01T12:25:00+00:00"]


def test_a_process_for_one_beat_ends_although_the_network_is_dead(box: CourtBox) -> None:
    box.cloud = cloud = Dead()
    status = box.status()
    status()
    status.finish(0.05)
    assert cloud.asked.wait(LIMIT_S)
    assert cloud.sent == []
    assert report(box).facts.cloud_reached_at is None
    cloud.let_go.set()
    status.finish(LIMIT_S)
    assert len(cloud.sent) == 1
    assert report(box).facts.cloud_reached_at == box.now


def test_a_heartbeat_that_fails_is_told_once_and_once_more_when_it_arrives(
    box: CourtBox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    box.cloud.fail_next(3, Retry("no network"), "heartbeat")
    status = box.status()
    for _ in range(5):
        beat(box, status)
        box.pass_time(15)
    said = [record.message for record in caplog.records if "heartbeat" in record.message]
    assert len(said) == 2
    assert "no network" in said[0]
    assert "again" in said[1]


def test_a_backend_on_the_same_card_is_told_what_is_new_and_else_now_and_then(box: CourtBox) -> None:
    status = replace(box.status(), heartbeat_rest_s=600)
    counts = []
    for n in range(60):
        if n == 10:
            box.healthy(recording=("b1",), at=box.now + timedelta(hours=1))
        beat(box, status)
        counts.append(box.cloud.calls["heartbeat"])
        box.pass_time(15)
    assert [n for n in range(1, 60) if counts[n] != counts[n - 1]] == [10, 50]


def test_when_the_cloud_was_reached_is_known_to_the_next_process(box: CourtBox) -> None:
    beat(box)
    reached = box.now
    box.pass_time(100)
    box.cloud.fail_next(1, Retry("no network"), "heartbeat")
    beat(box)
    assert report(box).facts.cloud_reached_at == reached


# ---- files


def test_the_report_and_the_metrics_say_the_same(box: CourtBox) -> None:
    laid(box.spool, State.RAW, "b1")
    beat(box)
    facts = report(box).facts
    assert facts.jobs["raw"] == 1
    assert facts.versions == {"ezrec": "1.0", "ffmpeg": "5.1"}
    path = box.settings.state / "metrics" / "ezrec.prom"
    families = {found.name: found for found in text_string_to_metric_families(path.read_text())}
    jobs = {sample.labels["state"]: sample.value for sample in families["ezrec_jobs"].samples}
    assert jobs["raw"] == 1
    assert path.stat().st_mode & 0o777 == 0o644, "node_exporter is another user"
    assert [name for name in os.listdir(box.settings.state) if name.startswith(".")] == []


def test_at_rest_the_files_are_written_every_five_minutes_and_every_change_at_once(box: CourtBox) -> None:
    status = box.status()
    written = []
    for n in range(60):
        if n == 30:
            laid(box.spool, State.RAW, "b1")
        status()
        written.append(report(box).facts.at)
        box.pass_time(15)
    changes = [n for n in range(1, 60) if written[n] != written[n - 1]]
    assert changes == [20, 30, 50]


def test_while_something_is_in_hand_every_beat_is_written(box: CourtBox) -> None:
    box.healthy(recording=("b1",))
    status = box.status()
    for _ in range(3):
        status()
        assert report(box).facts.at == box.now
        box.pass_time(15)


def test_a_state_folder_that_takes_no_file_silences_no_heartbeat(box: CourtBox) -> None:
    shutil.rmtree(box.settings.state)
    box.settings.state.write_text("a file where the folder should be")
    laid(box.spool, State.FAILED, "b9")
    assert beat(box)["pi_active"] is True


# ---- alerts


def hook(box: CourtBox) -> Path:
    """A hook that writes down what it is told."""
    told = box.home / "told"
    path = box.settings.hooks / "alert" / "10-tell"
    path.parent.mkdir(parents=True)
    path.write_text(f'#!/bin/sh\necho "$EZREC_ALERT $EZREC_STATE $EZREC_EVENT" >>{told}\ncat >>{told}.json\n')
    path.chmod(0o755)
    return told


def test_an_alert_is_told_once_and_once_when_it_is_over_also_by_fresh_processes(
    box: CourtBox, caplog: pytest.LogCaptureFixture
) -> None:
    told = hook(box)
    entry = laid(box.spool, State.FAILED, "b9", reason="no picture")
    for _ in range(3):
        beat(box)
        box.pass_time(15)
    assert told.read_text() == "failed_jobs raised alert\n"
    said = json.loads((box.home / "told.json").read_text())
    assert said["state"] == "raised"
    assert said["message"] == "job b9 needs a person: no picture"
    assert said["remedy"] == "ezrec spool ls --failed"
    box.spool.throw_away(entry, entry.job)
    for _ in range(3):
        beat(box)
        box.pass_time(15)
    assert told.read_text() == "failed_jobs raised alert\nfailed_jobs cleared alert\n"
    assert len([record for record in caplog.records if "ALERT" in record.message]) == 1


def test_a_match_that_nobody_records_is_told_without_any_recorder(box: CourtBox) -> None:
    told = hook(box)
    (box.settings.state / "health.json").unlink()
    laid(box.spool, State.INCOMING, "b1", booking=box.booking())
    assert "b1 should be recorded and is not" in beat(box)["last_error"]
    assert not told.exists(), "a recorder may be about to begin: hooks are run a moment later"
    box.pass_time(15)
    row = beat(box)
    assert told.read_text() == "not_recording raised alert\n"
    assert row["last_error"].startswith("booking b1 should be recorded and is not: no recorder runs; ")
    assert row["details"]["recorder"] == "never"
    box.pass_time(15)
    beat(box)
    assert told.read_text().splitlines()[1:] == ["no_recorder raised alert"]
    box.healthy(recording=("b1",))
    assert beat(box)["last_error"] is None
    assert sorted(told.read_text().splitlines()[2:]) == [
        "no_recorder cleared alert", "not_recording cleared alert",
    ]  # fmt: skip


# ---- incidents


def missed(box: CourtBox, job_id: str) -> None:
    """A booking that was missed and has left the spool."""
    entry = laid(box.spool, State.INCOMING, job_id)
    job = replace(entry.job, outcome=JobOutcome.MISSED, reason="no camera during the whole booking")
    box.spool.leave(entry, job.arrived("done", box.now))


def test_a_missed_booking_is_an_alert_until_a_person_puts_it_away_also_over_restarts(box: CourtBox) -> None:
    told = hook(box)
    missed(box, "b1")
    for _ in range(2):
        assert "b1 was missed: no camera" in beat(box)["last_error"]
        box.pass_time(15)
    assert told.read_text() == "missed raised alert\n"
    put_away(box.settings.state, [one.id for one in of_box(box.settings)])
    for _ in range(2):
        assert beat(box)["last_error"] is None
        box.pass_time(15)
    assert told.read_text() == "missed raised alert\nmissed cleared alert\n"
    (box.settings.state / "alerts.json").unlink()
    assert beat(box)["last_error"] is None, "what the services remember of alerts is not what a person did"
    missed(box, "b2")
    assert "b2 was missed" in beat(box)["last_error"]
    assert report(box).facts.day.words == "0 published, 2 missed"


def test_the_history_is_read_once_by_a_process_that_stays(box: CourtBox) -> None:
    missed(box, "b1")
    history = History(box.spool.done)
    assert [one.job for one in history.look()] == ["b1"]
    record = box.spool.done / "b1.json"
    stamp = record.stat().st_mtime_ns
    record.write_text("{")
    os.utime(record, ns=(stamp, stamp))
    assert [one.job for one in history.look()] == ["b1"]
    record.touch()
    assert history.look() == [], "it is another file now"
    record.unlink()
    assert history.look() == []


def test_what_was_put_away_is_forgotten_long_after_its_job(box: CourtBox) -> None:
    put_away(box.settings.state, ["missed-old", "missed-new"])
    old = (box.now - timedelta(days=91)).timestamp()
    new = (box.now - timedelta(days=1)).timestamp()
    os.utime(box.settings.state / "put_away" / "missed-old", (old, old))
    os.utime(box.settings.state / "put_away" / "missed-new", (new, new))
    forget(box.settings.state, box.now)
    assert read_put_away(box.settings.state) == {"missed-new"}


def test_a_disk_that_will_not_do_is_an_alert_whoever_forecasts_it(box: CourtBox) -> None:
    told = hook(box)
    beat(box, replace(box.status(), forecast=lambda facts: f"{facts.booked_s:.0f} s will not fit"))
    assert told.read_text() == "disk_short raised alert\n"
    assert report(box).facts.forecast_short == "0 s will not fit"


def test_a_refused_key_is_told_once_and_is_over_when_the_cloud_takes_it_again(tmp_path: Path) -> None:
    cloud = {"SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_KEY": "sb_publishable_x"}
    box = a_box(tmp_path, EZREC_BACKEND="supabase", **cloud)
    box.rests()
    told, notes = hook(box), StateCache(box.settings.state, box.clock)
    notes.record_access(Access.REFUSED, "Invalid login credentials")
    for _ in range(3):
        found = beat(box)
        box.pass_time(15)
    assert "Invalid login credentials" in found["last_error"]
    assert told.read_text() == "cloud_refused raised alert\n"
    notes.record_access(Access.GOOD)
    for _ in range(3):
        found = beat(box)
        box.pass_time(15)
    assert found["last_error"] is None
    assert told.read_text() == "cloud_refused raised alert\ncloud_refused cleared alert\n"


def test_what_is_remembered_of_alerts_is_written_when_it_changes_and_not_by_the_hour(box: CourtBox) -> None:
    waits = laid(box.spool, State.PROCESSED, "b1")
    waits.update(arrivals=(Arrival("processed", box.now - timedelta(hours=9)),))
    path = box.settings.state / "alerts.json"
    beat(box)
    for _ in range(2):  # seen, and then raised
        box.pass_time(300)
        beat(box)
    before = path.stat().st_ino
    for _ in range(7):
        box.pass_time(300)
        beat(box)
    assert "9.8 h" in report(box).alerts[0].message
    assert path.stat().st_ino == before


def test_a_spoilt_memory_of_alerts_raises_again_rather_than_failing(box: CourtBox) -> None:
    (box.settings.state / "alerts.json").write_text("{")
    laid(box.spool, State.FAILED, "b9")
    beat(box)
    assert json.loads((box.settings.state / "alerts.json").read_text())[0]["name"] == "failed_jobs"
