"""What the port `Backend` promises, whoever keeps it.

Another adapter joins by one line in `RIGS`: a context manager that gives a `Rig`, which is the backend and,
beside the port, what the front end would do to the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import pytest

from ezrec.cloud.local.backend import LocalBackend
from ezrec.cloud.local.tables import put, transaction
from ezrec.cloud.supabase.backend import SupabaseBackend
from ezrec.cloud.supabase.credentials import Credentials
from ezrec.domain.errors import Reject
from ezrec.domain.ownership import Mark, Whose
from ezrec.domain.ports import Backend, Branding
from tests.fakes.backend import FakeBackend
from tests.fakes.clock import StandingClock
from tests.supabase_server.fixture import Project

USER, CAMERA = "11111111-2222-3333-4444-555555555555", "0"
STRANGER = "99999999-2222-3333-4444-555555555555"
ORDER = ("confirmed", "completed", "video_processed", "video_uploaded")


class Rig(Protocol):
    """A backend of `USER` and `CAMERA`, empty at first, and the front end's side of it."""

    @property
    def backend(self) -> Backend: ...
    def add_bookings(self, *rows: dict[str, Any]) -> None:
        """Put rows in, as they are: what they leave out has the table's defaults."""

    def set_status(self, booking_id: str, status: str | None) -> None: ...
    def status(self, booking_id: str) -> str | None: ...
    def set_asset(self, kind: str, key: str | None) -> None:
        """`kind` is one of _COLUMNS; makes the user's row of settings if there is none."""

    def put_object(self, bucket: str, key: str, source: Path) -> None:
        """Store a file as an older version, or another program, did: it carries no job's mark."""

    def videos(self) -> list[dict[str, Any]]: ...
    def heartbeats(self) -> list[dict[str, Any]]: ...


_COLUMNS = {
    "intro": "intro_video_path", "logo": "logo_path",
    **{f"sponsor{number}": f"sponsor_logo{number}_path" for number in (1, 2, 3)},
}  # fmt: skip


class FakeRig:
    def __init__(self) -> None:
        self.backend = FakeBackend(USER, CAMERA)
        self._assets: dict[str, str | None] = {}

    def add_bookings(self, *rows: dict[str, Any]) -> None:
        for row in rows:
            self.backend.add_booking(row)

    def set_status(self, booking_id: str, status: str | None) -> None:
        self.backend.booking_rows[booking_id]["status"] = status

    def status(self, booking_id: str) -> str | None:
        found: str | None = self.backend.booking_rows[booking_id]["status"]
        return found

    def set_asset(self, kind: str, key: str | None) -> None:
        self._assets[kind] = key
        sponsors = tuple(
            key for name in _COLUMNS if name.startswith("sponsor") and (key := self._assets.get(name))
        )
        self.backend.assets = Branding(self._assets.get("intro"), self._assets.get("logo"), sponsors)

    def put_object(self, bucket: str, key: str, source: Path) -> None:
        self.backend.store(bucket, key, source, deaf)

    def videos(self) -> list[dict[str, Any]]:
        return list(self.backend.video_rows.values())

    def heartbeats(self) -> list[dict[str, Any]]:
        return list(self.backend.status_rows.values())


class LocalRig:
    def __init__(self, folder: Path) -> None:
        self.backend = LocalBackend(
            folder / "store", USER, CAMERA, ZoneInfo("Europe/Madrid"), StandingClock()
        )
        self._tables = self.backend.tables

    def add_bookings(self, *rows: dict[str, Any]) -> None:
        with self._tables.open() as db, transaction(db):
            for row in rows:
                put(db, "bookings", {"user_id": USER, **row}, ("id",))

    def set_status(self, booking_id: str, status: str | None) -> None:
        assert self._tables.change("UPDATE bookings SET status = ? WHERE id = ?", (status, booking_id)) == 1

    def status(self, booking_id: str) -> str | None:
        found: str | None = self._tables.rows("SELECT * FROM bookings WHERE id = ?", (booking_id,))[0][
            "status"
        ]
        return found

    def set_asset(self, kind: str, key: str | None) -> None:
        column = _COLUMNS[kind]
        self._tables.put("user_settings", {"user_id": USER, column: key}, ("user_id",))

    def put_object(self, bucket: str, key: str, source: Path) -> None:
        self.backend.store(bucket, key, source, deaf)

    def videos(self) -> list[dict[str, Any]]:
        return self._tables.rows("SELECT * FROM videos")

    def heartbeats(self) -> list[dict[str, Any]]:
        return self._tables.rows("SELECT * FROM system_status")


