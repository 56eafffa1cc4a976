"""Bookings and branding in, statuses out: what `ezrec pulse sync` and `ezrec pulse tell` do."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ezrec.domain import booking
from ezrec.domain.branding import Assets
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.job import JobOutcome, Kind
from ezrec.domain.ports import Branding
from ezrec.domain.stages import State
from ezrec.publishing.report_steps import StepReporter
from ezrec.spool.intake import Intake
from ezrec.spool.spool import Entry
from ezrec.sync.booking_sync import BookingSync, known_booking, read_cache
from ezrec.sync.branding_cache import BrandingCache
from tests.fakes.backend import FakeBackend
from tests.support.boxes import LOG, CourtBox, a_box
from tests.support.jobs import laid
from tests.support.wait import eventually

TODAY = "2026-06-01"
KEY = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZSJ9.c2lnbmF0dXJl"


class SyncBox(CourtBox):
    """A camera box that fetches its bookings from a fake cloud."""

    def sync(self) -> BookingSync:
        """A fresh one, as a timer or a reboot starts it."""
        media = BrandingCache(self.settings.media_cache)
        cache, zone = self.settings.booking_cache, self.settings.zone
        return BookingSync(self.cloud, self.spool, cache, media, self.clock, zone, LOG)

    def adopt(self) -> list[Entry]:
        """What the recorder does with what was dropped: incoming/ is empty of loose files afterwards."""
        intake = Intake(self.spool, State.INCOMING, self.clock, self.settings.zone, LOG)
        _, unknown_files = self.spool.look(State.INCOMING)
        return intake.adopt(unknown_files)[0]

    def dropped(self) -> dict[str, Any]:
        """The rows that lie in incoming/ for the recorder, by file name."""
        return {
            path.name: json.loads(path.read_bytes()) for path in (self.spool.root / "incoming").glob("*.json")
        }

    def cache(self) -> Any:
        return json.loads(self.settings.booking_cache.read_bytes())


@pytest.fixture
def box(tmp_path: Path) -> SyncBox:
    made = a_box(tmp_path, SUPABASE_KEY=KEY)
    return SyncBox(made.home, made.settings, made.spool)


def row(booking_id: Any, start: str = "18:00", end: str = "19:00", **more: Any) -> dict[str, Any]:
    return {"id": booking_id, "date": TODAY, "start_time": start, "end_time": end, "notes": "Ana", **more}


# ---- sync: what comes in


def test_a_new_booking_is_dropped_for_the_recorder_and_cached_as_a_whole_row(box: SyncBox) -> None:
    box.cloud.add_booking(row("b1"))
    box.sync()()
    assert box.dropped()["b1.json"]["notes"] == "Ana"
    assert box.cache() == box.cloud.bookings()
    (entry,) = box.adopt()
    assert (entry.id, entry.state) == ("b1", State.INCOMING)


def test_a_row_that_has_not_changed_is_not_dropped_again(box: SyncBox) -> None:
    box.cloud.add_booking(row("b1"))
    box.sync()()
    box.adopt()
    box.sync()()
    assert box.dropped() == {}


def test_each_row_is_parsed_once_however_often_it_is_fetched_ordered_and_adopted(box: SyncBox) -> None:
    booking._parsed.cache_clear()
    for number in range(20):
        box.cloud.add_booking(row(f"b{number}", user_id="user-1"))
    for _ in range(3):
        box.sync()()
    assert len(box.adopt()) == 20
    box.sync()()
    assert booking._parsed.cache_info().misses == 20
    assert known_booking(box.settings.booking_cache, box.settings.zone)("b7") is not None
    box.cloud.booking_rows["b7"]["end_time"] = "20:30"
    box.sync()()
    box.adopt()
    assert booking._parsed.cache_info().misses == 21, "a changed row is another one"


def test_a_changed_row_is_dropped_again_and_amends_the_job(box: SyncBox) -> None:
    box.cloud.add_booking(row("b1"))
    box.sync()()
    box.adopt()
    box.cloud.booking_rows["b1"]["end_time"] = "20:30"
    box.sync()()
    box.adopt()
    booking = box.spool.entries(State.INCOMING)[0].job.booking
    assert booking is not None
    assert f"{booking.end:%H:%M}" == "20:30"


@pytest.mark.parametrize(
    "more",
    [
        {"status": "cancelled"},
        {"status": "video_uploaded"},
        {"date": "2026-05-20"},
    ],
    ids=["cancelled", "finished", "long past"],
)
def test_what_is_not_to_be_recorded_is_never_dropped(box: SyncBox, more: dict[str, str]) -> None:
    box.cloud.add_booking(row("b1", **more))
    box.sync()()
    box.sync()()
    assert box.dropped() == {}
    assert len(box.cache()) == 1


def test_a_booking_that_has_just_passed_is_still_handed_over_to_be_named_missed(box: SyncBox) -> None:
    box.cloud.add_booking(row("b1", "08:00", "09:00"))
    box.sync()()
    assert list(box.dropped()) == ["b1.json"]


def test_a_cancelled_row_amends_the_job_that_waits(box: SyncBox) -> None:
    box.cloud.add_booking(row("b1"))
    box.sync()()
    box.adopt()
    box.cloud.booking_rows["b1"]["status"] = "cancelled"
    box.sync()()
    (entry,) = box.adopt()
    assert entry.job.booking is not None
    assert entry.job.booking.is_cancelled


# ---- sync: what goes away


@pytest.mark.parametrize("fault", [Retry("no network"), Reject("the key is wrong", "set another")])
def test_a_failed_answer_erases_nothing(box: SyncBox, fault: Exception) -> None:
    box.cloud.add_booking(row("b1"))
    box.sync()()
    for _ in range(3):
        box.cloud.fail_next(1, fault, "bookings")
        with pytest.raises(type(fault)):
            box.sync()()
    assert [found["id"] for found in box.cache()] == ["b1"]
    assert list(box.dropped()) == ["b1.json"]


def test_one_empty_answer_erases_nothing(box: SyncBox) -> None:
    box.cloud.add_booking(row("b1"))
    box.sync()()
    kept = dict(box.cloud.booking_rows)
    box.cloud.booking_rows.clear()
    box.sync()()
    assert [found["id"] for found in box.cache()] == ["b1"]
    box.cloud.booking_rows.update(kept)
    box.sync()()
    box.cloud.booking_rows.clear()
    box.sync()()
    assert [found["id"] for found in box.cache()] == ["b1"], "absent twice, but not in a row"


def test_absent_twice_in_a_row_is_cancelled_though_a_timer_starts_us_anew(box: SyncBox) -> None:
    for booking_id in ("b1", "b2"):
        box.cloud.add_booking(row(booking_id))
    box.sync()()
    box.adopt()
    del box.cloud.booking_rows["b1"]
    box.sync()()
    assert box.dropped() == {}
    box.sync()()
    assert list(box.dropped()) == ["b1.json"]
    (entry,) = box.adopt()
    assert entry.job.booking is not None
    assert entry.job.booking.is_cancelled
    assert [found["id"] for found in box.cache()] == ["b2"]
    box.sync()()
    assert box.dropped() == {}


def test_a_device_that_is_shut_out_keeps_its_bookings_and_says_so_once(
    box: SyncBox, caplog: pytest.LogCaptureFixture
) -> None:
    box.cloud.add_booking(row("b1"))
    sync = box.sync()
    sync()
    box.adopt()
    box.cloud.is_shut_out = True
    for _ in range(5):
        sync()
    assert box.dropped() == {}
    assert [found["id"] for found in box.cache()] == ["b1"]
    said = [record for record in caplog.records if "ezrec schema" in record.getMessage()]
    assert len(said) == 1
    box.cloud.is_shut_out = False
    box.cloud.booking_rows.clear()
    sync()
    assert box.dropped() == {}, "what a shut-out device did not see was never counted"
    sync()
    assert list(box.dropped()) == ["b1.json"]


def test_a_cancellation_reaches_a_device_that_was_shut_out_meanwhile(box: SyncBox) -> None:
    box.cloud.add_booking(row("b1"))
    sync = box.sync()
    sync()
    box.adopt()
    box.cloud.is_shut_out = True
    sync()
    box.cloud.is_shut_out = False
    box.cloud.booking_rows["b1"]["status"] = "cancelled"
    sync()
    assert box.dropped()["b1.json"]["status"] == "cancelled"


def test_while_shut_out_a_recording_goes_on(box: SyncBox) -> None:
    box.cloud.add_booking(row("b1", "11:00", "13:00"))
    sync = box.sync()
    sync()
    (entry,) = box.adopt()
    box.spool.claim(entry, State.RECORDING)
    box.cloud.is_shut_out = True
    for _ in range(4):
        sync()
        box.adopt()
    (entry,) = box.spool.entries(State.RECORDING)
    assert entry.take_amendment() is None


def test_an_idle_box_asks_for_the_branding_now_and_then_and_a_box_with_footage_always(box: SyncBox) -> None:
    sync = box.sync()
    sync.branding_s = 300
    for _ in range(4):
        sync()
    assert box.cloud.calls["branding"] == 1
    box.clock.pass_time(301)
    sync()
    assert box.cloud.calls["branding"] == 2
    laid(box.spool, State.RAW, "b1")
    sync()
    sync()
    assert box.cloud.calls["branding"] == 4


def test_processes_that_live_for_one_beat_ask_for_the_branding_no_oftener(box: SyncBox) -> None:
    def one_beat() -> int:
        sync = box.sync()
        sync.branding_s = 300
        sync()
        box.clock.pass_time(15)
        return box.cloud.calls["branding"]

    assert [one_beat() for _ in range(4)] == [1, 1, 1, 1]
    for path in box.settings.media_cache.iterdir():
        path.unlink()
    assert one_beat() == 2, "somebody has emptied the cache"
    box.clock.pass_time(-86400)
    assert one_beat() == 3, "a mark of tomorrow says nothing"


def test_processes_that_live_for_one_beat_say_once_that_they_are_shut_out(
    box: SyncBox, caplog: pytest.LogCaptureFixture
) -> None:
    box.cloud.add_booking(row("b1"))
    box.sync()()
    box.cloud.is_shut_out = True
    box.sync()()  # the backend notes it for those that come
    for _ in range(3):
        sync = box.sync()
        sync.was_shut_out = lambda: True
        sync()
    assert len([record for record in caplog.records if "ezrec schema" in record.getMessage()]) == 1


def test_the_time_of_the_cache_is_that_of_the_last_answer_which_agreed_with_it(box: SyncBox) -> None:
    def fetched_s_ago() -> float:
        return box.clock.now().timestamp() - box.settings.booking_cache.stat().st_mtime

    sync = box.sync()
    sync()
    assert box.cache() == [], "no booking is an answer too"
    assert fetched_s_ago() == 0
    for _ in range(100):
        box.clock.pass_time(15)
        sync()
        assert fetched_s_ago() <= 300
    box.cloud.add_booking(row("b1"))
    sync()
    box.cloud.is_shut_out = True
    for _ in range(100):
        box.clock.pass_time(15)
        sync()
    assert fetched_s_ago() >= 1500, "an answer that is not believed"
    box.cloud.is_shut_out = False
    box.cloud.fail_next(1, Retry("no network"), "bookings")
    with pytest.raises(Retry):
        sync()
    assert fetched_s_ago() >= 1500


# ---- sync: hostile rows


HOSTILE = {
    "a path": row("../../etc/cron.d/x"),
    "a newline": row("b1\n"),
    "a leading dash": row("-rf"),
    "another alphabet": row("бронь"),
    "10 kB": row("x" * 10_000),
    "a number": row(17),
    "no id": {"date": TODAY, "start_time": "18:00", "end_time": "19:00"},
    "a list": row(["b1"]),
    "an end before the start": row("bad-1", "18:00", "10:00"),
    "no times": {"id": "bad-2", "date": TODAY},
    "times of wrong type": row("bad-3", 18, 19),  # type: ignore[arg-type]
    "a month long": {"id": "bad-4", "start_time": "2026-06-01T10:00Z", "end_time": "2026-07-01T10:00Z"},
    "a lone surrogate": row("\ud800"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_row_does_no_harm_is_told_once_and_stops_no_other(
    box: SyncBox, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    hostile = {"user_id": "user-1", "camera_id": "0", "status": "confirmed", **HOSTILE[what]}
    box.cloud.booking_rows["hostile"] = hostile
    box.cloud.add_booking(row("good"))
    for _ in range(3):
        box.sync()()
        box.adopt()
    assert [entry.id for entry in box.spool.entries(State.INCOMING)] == ["good"]
    (failed,) = box.spool.entries(State.FAILED)
    assert failed.job.reason
    assert failed.job.remedy
    assert (failed.path / "reason.txt").read_text().startswith(failed.job.reason)
    told = [record for record in caplog.records if "cannot be used" in record.message]
    assert len(told) == 1
    outside = {path.name for path in box.home.parent.iterdir()} | {path.name for path in box.home.iterdir()}
    assert outside.isdisjoint({"x", "etc", "cron.d"})


def test_a_bad_row_that_is_corrected_is_handed_over_after_all(box: SyncBox) -> None:
    box.cloud.add_booking(row("b1", "18:00", "10:00"))
    box.sync()()
    box.adopt()
    box.cloud.booking_rows["b1"]["end_time"] = "19:00"
    box.sync()()
    assert box.dropped()["b1.json"]["end_time"] == "19:00"


@pytest.mark.parametrize("content", [b"", b"{", b'{"id": 1}', b"[1, null, []]", b"\xff\xfe"])
def test_a_spoilt_cache_is_as_good_as_none(box: SyncBox, content: bytes) -> None:
    box.settings.booking_cache.write_bytes(content)
    box.cloud.add_booking(row("b1"))
    box.sync()()
    assert [found["id"] for found in box.cache()] == ["b1"]


def test_the_cache_is_replaced_whole(box: SyncBox) -> None:
    box.cloud.add_booking(row("b1"))
    box.sync()()
    reader = box.settings.booking_cache.open("rb")
    box.cloud.add_booking(row("b2"))
    box.sync()()
    with reader:
        assert len(json.loads(reader.read())) == 1, "who reads the old one reads all of it"
    assert len(box.cache()) == 2
    assert [path.name for path in box.home.glob("*.new")] == []


# ---- sync: without a network


def test_after_a_reboot_without_network_the_cached_bookings_are_handed_over(box: SyncBox) -> None:
    box.settings.booking_cache.write_text(json.dumps([row("b1"), row("b2", status="cancelled"), row("../x")]))
    box.cloud.fail_next(1, Retry("no network"), "bookings")
    with pytest.raises(Retry):
        box.sync()()
    assert list(box.dropped()) == ["b1.json"]


def test_what_the_spool_knows_already_is_not_handed_over_from_the_cache(box: SyncBox) -> None:
    box.cloud.add_booking(row("b1"))
    box.sync()()
    box.adopt()
    box.sync().from_cache()
    assert box.dropped() == {}


def test_the_cache_tells_whose_video_was_dropped_in(box: SyncBox) -> None:
    box.settings.booking_cache.write_text(json.dumps([row("b1"), row("bad", "x", "y")]))
    look_up = known_booking(box.settings.booking_cache, box.settings.zone)
    found = look_up("b1")
    assert found is not None
    assert f"{found.start:%H:%M}" == "18:00"
    assert look_up("bad") is None
    assert look_up("other") is None
    assert read_cache(box.home / "absent.json") == []


# ---- tell


def _raw(box: SyncBox, **changes: Any) -> Entry:
    return laid(box.spool, State.RAW, "b1", **{"recording": JobOutcome.RECORDED, **changes})


def _tell(box: SyncBox) -> None:
    StepReporter(box.cloud, box.spool, box.clock, LOG)()


def test_a_recorded_booking_is_told_completed_once(box: SyncBox) -> None:
    box.cloud.add_booking(row("b1"))
    _raw(box)
    _tell(box)
    _tell(box)
    assert box.cloud.booking_rows["b1"]["status"] == "completed"
    assert box.cloud.calls["advance_status"] == 1


def test_a_finished_video_is_told_video_processed(box: SyncBox) -> None:
    box.cloud.add_booking(row("b1"))
    laid(box.spool, State.PROCESSED, "b1", recording=JobOutcome.PARTIAL)
    _tell(box)
    assert box.cloud.booking_rows["b1"]["status"] == "video_processed"


@pytest.mark.parametrize("state", [State.RAW, State.PROCESSING, State.DEFERRED, State.FAILED])
def test_wherever_the_job_stands_its_status_is_told(box: SyncBox, state: State) -> None:
    box.cloud.add_booking(row("b1"))
    laid(box.spool, state, "b1", recording=JobOutcome.RECORDED)
    _tell(box)
    assert box.cloud.booking_rows["b1"]["status"] == "completed"


def test_a_status_that_could_not_be_told_is_told_the_next_time(box: SyncBox) -> None:
    box.cloud.add_booking(row("b1"))
    entry = _raw(box)
    box.cloud.fail_next(1, Retry("no network"), "advance_status")
    with pytest.raises(Retry):
        _tell(box)
    assert not (entry.path / "told.json").exists()
    _tell(box)
    assert box.cloud.booking_rows["b1"]["status"] == "completed"


def test_a_refused_status_is_logged_and_stops_no_other(
    box: SyncBox, caplog: pytest.LogCaptureFixture
) -> None:
    box.cloud.add_booking(row("b2"))
    _raw(box)
    laid(box.spool, State.RAW, "b2", recording=JobOutcome.RECORDED)
    box.cloud.fail_next(1, Reject("not allowed", "grant it"), "advance_status")
    _tell(box)
    _tell(box)
    assert "not allowed" in caplog.text
    assert box.cloud.calls["advance_status"] == 2


def test_a_refused_status_is_told_after_all_once_the_rights_are_in_order(box: SyncBox) -> None:
    box.cloud.add_booking(row("b1"))
    _raw(box)
    box.cloud.fail_next(1, Reject("not allowed", "grant it"), "advance_status")
    _tell(box)
    _tell(box)
    assert box.cloud.booking_rows["b1"]["status"] == "confirmed"
    box.clock.pass_time(3601)
    _tell(box)
    assert box.cloud.booking_rows["b1"]["status"] == "completed"


@pytest.mark.parametrize("content", [b"", b'{"status": "completed"}', b'{"completed": 5}', b"[]", b"\xff"])
def test_a_spoilt_outbox_is_told_again_and_mended(box: SyncBox, content: bytes) -> None:
    box.cloud.add_booking(row("b1"))
    entry = _raw(box)
    (entry.path / "told.json").write_bytes(content)
    _tell(box)
    _tell(box)
    assert box.cloud.booking_rows["b1"]["status"] == "completed"
    assert box.cloud.calls["advance_status"] == 1


def test_the_record_of_a_job_in_hand_is_left_alone(box: SyncBox) -> None:
    entry = _raw(box)
    before = (entry.path / "job.json").read_bytes()
    _tell(box)
    assert (entry.path / "job.json").read_bytes() == before


def test_a_booking_that_is_not_recorded_yet_and_an_archive_tell_nothing(box: SyncBox) -> None:
    _raw(box, recording=None)
    laid(box.spool, State.PROCESSED, "logs-1", kind=Kind.LOGS, booking=None)
    _tell(box)
    assert box.cloud.calls["advance_status"] == 0


# ---- branding


def _brand(box: SyncBox, intro: str | None = None, logo: str | None = None, *sponsors: str) -> None:
    box.cloud.assets = Branding(intro, logo, sponsors)
    for key in filter(None, (intro, logo, *sponsors)):
        box.cloud.objects[("usermedia", *key.split("/"))] = f"bytes of {key}".encode()


def _refresh(box: SyncBox, told: list[str] | None = None) -> BrandingCache:
    media = BrandingCache(box.settings.media_cache)
    media.refresh(box.cloud, (told if told is not None else []).append)
    return media


def test_each_asset_is_fetched_once_a_key(box: SyncBox) -> None:
    _brand(box, intro="user-1/intro/intro_1.mp4", logo="user-1/logo/logo_1.png")
    for _ in range(3):
        media = _refresh(box)
    assert box.cloud.calls["fetch"] == 2
    assets = media.assets()
    assert assets.is_known
    assert assets.intro is not None
    assert assets.intro.read_bytes() == b"bytes of user-1/intro/intro_1.mp4"
    assert assets.intro.suffix == ".mp4"
    _brand(box, intro="user-1/intro/intro_2.mp4", logo="user-1/logo/logo_1.png")
    _refresh(box)
    assert box.cloud.calls["fetch"] == 3


def test_before_the_first_answer_nothing_is_known_and_after_it_no_branding_is_known(box: SyncBox) -> None:
    media = BrandingCache(box.settings.media_cache)
    assert not media.assets().is_known
    box.cloud.fail_next(1, Retry("no network"), "branding")
    with pytest.raises(Retry):
        _refresh(box)
    assert not media.assets().is_known
    _refresh(box)
    assert media.assets().is_known
    assert media.assets().is_empty


def test_a_missing_asset_does_not_stop_the_video_and_is_told(box: SyncBox) -> None:
    told: list[str] = []
    box.cloud.assets = Branding(intro="user-1/intro/gone.mp4")
    assets = _refresh(box, told).assets()
    assert assets.is_known
    assert assets.intro is None
    assert "gone.mp4" in assets.notes[0]
    assert any("gone.mp4" in line for line in told)


def test_sponsors_are_fetched_too_and_one_that_is_missing_does_not_stop_the_others(box: SyncBox) -> None:
    keys = [f"user-1/sponsor_logo{n}/sponsor_logo{n}_7.png" for n in (1, 2, 3)]
    _brand(box, None, None, *keys)
    del box.cloud.objects[("usermedia", *keys[1].split("/"))]
    media = _refresh(box)
    assets = media.assets()
    assert [path.read_bytes().decode() for path in assets.sponsors] == [
        f"bytes of {keys[0]}", f"bytes of {keys[2]}",
    ]  # fmt: skip
    assert "sponsor_logo2_7.png" in assets.notes[0]
    assert not assets.is_empty
    assets.sponsors[0].unlink()
    assert not media.assets().is_known
    _refresh(box)
    assert media.assets() == assets


def test_a_record_from_before_there_were_sponsors_is_still_read(box: SyncBox) -> None:
    media = _refresh(box)
    (media.root / "branding.json").write_bytes(b'{"intro":null,"logo":null,"notes":[]}')
    assert media.assets() == Assets(is_known=True)


def test_a_network_that_goes_away_keeps_what_was_known(box: SyncBox) -> None:
    _brand(box, logo="user-1/logo/logo_1.png")
    before = _refresh(box).assets()
    _brand(box, logo="user-1/logo/logo_2.png")
    box.cloud.fail_next(1, Retry("no network"), "fetch")
    with pytest.raises(Retry):
        _refresh(box)
    assert BrandingCache(box.settings.media_cache).assets() == before


def test_a_fetch_that_breaks_off_leaves_no_half_asset(box: SyncBox) -> None:
    class Breaking(FakeBackend):
        def fetch(self, bucket: str, key: str, target: Path) -> None:
            target.write_bytes(b"half")
            raise Retry("the line broke")

    _brand(box, logo="user-1/logo/logo_1.png")
    cloud, whole = Breaking(), box.cloud
    cloud.assets, box.cloud = whole.assets, cloud
    with pytest.raises(Retry):
        _refresh(box)
    assert not BrandingCache(box.settings.media_cache).assets().is_known
    box.cloud = whole
    logo = _refresh(box).assets().logo
    assert logo is not None
    assert logo.read_bytes() == b"bytes of user-1/logo/logo_1.png"


def test_what_no_key_names_any_more_is_swept_one_change_later(box: SyncBox) -> None:
    files: list[Path] = []
    for n in (1, 2, 3):
        _brand(box, logo=f"user-1/logo/logo_{n}.png")
        logo = _refresh(box).assets().logo
        assert logo is not None
        files.append(logo)
    assert [path.exists() for path in files] == [False, True, True], (
        "a video may be in the making with the last"
    )
    assert _names(box.settings.media_cache) == sorted(["branding.json", files[1].name, files[2].name])


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    "key", ["../../etc/passwd", "a/../b.png", "x" * 3000 + ".png", "user-1/логотип.png", "/"]
)
def test_a_hostile_key_makes_no_path_of_its_own(box: SyncBox, key: str) -> None:
    box.cloud.assets = Branding(logo=key)
    before = {path.name for path in box.home.iterdir()} | {"media_cache"}
    assets = _refresh(box).assets()
    assert assets.is_known
    assert assets.logo is None
    assert {path.name for path in box.home.iterdir()} == before


def test_a_cache_that_somebody_emptied_is_fetched_again(box: SyncBox) -> None:
    _brand(box, logo="user-1/logo/logo_1.png")
    media = _refresh(box)
    logo = media.assets().logo
    assert logo is not None
    logo.unlink()
    assert not media.assets().is_known
    _refresh(box)
    assert media.assets().logo == logo


def test_what_the_cloud_answered_stands_in_the_log_of_the_lane_that_asked(tmp_path: Path) -> None:
    code = """
