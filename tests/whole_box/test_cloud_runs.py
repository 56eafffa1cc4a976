"""Whole runs on Supabase: a row in PostgreSQL becomes a video that the front end plays, network or not."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ezrec.cloud.supabase.backend import SupabaseBackend
from ezrec.cloud.supabase.credentials import Credentials
from ezrec.cloud.supabase.schema import reference
from ezrec.domain.booking import parse_booking
from ezrec.domain.errors import Retry
from ezrec.domain.health import FILE
from ezrec.domain.job import JobOutcome
from ezrec.domain.stages import State
from ezrec.publishing.report_steps import StepReporter
from ezrec.publishing.upload import upload
from ezrec.spool.spool import Spool
from ezrec.sync.booking_sync import BookingSync
from ezrec.sync.branding_cache import RECORD, BrandingCache
from tests.fakes.clock import StandingClock
from tests.faults.chaos import ChaosProxy, Reset
from tests.supabase_server.fixture import Project, wait_for_the_tables
from tests.supabase_server.front_end import FrontEnd, played_s
from tests.support import media
from tests.support.daemon import Box
from tests.support.jobs import laid, result_of
from tests.support.stagework import a_drain, a_spool, where

LOG = logging.getLogger("ezrec.test")
PASSWORD = "a-password"


@pytest.fixture
def front_end(project: Project) -> FrontEnd:
    return FrontEnd(project, project.account())


@pytest.fixture
def uplink(project: Project) -> Iterator[ChaosProxy]:
    _, front = project.local()
    with ChaosProxy(front.port) as proxy:
        yield proxy


def cut(uplink: ChaosProxy) -> None:
    uplink.plan(itertools.repeat(Reset()))


def mend(uplink: ChaosProxy) -> None:
    uplink.plan(())


def device(front_end: FrontEnd) -> dict[str, str]:
    """The settings of a camera box with an account of its own, entered as `ezrec schema` wants it. In a real
    project nothing is altered: there the key that the tests were given has to do.
    """
    project, account = front_end.project, front_end.account
    if project.database is None:
        return {"SUPABASE_KEY": project.service_key}
    database, _ = project.local()
    database.sql(reference())
    wait_for_the_tables(project)
    email = f"{account.camera_id}@device.test"
    auth_id = project.sign_up(email, PASSWORD)
    project.insert(
        "devices", {"auth_id": auth_id, "user_id": account.user_id, "camera_id": account.camera_id}
    )
    return {"SUPABASE_KEY": project.anon_key, "EZREC_DEVICE_EMAIL": email, "EZREC_DEVICE_PASSWORD": PASSWORD}


@pytest.fixture
def box(tmp_path: Path, front_end: FrontEnd, request: pytest.FixtureRequest) -> Iterator[Box]:
    is_real = front_end.project.database is None
    made = Box(
        tmp_path / "home",
        **device(front_end),
        EZREC_BACKEND="supabase",
        SUPABASE_URL=front_end.project.url if is_real else request.getfixturevalue("uplink").url,
        USER_ID=front_end.account.user_id,
        CAMERA_ID=front_end.account.camera_id,
        BOOKING_FETCH_INTERVAL="1",
        SYSTEM_STATUS_INTERVAL="1",
    )
    yield made
    made.close()


def soon(in_s: float, for_s: float) -> tuple[datetime, datetime]:
    start = datetime.now(UTC) + timedelta(seconds=in_s)
    return start, start + timedelta(seconds=for_s)


def test_a_row_in_the_cloud_becomes_a_video_that_the_front_end_plays(
    box: Box, front_end: FrontEnd, tmp_path: Path
) -> None:
    user, project = front_end.account.user_id, front_end.project
    logo = f"{user}/logo/logo_1700000000000.png"
    picture = media.make_logo(tmp_path / "logo.png").read_bytes()
    headers = {"Content-Type": "image/png"}
    project.request("POST", f"/storage/v1/object/usermedia/{logo}", content=picture, headers=headers)
    project.insert("user_settings", {"user_id": user, "logo_path": logo})
    project.insert("cameras", {"id": front_end.account.camera_id, "user_id": user, "name": "Court 1"})
    daemon = box.run()
    box.wait_for(lambda: (box.settings.state / FILE).exists(), "the recorder does not begin")
    booking = front_end.book(*soon(6, 3))
    job = box.published(booking)
    box.wait_for(lambda: front_end.status(booking) == "video_uploaded", "the status is not told")
    [video] = front_end.videos()
    assert video["size"] == video["file_size"]
    assert (video["booking_id"], video["camera_id"]) == (booking, front_end.account.camera_id)
    assert 2 < played_s(video["url"]) < 3 + 1 + 2
    assert job.outcome is JobOutcome.PUBLISHED
    assert list(job.steps)[-3:] == ["object", "row", "video_uploaded"]
    [heartbeat] = project.select("system_status", user_id=f"eq.{user}")
    assert heartbeat["pi_active"] is True
    [camera] = project.select("cameras", user_id=f"eq.{user}")
    assert (camera["name"], camera["status"]) == ("Court 1", "online")
    assert box.end(daemon) == 0
    assert PASSWORD not in box.talk()
    assert box.settings.supabase_key not in box.talk()


def test_a_box_that_boots_without_network_records_what_its_cache_knows_and_publishes_later(
    box: Box, front_end: FrontEnd, uplink: ChaosProxy
) -> None:
    cut(uplink)
    row = front_end.row(*soon(6, 3))
    front_end.project.insert("bookings", row)
    box.settings.booking_cache.write_text(json.dumps([row]))
    box.settings.media_cache.mkdir()
    (box.settings.media_cache / RECORD).write_text("{}")  # it had a life before this start
    daemon = box.run()

    def is_recorded() -> bool:
        entry = box.find(row["id"])
        return entry is not None and entry.job.result is not None

    box.wait_for(is_recorded, "nothing was recorded without a network")
    assert front_end.status(row["id"]) == "confirmed"
    for service in ("booking_sync", "system_status"):
        assert "no connection to the cloud" in box.log(service)
    assert box.find(row["id"]) is not None
    mend(uplink)
    job = box.published(row["id"])
    box.wait_for(lambda: front_end.status(row["id"]) == "video_uploaded", "the status is not told")
    [video] = front_end.videos()
    assert 2 < played_s(video["url"]) < 3 + 1 + 2
    assert job.recording is JobOutcome.RECORDED
    assert box.end(daemon) == 0


def test_a_deleted_row_is_not_recorded(box: Box, front_end: FrontEnd) -> None:
    """Its only booking: the device's own row witnesses that the empty list is true."""
    box.run()
    booking = front_end.book(*soon(3600, 60))
    box.wait_for(lambda: box.find(booking) is not None, "the booking does not come")
    front_end.project.request("DELETE", "/rest/v1/bookings", params={"id": f"eq.{booking}"})
    box.wait_for(lambda: box.find(booking) is None, "the booking does not go")
    job = box.spool.finished(booking)
    assert job is not None
    assert job.outcome is JobOutcome.CANCELLED