class SupabaseRig:
    """Over the test project, or a real one: there only the rows of our two accounts are swept away."""

    def __init__(self, project: Project) -> None:
        self._project = project
        for table in ("bookings", "videos", "user_settings", "system_status"):
            project.request("DELETE", f"/rest/v1/{table}", params={"user_id": f"in.({USER},{STRANGER})"})
        keys = [f"{USER}/a.mp4", f"{USER}/b.mp4"]
        project.request("DELETE", "/storage/v1/object/videos", json={"prefixes": keys})
        access = Credentials(project.url, project.service_key)
        self.backend = SupabaseBackend(access, USER, CAMERA, StandingClock(), past_days=None)

    def add_bookings(self, *rows: dict[str, Any]) -> None:
        self._project.insert("bookings", *({"user_id": USER, **row} for row in rows))

    def set_status(self, booking_id: str, status: str | None) -> None:
        self._project.change("bookings", {"status": status}, id=f"eq.{booking_id}")

    def status(self, booking_id: str) -> str | None:
        found: str | None = self._project.select("bookings", id=f"eq.{booking_id}")[0]["status"]
        return found

    def set_asset(self, kind: str, key: str | None) -> None:
        column = _COLUMNS[kind]
        if not self._project.select("user_settings", user_id=f"eq.{USER}"):
            self._project.insert("user_settings", {"user_id": USER})
        self._project.change("user_settings", {column: key}, user_id=f"eq.{USER}")

    def put_object(self, bucket: str, key: str, source: Path) -> None:
        self._project.request("POST", f"/storage/v1/object/{bucket}/{key}", content=source.read_bytes())

    def videos(self) -> list[dict[str, Any]]:
        rows = self._project.select("videos", user_id=f"eq.{USER}")
        created = [datetime.fromisoformat(row["created_at"]).isoformat() for row in rows]
        return [{**row, "created_at": at} for row, at in zip(rows, created, strict=True)]

    def heartbeats(self) -> list[dict[str, Any]]:
        return self._project.select("system_status", user_id=f"eq.{USER}")


@contextmanager
def fake_rig(_: Path) -> Iterator[Rig]:
    yield FakeRig()


@contextmanager
def local_rig(folder: Path) -> Iterator[Rig]:
    yield LocalRig(folder)


RIGS: dict[str, Callable[[Path], AbstractContextManager[Rig]]] = {
    "fake": fake_rig,
    "local": local_rig,
}


