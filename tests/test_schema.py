"""The reference SQL on a real database: a device does its work with it, another device sees nothing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ezrec.adapters.supabase import SupabaseBackend
from ezrec.adapters.supabase_connection import Access
from ezrec.domain.errors import Reject
from ezrec.schema import reference
from tests.fakes.clock import StandingClock
from tests.supabase_server.fixture import Project


class Device:
    """A signed-in camera of an account, and what it finds there."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.user_id, self.camera_id = str(uuid.uuid4()), str(uuid.uuid4())
        email = f"{self.camera_id}@device.test"
        auth_id = project.sign_up(email, "a-password")
        device = {"auth_id": auth_id, "user_id": self.user_id, "camera_id": self.camera_id}
        project.insert("devices", device)
        access = Access(project.url, project.anon_key, email, "a-password")
        self.backend = SupabaseBackend(access, self.user_id, self.camera_id, StandingClock())

    def own(self, **more: Any) -> dict[str, Any]:
        return {"user_id": self.user_id, "camera_id": self.camera_id, **more}

    def booking(self) -> str:
        booking_id = str(uuid.uuid4())
        times = {"date": "2026-06-01", "start_time": "10:00", "end_time": "11:00"}
        self.project.insert("bookings", self.own(id=booking_id, **times))
        return booking_id

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request with this device's token; the answer whatever it is."""
        cloud = self.backend._cloud
        headers = {"apikey": cloud.access.key, "Authorization": f"Bearer {cloud.token()}"}
        headers |= options.pop("headers", {})
        url = f"{self.project.url}{path}"
        return httpx.request(method, url, headers=headers, timeout=30, **options)


@pytest.fixture(scope="module")
def applied(project: Project) -> Project:
    database, _ = project.local()
    for _ in range(2):  # safe to run again
        database.sql(reference())
    wait_for_the_tables(project)
    return project


def wait_for_the_tables(project: Project) -> None:
    """Wait until the server has heard of the new tables."""
    for _ in range(100):
        answer = httpx.get(
            f"{project.url}/rest/v1/devices?limit=1",
            headers={"apikey": project.service_key, "Authorization": f"Bearer {project.service_key}"},
        )
        if answer.status_code == 200:
            return
    raise AssertionError(answer.text)


@pytest.fixture
def device(applied: Project) -> Iterator[Device]:
    made = Device(applied)
    yield made
    made.backend.close()


@pytest.fixture
def stranger(applied: Project) -> Iterator[Device]:
    made = Device(applied)
    yield made
    made.backend.close()


def test_a_device_does_all_its_work_with_an_account_of_its_own(device: Device, tmp_path: Path) -> None:
    booking_id, cloud, project = device.booking(), device.backend, device.project
    project.insert("user_settings", {"user_id": device.user_id, "logo_path": f"{device.user_id}/logo/l.png"})
    logo = f"/storage/v1/object/usermedia/{device.user_id}/logo/l.png"
    project.request("POST", logo, content=b"png", headers={"Content-Type": "image/png"})
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film" * 1000)

    assert [row["id"] for row in cloud.bookings()] == [booking_id]
    branding = cloud.branding()
    assert branding.logo is not None
    cloud.fetch("usermedia", branding.logo, tmp_path / "logo.png")
    for status in ("completed", "video_processed"):
        assert cloud.advance_status(booking_id, status) is True
    for _ in range(2):
        cloud.store("videos", f"{device.user_id}/a.mp4", film, lambda _: None)
        cloud.publish_row(device.own(filename="a.mp4", booking_id=booking_id))
        cloud.heartbeat({"pi_active": True})
    assert cloud.advance_status(booking_id, "video_uploaded") is True
    cloud.store("logs", f"{device.camera_id}/20260601_100000_logs.zip", film, lambda _: None)
    assert len(project.select("videos", user_id=f"eq.{device.user_id}")) == 1
    assert len(project.select("system_status", user_id=f"eq.{device.user_id}")) == 1


def test_another_device_sees_and_changes_nothing(device: Device, stranger: Device, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film")
    booking_id = device.booking()
    path = f"{device.user_id}/a.mp4"
    device.backend.store("videos", path, film, lambda _: None)
    device.backend.publish_row(device.own(filename="a.mp4"))
    device.backend.heartbeat({"pi_active": True})
    device.project.insert("user_settings", {"user_id": device.user_id})
    tables = ("bookings", "videos", "system_status", "user_settings")
    before = [device.project.select(table, user_id=f"eq.{device.user_id}") for table in tables]

    of_user = {"user_id": f"eq.{device.user_id}"}
    representation = {"Prefer": "return=representation"}
    for table in (*tables, "devices"):  # 1 to 5: nothing is seen
        answer = stranger.ask("GET", f"/rest/v1/{table}", params=of_user)
        assert (answer.status_code, answer.json()) == (200, []), table
    for table in ("bookings", "videos"):  # 6 to 9: nothing is changed or deleted
        change = {"status": "completed"} if table == "bookings" else {"file_size": 1}
        for method, body in (("PATCH", change), ("DELETE", None)):
            answer = stranger.ask(
                method, f"/rest/v1/{table}", params=of_user, json=body, headers=representation
            )
            assert (answer.status_code, answer.json()) == (200, []), (table, method)
    # 10: nothing is slipped in
    answer = stranger.ask("POST", "/rest/v1/videos", json=device.own(filename="b.mp4"))
    assert answer.status_code == 403
    # 11 and 12: no object is seen, replaced or added
    listed = stranger.ask("POST", "/storage/v1/object/list/videos", json={"prefix": device.user_id})
    assert listed.json() == []
    assert stranger.backend.size_of("videos", path) is None
    for target in (path, f"{device.user_id}/b.mp4"):
        with pytest.raises(Reject):
            stranger.backend.store("videos", target, film, lambda _: None)
    with pytest.raises(Reject):
        stranger.backend.fetch("videos", path, tmp_path / "stolen.mp4")
    # … and neither by nobody
    answer = httpx.get(
        f"{device.project.url}/rest/v1/bookings",
        params={"id": f"eq.{booking_id}"},
        headers={"apikey": device.project.anon_key},
    )
    assert answer.json() == []
    after = [device.project.select(table, user_id=f"eq.{device.user_id}") for table in tables]
    assert after == before


@pytest.mark.parametrize(
    "change", [{"status": "confirmed"}, {"status": "cancelled"}, {"end_time": "23:00"}, {"user_id": "x"}]
)
def test_a_device_moves_a_status_forward_and_nothing_else(device: Device, change: dict[str, str]) -> None:
    booking_id = device.booking()
    answer = device.ask("PATCH", "/rest/v1/bookings", params={"id": f"eq.{booking_id}"}, json=change)
    assert answer.status_code == 403
    [row] = device.project.select("bookings", id=f"eq.{booking_id}")
    assert {**row, "status": "confirmed", "end_time": "11:00", "user_id": device.user_id} == row


def test_a_cancelled_booking_stays_so_under_the_database_too(device: Device) -> None:
    booking_id = device.booking()
    device.project.change("bookings", {"status": "cancelled"}, id=f"eq.{booking_id}")
    answer = device.ask(
        "PATCH", "/rest/v1/bookings", params={"id": f"eq.{booking_id}"}, json={"status": "completed"}
    )
    assert answer.status_code == 403
