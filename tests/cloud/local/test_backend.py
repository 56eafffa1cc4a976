"""What is the local backend's own: it survives kills, crowds, full disks and damaged files."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ezrec.cloud.local.backend import LocalBackend
from ezrec.cloud.local.tables import MIGRATIONS
from ezrec.domain import heartbeat
from ezrec.domain.booking import Window, parse_booking
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.ports import Branding
from ezrec.domain.snapshot import Snapshot
from tests.fakes.clock import StandingClock
from tests.support.campaigns import times

MADRID = ZoneInfo("Europe/Madrid")
NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
HERE = Path(__file__).parent
SPAWN = multiprocessing.get_context("spawn")


def backend_in(root: Path, camera_id: str = "0", zone: ZoneInfo = MADRID) -> LocalBackend:
    return LocalBackend(root, "user-1", camera_id, zone, StandingClock())


@pytest.fixture
def backend(tmp_path: Path) -> LocalBackend:
    return backend_in(tmp_path / "store")


def deaf(_: float) -> None: ...


def file_of(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# ---- killed at any moment

STORED = {b"A": 3_000_000, b"B": 2_000_000}
WRITER = """
import sys
from pathlib import Path
from zoneinfo import ZoneInfo
from ezrec.cloud.local.backend import LocalBackend
from tests.fakes.clock import StandingClock
backend = LocalBackend(Path(sys.argv[1]), "user-1", "0", ZoneInfo("Europe/Madrid"), StandingClock())
sources = [Path(path) for path in sys.argv[2:]]
print("ready", flush=True)
for number in range(10**9):
    source = sources[number % 2]
    backend.store("videos", "user-1/a.mp4", source, lambda _: None)
    backend.publish_row({"user_id": "user-1", "filename": f"{number}.mp4", "file_size": number,
                         "storage_path": f"user-1/{number}.mp4", "booking_id": f"b-{number}"})
    print(number, flush=True)