import logging, sys, threading
from pathlib import Path
from ezrec.system import log_setup as logs
logs.begin(Path(sys.argv[1]), ["sync", "status", "upload"])
def ask():
    name = threading.current_thread().name
    logging.getLogger("ezrec.supabase").warning("%s: 500: oops sb_secret_0123456789", name)
for name in ("sync", "status", "upload", "some helper"):
    thread = threading.Thread(target=ask, name=name)
    thread.start()
    thread.join()
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    lines = {path.stem: path.read_text() for path in tmp_path.glob("*.log")}
    assert "sync: 500: oops ***" in lines["booking_sync"]
    assert "status: 500: oops ***" in lines["system_status"]
    assert "upload: 500: oops ***" in lines["video_worker"]
    assert "sync" not in lines["system_status"]
    assert sum("some helper" in text for text in lines.values()) == 1


# ---- nothing twice, and nothing late


def test_what_the_recorder_has_not_taken_yet_is_not_written_again(box: SyncBox) -> None:
    for n in range(3):
        box.cloud.add_booking(row(f"b{n}"))
    sync = box.sync()
    sync()

    def files() -> list[tuple[int, int]]:
        found = [path.stat() for path in sorted((box.spool.root / "incoming").iterdir())]
        return [(info.st_ino, info.st_mtime_ns) for info in found]

    before = files()
    assert len(before) == 3
    sync()
    box.sync()()
    assert files() == before
    box.cloud.add_booking(row("b1", end="20:00"))
    sync()
    assert box.dropped()["b1.json"]["end_time"] == "20:00"


class SlowStorage(FakeBackend):
    """Its intro comes when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_come = threading.Event()

    def fetch(self, bucket: str, key: str, target: Path) -> None:
        assert self.may_come.wait(60)
        super().fetch(bucket, key, target)


def test_a_long_download_of_the_branding_keeps_no_booking_waiting(box: SyncBox) -> None:
    box.cloud = SlowStorage()
    _brand(box, "u/intro.mp4")
    sync = box.sync()
    sync.interval_s = 0.05
    sync()
    box.cloud.add_booking(row("b1"))
    sync()
    assert list(box.dropped()) == ["b1.json"]
    ending = threading.Thread(target=sync.finish, args=(1.0,))  # as a process of its own does
    ending.start()
    box.cloud.add_booking(row("b2"))
    assert eventually(lambda: "b2.json" in box.dropped())
    box.cloud.may_come.set()
    ending.join(30)
    assert not ending.is_alive()
    assert sync.media.assets().intro is not None
