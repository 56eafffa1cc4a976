"""The reference SQL on a real database: a device does its work with it, another device sees nothing."""

from __future__ import annotations

import uuid
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ezrec.cloud.supabase.backend import SupabaseBackend
from ezrec.cloud.supabase.connection import Connection
from ezrec.cloud.supabase.credentials import Credentials
from ezrec.cloud.supabase.schema import reference
from ezrec.domain.errors import Reject
from tests.fakes.clock import StandingClock
from tests.supabase_server.fixture import Project, wait_for_the_tables


class Device:
    """A signed-in camera of an account, and what it finds there."""

    def __init__(self, project: Project, user_id: str = "", camera_id: str = "") -> None:
        self.project = project
        self.user_id, self.camera_id = user_id or str(uuid.uuid4()), camera_id or str(uuid.uuid4())
        email = f"{uuid.uuid4()}@device.test"
        self.auth_id = project.sign_up(email, "a-password")
        device = {"auth_id": self.auth_id, "user_id": self.user_id, "camera_id": self.camera_id}
        project.insert("devices", device)
        access = Credentials(project.url, project.anon_key, email, "a-password")
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
        headers = {"apikey": cloud.credentials.key, "Authorization": f"Bearer {cloud.sign_in.token()}"}
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


# ---- devices of one club


@pytest.fixture
def neighbour(device: Device) -> Iterator[Device]:
    """Another camera of the same club."""
    made = Device(device.project, device.user_id)
    yield made
    made.backend.close()


def stored(device: Device, bucket: str, path: str) -> tuple[bytes, str]:
    """What an object holds, and whose it is."""
    content = device.project.request("GET", f"/storage/v1/object/{bucket}/{path}")
    database, _ = device.project.local()
    where = f"bucket_id = '{bucket}' and name = '{path}'"
    [row] = database.rows(f"select owner_id from storage.objects where {where}")
    return content, row["owner_id"]


def put(device: Device, path: str, content: bytes, method: str = "POST") -> httpx.Response:
    headers = {"x-upsert": "true", "Content-Type": "video/mp4"}
    return device.ask(method, f"/storage/v1/object/{path}", content=content, headers=headers)


def resumable(device: Device, path: str, content: bytes) -> httpx.Response:
    bucket, _, name = path.partition("/")
    told = {"bucketName": bucket, "objectName": name, "contentType": "video/mp4"}
    headers = {
        "Tus-Resumable": "1.0.0", "Upload-Length": str(len(content)), "x-upsert": "true",
        "Content-Type": "application/offset+octet-stream",
        "Upload-Metadata": ",".join(f"{k} {b64encode(v.encode()).decode()}" for k, v in told.items()),
    }  # fmt: skip
    return device.ask("POST", "/storage/v1/upload/resumable", content=content, headers=headers)


def move(device: Device, old: str, new: str) -> httpx.Response:
    names = {"bucketId": "videos", "sourceKey": old, "destinationKey": new}
    return device.ask("POST", "/storage/v1/object/move", json=names)


def refusal(answer: httpx.Response) -> str:
    """The status that counts: storage says most of them in the body."""
    told = answer.json() if "json" in answer.headers.get("content-type", "") else {}
    return str(told.get("statusCode") or answer.status_code)


def test_another_camera_of_the_club_reads_a_video_and_can_neither_replace_nor_move_it(
    device: Device, neighbour: Device, tmp_path: Path
) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film")
    path = f"{device.user_id}/{uuid.uuid4()}.mp4"
    device.backend.store("videos", path, film, lambda _: None)
    before = stored(device, "videos", path)
    assert before == (b"film", device.auth_id)

    assert neighbour.backend.size_of("videos", path) == 4
    for attempt in (put(neighbour, f"videos/{path}", b"other"), put(neighbour, f"videos/{path}", b"o", "PUT"),
                    resumable(neighbour, f"videos/{path}", b"other")):  # fmt: skip
        assert refusal(attempt) == "403"
    for target in (f"{path}.gone", f"{device.user_id}/x/{path}"):
        assert refusal(move(neighbour, path, target)) == "404"
    assert stored(device, "videos", path) == before

    assert put(device, f"videos/{path}", b"again").status_code == 200
    assert stored(device, "videos", path) == (b"again", device.auth_id)
    assert resumable(device, f"videos/{path}", b"more").status_code == 201
    assert stored(device, "videos", path) == (b"more", device.auth_id)