"""


def test_a_kill_at_any_moment_leaves_whole_objects_and_whole_rows(tmp_path: Path) -> None:
    root, chance = tmp_path / "store", random.Random(4)
    sources = [file_of(tmp_path / name.decode(), name * size) for name, size in STORED.items()]
    promised = -1
    for turn in range(times(7, 20)):
        at_least = 1 if turn == 0 else 0  # on a machine however slow, something is promised
        promised = max(promised, _write_until_killed(root, sources, chance.uniform(0, 0.12), at_least))
        backend = backend_in(root)
        if (size := backend.size_of("videos", "user-1/a.mp4")) is not None:
            data = backend.buckets.path("videos", "user-1/a.mp4").read_bytes()
            assert len(data) == size == STORED[data[:1]], "half an object under a final name"
            assert data == data[:1] * size
        for row in backend.videos():
            number = int(row["filename"].removesuffix(".mp4"))
            assert (row["file_size"], row["booking_id"]) == (number, f"b-{number}"), "half a row"
        names = {row["filename"] for row in backend.videos()}
        assert names >= {f"{number}.mp4" for number in range(promised + 1)}, "a confirmed row is gone"
    assert promised >= 0
    backend.store("videos", "user-1/a.mp4", sources[0], deaf)
    assert list((root / "buckets/.staging").iterdir()) == [], "dead writers' copies fill the disk"
    assert os.listdir(root / "buckets/videos/user-1") == ["a.mp4"]


def _write_until_killed(root: Path, sources: list[Path], after_s: float, at_least: int) -> int:
    """Let a process write until it is killed; returns the last number that it confirmed, or -1."""
    argv = [sys.executable, "-c", WRITER, str(root), *map(str, sources)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=HERE.parent) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            said = [child.stdout.readline() for _ in range(at_least)]
            time.sleep(after_s)
        finally:
            child.kill()
        said += child.stdout.read().splitlines(keepends=True)
    whole = [int(line) for line in said if line.endswith("\n")]
    return whole[-1] if whole else -1


def test_a_writer_at_work_is_not_swept_away_by_another(backend: LocalBackend, tmp_path: Path) -> None:
    slow, quick = file_of(tmp_path / "slow", b"s" * 40_000_000), file_of(tmp_path / "quick", b"q")

    def meanwhile(part: float) -> None:
        if part < 0.5:
            backend.store("videos", "user-1/quick.mp4", quick, deaf)

    backend.store("videos", "user-1/slow.mp4", slow, meanwhile)
    assert backend.size_of("videos", "user-1/slow.mp4") == 40_000_000
    assert backend.size_of("videos", "user-1/quick.mp4") == 1


def test_a_source_that_grows_while_it_is_copied_is_not_stored(backend: LocalBackend, tmp_path: Path) -> None:
    source = file_of(tmp_path / "growing", b"s" * 1000)
    backend.store("videos", "user-1/a.mp4", file_of(tmp_path / "old", b"old"), deaf)

    def write_on(_: float) -> None:
        os.truncate(source, 2000)

    with pytest.raises(Retry, match="still being written"):
        backend.store("videos", "user-1/a.mp4", source, write_on)
    assert backend.buckets.path("videos", "user-1/a.mp4").read_bytes() == b"old"


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory"])
def test_what_is_no_plain_file_is_never_stored(backend: LocalBackend, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "source"
    {
        "symlink": lambda: path.symlink_to("/etc/hostname"),
        "fifo": lambda: os.mkfifo(path),
        "directory": lambda: path.mkdir(),
    }[kind]()
    with pytest.raises(Reject):
        backend.store("videos", "user-1/a.mp4", path, deaf)
    assert backend.size_of("videos", "user-1/a.mp4") is None


# ---- several processes at once


def _crowd(root: Path, number: int, faults: Any) -> None:
    backend = backend_in(root)
    try:
        for turn in range(40):
            backend.publish_row({"user_id": "user-1", "filename": f"{number}-{turn}.mp4"})
            backend.heartbeat({"pi_active": True, "uptime_seconds": turn})
            backend.bookings()
    except Exception as fault:  # noqa: BLE001 - whatever it is, the test wants to hear of it
        faults.put(f"{type(fault).__name__}: {fault}")


def test_four_processes_at_once_never_hear_that_the_database_is_locked(tmp_path: Path) -> None:
    root, faults = tmp_path / "store", SPAWN.SimpleQueue()
    _run_together([SPAWN.Process(target=_crowd, args=(root, number, faults)) for number in range(4)])
    assert faults.empty(), faults.get()
    assert len(backend_in(root).videos()) == 160
    assert len(backend_in(root).tables.rows("SELECT * FROM system_status")) == 1


def _race(root: Path, start: Any, moved: Any) -> None:
    backend = backend_in(root)
    for turn in range(25):
        start.wait(30)
        if backend.advance_status(f"b-{turn}", "completed"):
            moved.put(turn)


def test_a_status_raced_for_by_four_processes_moves_exactly_once(tmp_path: Path) -> None:
    root, start, moved = tmp_path / "store", SPAWN.Barrier(4), SPAWN.SimpleQueue()
    for turn in range(25):
        backend_in(root).tables.put("bookings", {"id": f"b-{turn}", "user_id": "user-1"}, ("id",))
    _run_together([SPAWN.Process(target=_race, args=(root, start, moved)) for _ in range(4)])
    turns = []
    while not moved.empty():
        turns.append(moved.get())
    assert sorted(turns) == list(range(25))


def _run_together(processes: list[Any]) -> None:
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(60)
            assert process.exitcode == 0
    finally:
        for process in processes:
            process.kill()


def test_who_waits_too_long_for_the_tables_comes_back_later(backend: LocalBackend) -> None:
    backend.bookings()
    backend.tables.busy_s = 0.1
    with backend.tables.open() as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Retry, match="locked"):
            backend.book(NOON, NOON + HOUR)


# ---- the file and the disk


def test_the_tables_are_kept_in_a_log_that_is_flushed_at_every_commit(backend: LocalBackend) -> None:
    with backend.tables.open() as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert db.execute("PRAGMA busy_timeout").fetchone()[0] >= 10_000


def test_between_operations_the_one_file_holds_everything(backend: LocalBackend) -> None:
    booking_id = backend.book(NOON, NOON + HOUR)
    assert not backend.tables.path.with_name("tables.db-wal").exists()
    copy = backend.root.parent / "copy.db"
    copy.write_bytes(backend.tables.path.read_bytes())
    db = sqlite3.connect(copy)
    assert db.execute("SELECT id FROM bookings").fetchall() == [(booking_id,)]
    db.close()


@pytest.mark.parametrize("damage", ["overwritten", "torn inside"])
def test_a_damaged_file_is_refused_with_the_remedy_and_left_alone(backend: LocalBackend, damage: str) -> None:
    for _ in range(40):
        backend.book(NOON, NOON + HOUR)
    path = backend.tables.path
    data = bytearray(path.read_bytes())
    torn = slice(0, 4096) if damage == "overwritten" else slice(4096, len(data))
    data[torn] = b"\xa5" * len(data[torn])
    path.write_bytes(data)
    for attempt in (backend.bookings, lambda: backend.book(NOON, NOON + HOUR)):
        with pytest.raises(Reject, match="damaged") as told:
            attempt()
        assert ".recover" in told.value.remedy
    assert path.read_bytes() == bytes(data)


def test_tables_of_a_newer_version_are_left_alone(backend: LocalBackend) -> None:
    backend.bookings()
    with backend.tables.open() as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(Reject, match="newer"):
        backend.bookings()


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True, timeout=10)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True, timeout=10)


def fill_up(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"b" * 4096)


def book_on_and_on(backend: LocalBackend) -> None:
    for _ in range(200):
        backend.book(NOON, NOON + HOUR)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_a_fault_that_may_pass(tmp_path: Path) -> None:
    film = file_of(tmp_path / "film", b"f" * 8_000_000)
    with small_disk(tmp_path / "disk", "2m") as disk:
        backend = backend_in(disk / "store")
        backend.store("videos", "user-1/a.mp4", file_of(tmp_path / "old", b"old"), deaf)
        with pytest.raises(Retry, match="No space left"):
            backend.store("videos", "user-1/a.mp4", film, deaf)
        assert backend.buckets.path("videos", "user-1/a.mp4").read_bytes() == b"old"
        assert list((disk / "store/buckets/.staging").iterdir()) == []

        backend.bookings()
        fill_up(disk / "ballast")
        with pytest.raises(Retry):
            book_on_and_on(backend)
        (disk / "ballast").unlink()
        booking_id = backend.book(NOON, NOON + HOUR)
        assert booking_id in [row["id"] for row in backend.bookings()]


def test_a_store_whose_place_cannot_be_made_is_a_fault_that_may_pass(tmp_path: Path) -> None:
    file_of(tmp_path / "store", b"a file where the folder should be")
    with pytest.raises(Retry):
        backend_in(tmp_path / "store").bookings()


# ---- rows that no table can hold


@pytest.mark.parametrize(
    "row",
    [{"file_size": []}, {"file_size": 2**70}, {"file_size": "large"}, {"created_at": datetime(2026, 1, 1)}],  # noqa: DTZ001
    ids=str,
)
def test_a_value_that_fits_no_column_is_refused(backend: LocalBackend, row: dict[str, Any]) -> None:
    with pytest.raises(Reject):
        backend.publish_row({"user_id": "user-1", "filename": "a.mp4", **row})
    assert backend.videos() == []


def test_a_column_name_never_becomes_part_of_a_statement(backend: LocalBackend) -> None:
    backend.publish_row({"user_id": "user-1", "filename": "a.mp4", "x) VALUES (1); DROP TABLE videos; --": 1})
    assert len(backend.videos()) == 1


# ---- a person's bookings


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=MADRID).astimezone(UTC)


@pytest.mark.parametrize(
    ("start", "end", "columns"),
    [
        (at("2026-06-01 18:00"), at("2026-06-01 19:30"), ("2026-06-01", "18:00:00", "19:30:00")),
        (at("2026-06-01 00:00"), at("2026-06-01 23:59:59"), ("2026-06-01", "00:00:00", "23:59:59")),
        # Over midnight.
        (
            at("2026-06-01 23:00"),
            at("2026-06-02 00:30"),
            ("2026-06-01", "2026-06-01T23:00:00+02:00", "2026-06-02T00:30:00+02:00"),
        ),
        (
            at("2026-06-01 23:00"),
            at("2026-06-02 00:00"),
            ("2026-06-01", "2026-06-01T23:00:00+02:00", "2026-06-02T00:00:00+02:00"),
        ),
        # The hour that is left out in spring, and the one that comes twice in autumn.
        (
            datetime(2026, 3, 29, 0, 30, tzinfo=UTC),
            datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
            ("2026-03-29", "2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"),
        ),
        (
            datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
            datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
            ("2026-10-25", "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"),
        ),
        # Wholly within the second 02:00–03:00: bare times would mean the first.
        (
            datetime(2026, 10, 25, 1, 10, tzinfo=UTC),
            datetime(2026, 10, 25, 1, 50, tzinfo=UTC),
            ("2026-10-25", "2026-10-25T02:10:00+01:00", "2026-10-25T02:50:00+01:00"),
        ),
    ],
)
def test_a_booking_is_written_so_that_it_is_read_as_it_was_meant(
    backend: LocalBackend, start: datetime, end: datetime, columns: tuple[str, str, str]
) -> None:
    booking_id = backend.book(start, end)
    [row] = backend.bookings()
    assert (row["date"], row["start_time"], row["end_time"]) == columns
    booking = parse_booking(row, MADRID)
    assert (booking.id, booking.window, booking.camera_id) == (booking_id, Window(start, end), "0")


@pytest.mark.parametrize("length", [timedelta(0), -HOUR, timedelta(hours=25)], ids=str)
def test_a_window_that_is_none_is_not_booked(backend: LocalBackend, length: timedelta) -> None:
    with pytest.raises(Reject):
        backend.book(NOON, NOON + length)
    assert backend.all_bookings() == []


def test_each_camera_gets_its_own_bookings(tmp_path: Path) -> None:
    one, two = backend_in(tmp_path, "0"), backend_in(tmp_path, "court-2")
    first, second = one.book(NOON, NOON + HOUR), two.book(NOON, NOON + HOUR)
    assert [row["id"] for row in one.bookings()] == [first]
    assert [row["id"] for row in two.bookings()] == [second]
    assert {row["id"] for row in two.all_bookings()} == {first, second}


def test_a_booking_can_be_moved_at_either_end(backend: LocalBackend) -> None:
    booking_id = backend.book(NOON, NOON + HOUR)
    assert backend.change(booking_id, end=NOON + 2 * HOUR)
    assert parse_booking(backend.bookings()[0], MADRID).window == Window(NOON, NOON + 2 * HOUR)
    assert backend.change(booking_id, start=NOON + HOUR)
    assert parse_booking(backend.bookings()[0], MADRID).window == Window(NOON + HOUR, NOON + 2 * HOUR)
    with pytest.raises(Reject):
        backend.change(booking_id, start=NOON + 3 * HOUR)
    assert parse_booking(backend.bookings()[0], MADRID).window == Window(NOON + HOUR, NOON + 2 * HOUR)
    assert not backend.change("unknown", end=NOON)


def test_cancelling_twice_is_cancelling_once(backend: LocalBackend) -> None:
    booking_id = backend.book(NOON, NOON + HOUR)
    assert backend.cancel(booking_id)
    assert backend.cancel(booking_id)
    assert backend.bookings()[0]["status"] == "cancelled"
    assert not backend.cancel("unknown")
    with pytest.raises(Reject, match="cancelled"):
        backend.change(booking_id, end=NOON + 2 * HOUR)


def test_what_is_recorded_can_be_neither_cancelled_nor_moved(backend: LocalBackend) -> None:
    booking_id = backend.book(NOON, NOON + HOUR)
    backend.advance_status(booking_id, "completed")
    with pytest.raises(Reject, match="recorded already"):
        backend.cancel(booking_id)
    with pytest.raises(Reject, match="completed"):
        backend.change(booking_id, end=NOON + 2 * HOUR)
    assert backend.bookings()[0]["status"] == "completed"


def test_every_change_by_a_person_is_a_hint_for_whoever_watches(
    backend: LocalBackend, tmp_path: Path
) -> None:
    logo = file_of(tmp_path / "logo.png", b"png")
    booking_id = backend.book(NOON, NOON + HOUR)
    for change in (
        lambda: backend.book(NOON, NOON + HOUR),
        lambda: backend.change(booking_id, end=NOON + 2 * HOUR),
        lambda: backend.cancel(booking_id),
        lambda: backend.set_branding(logo=logo),
    ):
        (backend.changes / "bookings").unlink()
        change()
        assert os.listdir(backend.changes) == ["bookings"]


def test_what_the_services_do_is_no_hint(backend: LocalBackend) -> None:
    booking_id = backend.book(NOON, NOON + HOUR)
    (backend.changes / "bookings").unlink()
    backend.bookings()
    backend.advance_status(booking_id, "completed")
    backend.heartbeat({"pi_active": True})
    assert os.listdir(backend.changes) == []


# ---- branding, videos, cameras


def test_branding_keeps_a_copy_under_a_new_key_each_time(backend: LocalBackend, tmp_path: Path) -> None:
    intro, logo = file_of(tmp_path / "My Intro.MP4", b"intro"), file_of(tmp_path / "logo.png", b"png")
    first = backend.set_branding(intro, logo)
    ms = int(backend.clock.now().timestamp() * 1000)
    assert first == Branding(f"user-1/intro/intro_{ms}.mp4", f"user-1/logo/logo_{ms}.png")
    second = backend.set_branding(intro=intro)
    assert second.logo == first.logo
    assert second.intro != first.intro
    for branding in (first, second):
        assert branding.intro is not None
        backend.fetch("usermedia", branding.intro, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == b"intro"


def test_branding_can_be_taken_away(backend: LocalBackend, tmp_path: Path) -> None:
    logo = file_of(tmp_path / "logo.png", b"png")
    backend.set_branding(logo, logo)
    assert backend.set_branding(remove=("intro",)).intro is None
    assert backend.branding().logo is not None


@pytest.mark.parametrize("name", ["logo", "logo.", "logo.p n", "logo.verylong"])
def test_an_asset_without_a_plain_ending_is_refused(backend: LocalBackend, tmp_path: Path, name: str) -> None:
    with pytest.raises(Reject):
        backend.set_branding(logo=file_of(tmp_path / name, b"png"))
    assert backend.branding() == Branding()


def test_a_video_is_found_by_its_name_once_its_object_is_there(backend: LocalBackend, tmp_path: Path) -> None:
    backend.publish_row({"user_id": "user-1", "filename": "a.mp4"})
    assert [row["filename"] for row in backend.videos()] == ["a.mp4"]
    assert backend.video_path("a.mp4") is None
    backend.store("videos", "user-1/a.mp4", file_of(tmp_path / "a", b"film"), deaf)
    path = backend.video_path("a.mp4")
    assert path == backend.root / "buckets/videos/user-1/a.mp4"
    with pytest.raises(Reject):
        backend.video_path("../other/a.mp4")


def test_a_heartbeat_shows_on_the_camera_too(backend: LocalBackend) -> None:
    backend.heartbeat(
        {"pi_active": True, "is_recording": True, "last_heartbeat": "2026-06-01T12:00:00+00:00"}
    )
    [camera] = backend.tables.rows("SELECT * FROM cameras")
    assert (camera["id"], camera["is_recording"], camera["last_seen"]) == (
        "0",
        1,
        "2026-06-01T12:00:00+00:00",
    )


def test_every_column_of_a_real_heartbeat_has_its_place(
    backend: LocalBackend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.heartbeat(heartbeat.row(Snapshot(NOON, jobs={"raw": 2}), "user-1", "0"))
    assert "no column" not in caplog.text
    [row] = backend.tables.rows("SELECT * FROM system_status")
    assert json.loads(row["details"])["jobs"] == {"raw": 2}


def test_tables_of_the_first_version_are_brought_up_to_date_with_what_they_hold(
    tmp_path: Path, backend: LocalBackend
) -> None:
    backend.tables.path.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(backend.tables.path)) as db:
        db.executescript(f"PRAGMA journal_mode = WAL; {MIGRATIONS[0]} PRAGMA user_version = 1;")
        db.execute("INSERT INTO system_status (user_id, camera_id, uptime_seconds) VALUES ('user-1', '7', 9)")
        db.commit()
    backend.heartbeat({"details": {"jobs": {}}})
    kept = backend.tables.rows("SELECT camera_id, uptime_seconds, details FROM system_status ORDER BY 1")
    assert [tuple(row.values()) for row in kept] == [("0", None, '{"jobs": {}}'), ("7", 9.0, None)]


def test_nothing_is_made_before_it_is_needed(tmp_path: Path) -> None:
    backend_in(tmp_path / "store")
    assert os.listdir(tmp_path) == []


# ---- looked at every few seconds


def settled(backend: LocalBackend) -> LocalBackend:
    """As if nobody had touched the tables for a while."""
    moment = time.time() - 60
    os.utime(backend.tables.path, (moment, moment))
    return backend


def test_looking_again_at_tables_that_nobody_changed_writes_nothing(backend: LocalBackend) -> None:
    backend.book(NOON, NOON + HOUR)
    settled(backend)
    first = (backend.bookings(), backend.branding())
    os.utime(backend.root, (1, 1))  # whoever makes a file in it changes this
    first[0][0]["id"] = "mine alone"
    again = (backend.bookings(), backend.branding())
    assert os.stat(backend.root).st_mtime == 1
    assert again[0][0]["id"] != "mine alone"
    assert again[1] == first[1]


def test_a_change_by_another_process_is_seen_at_the_next_look(backend: LocalBackend) -> None:
    first = backend.book(NOON, NOON + HOUR)
    assert [row["id"] for row in settled(backend).bookings()] == [first]
    second = backend_in(backend.root).book(NOON + HOUR, NOON + 2 * HOUR)
    assert [row["id"] for row in backend.bookings()] == [first, second]
    third = backend_in(backend.root).book(NOON + 2 * HOUR, NOON + 3 * HOUR)
    assert [row["id"] for row in backend.bookings()] == [first, second, third]
    backend_in(backend.root).cancel(first)
    assert backend.bookings()[0]["status"] == "cancelled"


def test_a_change_that_is_held_open_by_its_writer_is_seen(backend: LocalBackend) -> None:
    first = backend.book(NOON, NOON + HOUR)
    assert len(settled(backend).bookings()) == 1
    with backend_in(backend.root).tables.open() as db:
        db.execute("UPDATE bookings SET status = 'cancelled' WHERE id = ?", (first,))
        assert backend.bookings()[0]["status"] == "cancelled"