@pytest.fixture(params=[*RIGS, "supabase"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    if request.param == "supabase":
        supabase = SupabaseRig(request.getfixturevalue("project"))
        yield supabase
        supabase.backend.close()
        return
    with RIGS[request.param](tmp_path) as made:
        yield made


def booking(booking_id: str = "b-1", **changes: Any) -> dict[str, Any]:
    day = {"date": "2026-06-01", "start_time": "10:00:00", "end_time": "11:00:00"}
    return {"id": booking_id, **day, **changes}


def video(name: str = "processed_raw_b-1_20260601_100000.mp4", **changes: Any) -> dict[str, Any]:
    row = {"user_id": USER, "filename": name, "storage_path": f"{USER}/{name}", "file_size": 10}
    return {**row, "created_at": "2026-06-01T09:00:00+00:00", **changes}


def source(folder: Path, data: bytes = b"film") -> Path:
    path = folder / "source.mp4"
    path.write_bytes(data)
    return path


def deaf(_: float) -> None: ...


# ---- bookings


def test_no_bookings_are_an_empty_list(rig: Rig) -> None:
    assert rig.backend.bookings() == []


def test_a_booking_comes_as_the_whole_row_that_was_put_in(rig: Rig) -> None:
    row = booking(status="scheduled", camera_id="0")
    rig.add_bookings(row)
    [found] = rig.backend.bookings()
    assert {**found, **row} == found
    assert found["user_id"] == USER


def test_a_row_without_camera_and_status_has_the_defaults(rig: Rig) -> None:
    rig.add_bookings(booking())
    [found] = rig.backend.bookings()
    assert (found["camera_id"], found["status"]) == ("0", "confirmed")


def test_bookings_are_complete_beyond_a_thousand(rig: Rig) -> None:
    ids = [f"b-{number}" for number in range(1105)]
    rig.add_bookings(*(booking(name, date=f"20{n % 70 + 10}-06-01") for n, name in enumerate(ids)))
    assert sorted(row["id"] for row in rig.backend.bookings()) == sorted(ids)


def test_bookings_of_other_cameras_and_accounts_stay_out(rig: Rig) -> None:
    rig.add_bookings(booking("mine"))
    rig.add_bookings(booking("other-camera", camera_id="court-2"))
    rig.add_bookings(booking("other-account", user_id=STRANGER))
    assert [row["id"] for row in rig.backend.bookings()] == ["mine"]


def test_a_booking_that_names_no_camera_belongs_to_camera_0(rig: Rig) -> None:
    rig.add_bookings(booking(camera_id=None))
    assert len(rig.backend.bookings()) == 1


def test_cancelled_and_finished_bookings_are_told_too(rig: Rig) -> None:
    for number, status in enumerate(("cancelled", "completed", "video_uploaded", None)):
        rig.add_bookings(booking(f"b-{number}", status=status))
    assert len(rig.backend.bookings()) == 4


# ---- statuses


def test_a_status_passes_all_its_steps(rig: Rig) -> None:
    rig.add_bookings(booking())
    for status in ORDER[1:]:
        assert rig.backend.advance_status("b-1", status) is True
        assert rig.status("b-1") == status


@pytest.mark.parametrize(
    ("now", "told"),
    [(now, told) for now, told in product(ORDER[1:], ORDER[1:]) if ORDER.index(told) <= ORDER.index(now)],
)
def test_a_status_never_goes_back_and_never_moves_twice(rig: Rig, now: str, told: str) -> None:
    rig.add_bookings(booking(status=now))
    assert rig.backend.advance_status("b-1", told) is False
    assert rig.status("b-1") == now


@pytest.mark.parametrize("now", ["confirmed", "scheduled", None, "", "Confirmed", "completed"])
def test_a_status_may_jump_over_steps(rig: Rig, now: str | None) -> None:
    rig.add_bookings(booking())
    rig.set_status("b-1", now)
    assert rig.backend.advance_status("b-1", "video_uploaded") is True
    assert rig.status("b-1") == "video_uploaded"


@pytest.mark.parametrize("cancelled", ["cancelled", "canceled", "Cancelled"])
def test_a_cancelled_booking_is_not_brought_back(rig: Rig, cancelled: str) -> None:
    rig.add_bookings(booking(status=cancelled))
    for status in ORDER[1:]:
        assert rig.backend.advance_status("b-1", status) is False
    assert rig.status("b-1") == cancelled


def test_a_booking_that_is_gone_moves_nothing_and_is_no_error(rig: Rig) -> None:
    rig.add_bookings(booking("another"))
    assert rig.backend.advance_status("b-1", "completed") is False
    assert rig.status("another") == "confirmed"


def test_a_booking_of_another_account_is_not_moved(rig: Rig) -> None:
    rig.add_bookings(booking(user_id=STRANGER))
    assert rig.backend.advance_status("b-1", "completed") is False
    assert rig.status("b-1") == "confirmed"


@pytest.mark.parametrize("status", ["confirmed", "cancelled", "recording", ""])
def test_nothing_but_a_step_can_be_told(rig: Rig, status: str) -> None:
    rig.add_bookings(booking())
    with pytest.raises(Reject):
        rig.backend.advance_status("b-1", status)


@pytest.mark.parametrize("booking_id", ["' OR 1=1 --", "b-1,b-2", "b-1)", "*", "%", "", "x" * 5000, "b-1\n"])
def test_a_hostile_id_moves_no_row(rig: Rig, booking_id: str) -> None:
    rig.add_bookings(booking("b-1"))
    rig.add_bookings(booking("b-2"))
    assert rig.backend.advance_status(booking_id, "completed") is False
    assert (rig.status("b-1"), rig.status("b-2")) == ("confirmed", "confirmed")


# ---- branding


def test_no_row_of_settings_means_no_branding(rig: Rig) -> None:
    assert rig.backend.branding() == Branding()


def test_branding_tells_the_keys_and_nothing_where_there_is_none(rig: Rig) -> None:
    rig.set_asset("intro", f"{USER}/intro/intro_1.mp4")
    assert rig.backend.branding() == Branding(intro=f"{USER}/intro/intro_1.mp4")
    rig.set_asset("logo", f"{USER}/logo/logo_1.png")
    rig.set_asset("intro", None)
    assert rig.backend.branding() == Branding(logo=f"{USER}/logo/logo_1.png")


def test_sponsors_are_told_in_their_order_and_a_place_left_free_is_no_sponsor(rig: Rig) -> None:
    first, third = f"{USER}/sponsor_logo1/a_1.png", f"{USER}/sponsor_logo3/c_3.png"
    rig.set_asset("sponsor3", third)
    assert rig.backend.branding() == Branding(sponsors=(third,))
    rig.set_asset("sponsor1", first)
    rig.set_asset("sponsor2", "")
    assert rig.backend.branding() == Branding(sponsors=(first, third))


# ---- objects


def test_an_object_comes_back_as_it_was_stored(rig: Rig, tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    rig.backend.store("videos", f"{USER}/a.mp4", source(tmp_path, data), deaf)
    assert rig.backend.size_of("videos", f"{USER}/a.mp4") == len(data)
    rig.backend.fetch("videos", f"{USER}/a.mp4", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data


def test_the_source_is_left_as_it_is(rig: Rig, tmp_path: Path) -> None:
    path = source(tmp_path, b"film")
    rig.backend.store("videos", f"{USER}/a.mp4", path, deaf)
    path.write_bytes(b"changed afterwards")
    rig.backend.fetch("videos", f"{USER}/a.mp4", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"film"


def test_storing_again_replaces_the_object(rig: Rig, tmp_path: Path) -> None:
    for data in (b"a long first version", b"short", b"short"):
        rig.backend.store("videos", f"{USER}/a.mp4", source(tmp_path, data), deaf)
        assert rig.backend.size_of("videos", f"{USER}/a.mp4") == len(data)
    rig.backend.fetch("videos", f"{USER}/a.mp4", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"short"


def test_progress_never_falls_and_ends_at_the_whole(rig: Rig, tmp_path: Path) -> None:
    heard: list[float] = []
    rig.backend.store("videos", f"{USER}/a.mp4", source(tmp_path, b"x" * 30_000_000), heard.append)
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    assert all(0 <= part <= 1 for part in heard)


def test_the_whole_is_not_told_before_the_object_is_there(rig: Rig, tmp_path: Path) -> None:
    sizes: list[tuple[float, int | None]] = []
    rig.backend.store(
        "videos",
        f"{USER}/a.mp4",
        source(tmp_path),
        lambda part: sizes.append((part, rig.backend.size_of("videos", f"{USER}/a.mp4"))),
    )
    assert [size for part, size in sizes if part == 1.0] == [4]


# ---- objects of jobs

ONE, ANEW, OTHER = Mark("1" * 32, "a" * 32), Mark("1" * 32, "b" * 32), Mark("2" * 32, "a" * 32)
KEY = f"{USER}/a.mp4"


def content(rig: Rig, folder: Path, key: str = KEY) -> bytes:
    rig.backend.fetch("videos", key, folder / "back")
    return (folder / "back").read_bytes()


def test_a_job_knows_its_own_object_from_anothers(rig: Rig, tmp_path: Path) -> None:
    path = source(tmp_path)
    assert rig.backend.whose("videos", KEY, path, ONE) is Whose.NOBODYS
    assert rig.backend.store("videos", KEY, path, deaf, mark=ONE) is True
    assert rig.backend.whose("videos", KEY, path, ONE) is Whose.OURS
    assert rig.backend.whose("videos", KEY, path, ANEW) is Whose.OUTDATED
    assert rig.backend.whose("videos", KEY, path, OTHER) is Whose.ANOTHERS, "of the same bytes, too"


def test_an_object_is_not_replaced_by_another_jobs_of_the_same_size(rig: Rig, tmp_path: Path) -> None:
    assert rig.backend.store("videos", KEY, source(tmp_path, b"one "), deaf, mark=ONE) is True
    heard: list[float] = []
    stored = rig.backend.store("videos", KEY, source(tmp_path, b"two "), heard.append, mark=OTHER)
    assert (stored, 1.0 in heard) == (False, False)
    assert content(rig, tmp_path) == b"one "
    assert rig.backend.whose("videos", KEY, source(tmp_path, b"one "), ONE) is Whose.OURS


def test_an_object_without_a_mark_is_ours_by_its_bytes_alone(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "put.mp4"
    path.write_bytes(b"one ")
    rig.put_object("videos", KEY, path)
    assert rig.backend.whose("videos", KEY, path, ONE) is Whose.OURS
    other = source(tmp_path, b"two ")
    assert rig.backend.whose("videos", KEY, other, ONE) is Whose.ANOTHERS
    assert rig.backend.store("videos", KEY, other, deaf, mark=ONE) is False
    assert content(rig, tmp_path) == b"one "


def test_a_job_replaces_what_it_stored_itself(rig: Rig, tmp_path: Path) -> None:
    state = tmp_path / "upload.json"
    for mark, data in ((ONE, b"first"), (ANEW, b"made anew"), (ANEW, b"made anew")):
        path = source(tmp_path, data)
        assert rig.backend.store("videos", KEY, path, deaf, state=state, mark=mark) is True
    assert content(rig, tmp_path) == b"made anew"
    assert rig.backend.whose("videos", KEY, path, ANEW, state=state) is Whose.OURS


def test_of_two_that_race_for_a_name_one_has_it_and_the_other_is_told(rig: Rig, tmp_path: Path) -> None:
    slow, quick = tmp_path / "slow.mp4", tmp_path / "quick.mp4"
    slow.write_bytes(b"s" * 20_000_000)
    quick.write_bytes(b"q" * 20_000_000)
    told: list[bool] = []

    def meanwhile(part: float) -> None:
        if not told:
            told.append(rig.backend.store("videos", KEY, quick, deaf, mark=OTHER))

    stored = rig.backend.store("videos", KEY, slow, meanwhile, state=tmp_path / "s.json", mark=ONE)
    assert (told, stored) == ([True], False)
    assert content(rig, tmp_path) == b"q" * 20_000_000


def test_a_row_of_another_job_is_not_written_over(rig: Rig, tmp_path: Path) -> None:
    rig.backend.store("videos", KEY, source(tmp_path), deaf, mark=ONE)
    assert rig.backend.has_row(USER, "a.mp4", job=ONE.job) is False
    assert rig.backend.publish_row(video("a.mp4", file_size=1), job=ONE.job) is True
    assert rig.backend.has_row(USER, "a.mp4", job=ONE.job) is False
    assert rig.backend.has_row(USER, "a.mp4", job=OTHER.job) is True
    assert rig.backend.publish_row(video("a.mp4", file_size=2), job=OTHER.job) is False
    assert [row["file_size"] for row in rig.videos()] == [1]
    assert rig.backend.publish_row(video("a.mp4", file_size=3), job=ONE.job) is True
    assert [row["file_size"] for row in rig.videos()] == [3]


def test_a_row_of_an_older_version_is_anothers_until_its_object_is_known(rig: Rig) -> None:
    rig.backend.publish_row(video("a.mp4", file_size=1))
    assert rig.backend.has_row(USER, "a.mp4", job=ONE.job) is True
    assert rig.backend.publish_row(video("a.mp4", file_size=2), job=ONE.job) is True
    assert [row["file_size"] for row in rig.videos()] == [2]


def test_an_object_that_is_not_there_has_no_size(rig: Rig, tmp_path: Path) -> None:
    assert rig.backend.size_of("videos", f"{USER}/a.mp4") is None
    rig.backend.store("videos", f"{USER}/a.mp4", source(tmp_path), deaf)
    assert rig.backend.size_of("videos", f"{USER}/b.mp4") is None
    assert rig.backend.size_of("videos", USER) is None, "a folder is no object"
    assert rig.backend.size_of("logs", f"{USER}/a.mp4") is None, "another bucket"


def test_an_object_that_is_not_there_cannot_be_fetched(rig: Rig, tmp_path: Path) -> None:
    with pytest.raises(Reject):
        rig.backend.fetch("usermedia", f"{USER}/intro/intro_1.mp4", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_source_that_is_not_there_cannot_be_stored(rig: Rig, tmp_path: Path) -> None:
    with pytest.raises(Reject):
        rig.backend.store("videos", f"{USER}/a.mp4", tmp_path / "missing", deaf)
    assert rig.backend.size_of("videos", f"{USER}/a.mp4") is None


HOSTILE = (
    "", "/", "/etc/passwd", "../a", "a/../../b", "a/..", "./a", "a/./b", "a//b", "a/", "..", "a\0b", "a\nb",
    "a\n", "x" * 201, "x/" * 600 + "x", ".hidden", "a/.hidden",
    "a\\b", "a%2e%2e/b", "a#b", "ü.mp4", "\udc80",
)  # fmt: skip


@pytest.mark.parametrize("key", HOSTILE, ids=lambda key: ascii(key)[:24])
def test_a_hostile_key_is_refused_and_touches_nothing(rig: Rig, tmp_path: Path, key: str) -> None:
    path = source(tmp_path)
    with pytest.raises(Reject):
        rig.backend.store("videos", key, path, deaf)
    with pytest.raises(Reject):
        rig.backend.size_of("videos", key)
    with pytest.raises(Reject):
        rig.backend.fetch("videos", key, tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("bucket", ["", "..", ".staging", "a/b", "videos\n", "x" * 65])
def test_a_hostile_bucket_is_refused(rig: Rig, tmp_path: Path, bucket: str) -> None:
    with pytest.raises(Reject):
        rig.backend.store(bucket, "a.mp4", source(tmp_path), deaf)


# ---- rows


def test_a_video_published_twice_is_one_row_with_the_last_word(rig: Rig) -> None:
    rig.backend.publish_row(video(file_size=10))
    rig.backend.publish_row(video(file_size=20))
    rig.backend.publish_row(video(file_size=20))
    [row] = rig.videos()
    assert {**row, **video(file_size=20)} == row


def test_another_name_or_account_is_another_row(rig: Rig) -> None:
    rig.backend.publish_row(video("a.mp4"))
    rig.backend.publish_row(video("b.mp4"))
    assert sorted(row["filename"] for row in rig.videos()) == ["a.mp4", "b.mp4"]


def test_columns_left_out_keep_what_they_held(rig: Rig) -> None:
    rig.backend.publish_row(video(booking_id="b-1"))
    rig.backend.publish_row(video(file_size=20))
    [row] = rig.videos()
    assert (row["booking_id"], row["file_size"]) == ("b-1", 20)


def test_a_column_that_the_table_may_lack_does_not_stop_the_row(rig: Rig) -> None:
    rig.backend.publish_row(video(shoe_size=44))
    rig.backend.heartbeat({"pi_active": True, "shoe_size": 44})
    assert (len(rig.videos()), len(rig.heartbeats())) == (1, 1)


@pytest.mark.parametrize("missing", ["user_id", "filename"])
def test_a_video_without_name_or_account_is_refused(rig: Rig, missing: str) -> None:
    with pytest.raises(Reject):
        rig.backend.publish_row({key: value for key, value in video().items() if key != missing})
    assert rig.videos() == []


def test_heartbeats_fill_one_row_of_this_camera(rig: Rig) -> None:
    for cpu in (10.0, 20.5):
        rig.backend.heartbeat({"pi_active": True, "cpu_usage_percent": cpu, "is_recording": False})
    [row] = rig.heartbeats()
    assert (row["user_id"], row["camera_id"], row["cpu_usage_percent"]) == (USER, CAMERA, 20.5)
    assert bool(row["pi_active"]) is True