def test_a_box_with_a_new_account_goes_on_and_leaves_the_videos_of_the_old_one_as_they_are(
    device: Device, tmp_path: Path
) -> None:
    """Logs are its camera's, whoever signs in for it; a video is the account's that stored it."""
    old = f"{device.user_id}/{uuid.uuid4()}.mp4"
    logs = (f"logs/status/{device.camera_id}.jpg", f"logs/{device.camera_id}/20260601_100000_logs.zip")
    for path in (f"videos/{old}", *logs):
        assert put(device, path, b"old").status_code == 200
    database, _ = device.project.local()
    database.sql(f"delete from devices where auth_id = '{device.auth_id}'")
    renewed = Device(device.project, device.user_id, device.camera_id)
    try:
        assert [put(renewed, path, b"new").status_code for path in logs] == [200, 200]
        assert renewed.backend.size_of("videos", old) == 3
        assert refusal(put(renewed, f"videos/{old}", b"new")) == "403"
        assert put(renewed, f"videos/{device.user_id}/{uuid.uuid4()}.mp4", b"new").status_code == 200
        assert refusal(put(device, f"videos/{old}", b"newer")) == "403", "who was revoked writes nothing"
        # What docs/security.md says to run where the old ones are to be the new account's.
        database.sql(
            f"update storage.objects set owner_id = '{renewed.auth_id}' where owner_id = '{device.auth_id}'"
        )
        assert put(renewed, f"videos/{old}", b"newer").status_code == 200
    finally:
        renewed.backend.close()


# ---- the owner of an account, as the front end signs in


class Owner:
    """Somebody who signs in to the front end; the account is named by the sign-in."""

    def __init__(self, project: Project) -> None:
        self.project, email = project, f"{uuid.uuid4()}@owner.test"
        self.user_id = project.sign_up(email, "a-password")
        self._cloud = Connection(Credentials(project.url, project.anon_key, email, "a-password"))

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"apikey": self.project.anon_key, "Authorization": f"Bearer {self._cloud.sign_in.token()}"}
        headers |= options.pop("headers", {})
        return httpx.request(method, f"{self.project.url}{path}", headers=headers, timeout=30, **options)

    def put(self, path: str, content: bytes) -> str:
        headers = {"x-upsert": "true", "Content-Type": "image/png"}
        answer = self.ask("POST", f"/storage/v1/object/{path}", content=content, headers=headers)
        return "200" if answer.is_success else refusal(answer)

    def remove(self, path: str) -> str:
        answer = self.ask("DELETE", f"/storage/v1/object/{path}")
        return "200" if answer.is_success else refusal(answer)

    def close(self) -> None:
        self._cloud.close()


@pytest.fixture
def owners(applied: Project) -> Iterator[tuple[Owner, Owner]]:
    made = Owner(applied), Owner(applied)
    yield made
    for owner in made:
        owner.close()


def test_an_owner_puts_replaces_and_removes_branding_and_removes_videos(
    owners: tuple[Owner, Owner], tmp_path: Path
) -> None:
    owner, other = owners
    logo = f"usermedia/{owner.user_id}/logo/l.png"
    assert [owner.put(logo, content) for content in (b"one", b"two")] == ["200", "200"]
    device = Device(owner.project, owner.user_id)
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film")
    path = f"videos/{owner.user_id}/{uuid.uuid4()}.mp4"
    try:
        device.backend.store("videos", path.partition("/")[2], film, lambda _: None)
        device.backend.fetch("usermedia", logo.partition("/")[2], tmp_path / "l.png")
        assert (tmp_path / "l.png").read_bytes() == b"two"
        assert other.put(logo, b"three") == "403"
        assert [other.remove(name) for name in (logo, path)] == ["403", "403"]
        assert refusal(device.ask("DELETE", f"/storage/v1/object/{path}")) == "403"
        assert owner.put(path, b"a video is the cameras' to write") == "403"
        assert [owner.remove(name) for name in (logo, path)] == ["200", "200"]
    finally:
        device.backend.close()