@pytest.fixture
def offline(front_end: FrontEnd, uplink: ChaosProxy, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A box in this process, with a clock moved by hand."""
    clock = StandingClock(datetime(2026, 6, 1, 0, 0, tzinfo=UTC))
    access = Credentials(uplink.url, front_end.project.service_key)
    account = front_end.account
    cloud = SupabaseBackend(access, account.user_id, account.camera_id, clock, wait_s=0.001)
    yield {"clock": clock, "cloud": cloud, "spool": a_spool(tmp_path)}
    cloud.close()


def test_a_day_without_network_delays_videos_and_loses_none(
    offline: dict[str, Any], front_end: FrontEnd, uplink: ChaosProxy, tmp_path: Path
) -> None:
    clock: StandingClock = offline["clock"]
    cloud: SupabaseBackend = offline["cloud"]
    spool: Spool = offline["spool"]
    zone, account = ZoneInfo("UTC"), front_end.account
    sync = BookingSync(
        cloud, spool, tmp_path / "cache.json", BrandingCache(tmp_path / "media"), clock, zone, LOG
    )
    tell = StepReporter(cloud, spool, clock, LOG)
    handler = partial(
        upload, backend=cloud, clock=clock, zone=zone, user_id=account.user_id, camera_id=account.camera_id,
        log=LOG,
    )  # fmt: skip
    stages = [a_drain("retry", spool, clock=clock), a_drain("upload", spool, handler, clock=clock)]

    def is_heard(beat: Callable[[], None]) -> bool:
        """One turn of a worker thread."""
        try:
            beat()
        except Retry:
            return False
        return True

    starts = [clock.now() + timedelta(hours=2 + 3 * n) for n in range(7)]
    rows = [front_end.row(start, start + timedelta(hours=1), id=f"day-{start:%H}") for start in starts]
    for row in rows:
        row["id"] = f"{account.camera_id[:8]}-{row['id']}"
    front_end.project.insert("bookings", *rows)
    assert is_heard(sync)
    cut(uplink)
    for path in spool.directory(State.INCOMING).glob("*.json"):
        path.unlink()  # the recorder has them in hand
    waiting = list(rows)
    for _ in range(24 * 2):
        clock.pass_time(30 * 60)
        assert not is_heard(sync)
        is_heard(tell)
        while waiting and datetime.fromisoformat(waiting[0]["end_time"]) <= clock.now():
            row = waiting.pop(0)
            booking = replace(parse_booking(row, zone), status="confirmed")
            laid(spool, State.PROCESSED, row["id"], booking=booking, recording=JobOutcome.RECORDED)
        for stage in stages:
            stage.run()
        assert len(where(spool)) == len(rows) - len(waiting), "the queue grows and loses nothing"
    assert not waiting
    assert set(where(spool).values()) == {"deferred"}
    assert len(json.loads((tmp_path / "cache.json").read_bytes())) == len(rows)

    mend(uplink)
    for _ in range(4):
        clock.pass_time(15 * 60)
        assert is_heard(sync)
        for stage in stages:
            stage.run()
    assert set(where(spool).values()) == {"done"}
    assert [front_end.status(row["id"]) for row in rows] == ["video_uploaded"] * len(rows)
    shown = front_end.videos()
    assert sorted(video["booking_id"] for video in shown) == [row["id"] for row in rows]
    assert all(video["size"] == len(b"videos") for video in shown)
    assert result_of(rows[0]["id"]).file in {video["filename"] for video in shown}
