"""`ezrec local …` over a real local backend."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ezrec import settings
from ezrec.cli.local import local
from ezrec.cloud.local.backend import LocalBackend
from ezrec.domain.booking import Window, parse_booking
from ezrec.domain.errors import NoSuchJob, Refused, Reject
from ezrec.domain.job import JobOutcome
from ezrec.domain.ports import Branding
from ezrec.domain.stages import State
from ezrec.settings import Settings
from ezrec.spool.spool import Spool
from tests.fakes.clock import StandingClock
from tests.support import media
from tests.support.jobs import laid

NOON = datetime(2026, 6, 1, 10, 0, tzinfo=UTC)  # 12:00 in Madrid
SUPABASE = {"SUPABASE_URL": "https://abc.supabase.co", "SUPABASE_KEY": "k", "USER_ID": "user-1"}


@dataclass
class Desk:
    """What the root of the command line gives to the commands, and a person who types."""

    settings: Settings
    backend: LocalBackend

    def local(self) -> LocalBackend:
        return self.backend

    def type(self, *words: str) -> Result:
        return CliRunner().invoke(local, list(words), obj=self)

    def say(self, *words: str) -> str:
        result = self.type(*words)
        assert result.exit_code == 0, result.output
        return result.output

    def rows(self, *words: str) -> Any:
        return json.loads(self.say(*words, "--json"))

    def windows(self) -> list[Window]:
        return [parse_booking(row, self.settings.zone).window for row in self.rows("bookings")]


def desk_in(home: Path, **environ: str) -> Desk:
    found = settings.load({"EZREC_HOME": str(home), "LOCAL_TIMEZONE": "Europe/Madrid", **environ})
    clock = StandingClock(NOON)
    backend = LocalBackend(found.local_store, found.user_id, found.camera_id, found.zone, clock)
    return Desk(found, backend)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return desk_in(tmp_path)


def between(start: str, end: str) -> Window:
    return Window(*(datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end)))


@pytest.mark.parametrize(
    ("words", "window"),
    [
        (["--in", "5s", "--for", "10s"], between("2026-06-01 10:00:05", "2026-06-01 10:00:15")),
        (["--in", "1h30m", "--for", "90m"], between("2026-06-01 11:30", "2026-06-01 13:00")),
        (["--start", "18:00", "--end", "19:30"], between("2026-06-01 16:00", "2026-06-01 17:30")),
        (["--start", "23:00", "--end", "00:30"], between("2026-06-01 21:00", "2026-06-01 22:30")),
        (["--start", "2026-07-01 18:00", "--for", "1h"], between("2026-07-01 16:00", "2026-07-01 17:00")),
        (["--in", "1h", "--end", "14:00"], between("2026-06-01 11:00", "2026-06-01 12:00")),
        (
            ["--start", "2026-10-25T00:30:00Z", "--end", "2026-10-25T01:30:00Z"],
            between("2026-10-25 00:30", "2026-10-25 01:30"),
        ),
    ],
)
def test_book_enters_the_window_that_was_typed(desk: Desk, words: Sequence[str], window: Window) -> None:
    said = desk.say("book", *words)
    assert desk.windows() == [window]
    assert said.split()[0] == desk.rows("bookings")[0]["id"]


def test_a_start_in_some_seconds_is_a_whole_second_and_not_sooner(desk: Desk) -> None:
    clock = desk.backend.clock
    assert isinstance(clock, StandingClock)
    clock.pass_time(0.25)
    desk.say("book", "--in", "5s", "--for", "10s")
    assert desk.windows() == [between("2026-06-01 10:00:06", "2026-06-01 10:00:16")]


def test_book_tells_machines_the_new_row(desk: Desk) -> None:
    row = desk.rows("book", "--in", "5s", "--for", "10s")
    assert [row] == desk.rows("bookings")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--start", "18:00"],
        ["--for", "1h"],
        ["--start", "18:00", "--in", "5s", "--for", "1h"],
        ["--start", "18:00", "--end", "19:00", "--for", "1h"],
        ["--start", "6pm", "--for", "1h"],
        ["--start", "18:00", "--for", "60"],
        ["--start", "18:00", "--end", "17:00"],
        ["--start", "18:00", "--for", "0s"],
        ["--start", "2026-11-29 25:30", "--for", "1h"],
        ["--start", "2027-03-28 02:30", "--for", "1h"],
        ["--start", "10:00", "--end", "11:30"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_wrong_usage_and_books_nothing(desk: Desk, words: list[str]) -> None:
    result = desk.type("book", *words)
    assert result.exit_code == 2, "click's code for usage, of which the root makes 1"
    assert "Error: " in result.output
    assert desk.rows("bookings") == []


def test_a_booking_of_more_than_a_day_is_refused(desk: Desk) -> None:
    assert isinstance(desk.type("book", "--in", "5s", "--for", "25h").exception, Reject)


def test_bookings_are_listed_on_the_local_clock(desk: Desk) -> None:
    assert desk.say("bookings") == "no bookings\n"
    desk.say("book", "--start", "18:00", "--end", "19:30")
    desk.say("book", "--start", "23:00", "--end", "00:30")
    first, second = desk.say("bookings").splitlines()[1:]
    assert "2026-06-01 18:00 – 19:30 CEST" in first
    assert "2026-06-01 23:00 – 2026-06-02 00:30 CEST" in second
    assert first.split()[-1] == "confirmed"


def test_a_row_that_is_no_booking_is_listed_with_the_reason(desk: Desk) -> None:
    desk.backend.tables.put("bookings", {"id": "bad\x1b[2J", "user_id": "local", "status": None}, ("id",))
    said = desk.say("bookings")
    assert "unreadable" in said
    assert "\x1b" not in said


def test_cancel_takes_the_beginning_of_an_id(desk: Desk) -> None:
    booking_id = desk.rows("book", "--in", "5s", "--for", "10s")["id"]
    assert desk.say("cancel", booking_id[:4]) == f"{booking_id} cancelled\n"
    assert desk.rows("bookings")[0]["status"] == "cancelled"


def test_cancel_of_none_or_of_several_is_no_such_job(desk: Desk) -> None:
    for name in ("b-1", "b-12", "b-13"):
        desk.backend.tables.put("bookings", {"id": name, "user_id": "local"}, ("id",))
    for typed in ("x", "b-", "b-121", "*", "%"):
        assert isinstance(desk.type("cancel", typed).exception, NoSuchJob), typed
    desk.say("cancel", "b-1")  # whole ids are not beginnings
    assert [row["status"] for row in desk.rows("bookings")] == ["cancelled", "confirmed", "confirmed"]


def test_what_is_recorded_cannot_be_cancelled(desk: Desk) -> None:
    booking_id = desk.rows("book", "--in", "5s", "--for", "10s")["id"]
    desk.backend.advance_status(booking_id, "completed")
    assert isinstance(desk.type("cancel", booking_id).exception, Reject)


def test_change_moves_either_end(desk: Desk) -> None:
    booking_id = desk.rows("book", "--start", "18:00", "--end", "19:00")["id"]
    desk.say("change", booking_id[:6], "--end", "19:30")
    assert desk.windows() == [between("2026-06-01 16:00", "2026-06-01 17:30")]
    desk.say("change", booking_id, "--start", "18:15")
    assert desk.windows() == [between("2026-06-01 16:15", "2026-06-01 17:30")]
    assert desk.type("change", booking_id, "--end", "18:00").exit_code == 2
    assert desk.type("change", booking_id).exit_code == 2
    assert desk.windows() == [between("2026-06-01 16:15", "2026-06-01 17:30")]


def test_videos_tell_where_each_lies(desk: Desk, tmp_path: Path) -> None:
    assert desk.say("videos") == "no videos\n"
    (tmp_path / "film").write_bytes(b"f" * 1_500_000)
    desk.backend.store("videos", "local/a.mp4", tmp_path / "film", lambda _: None)
    for name, seconds in (("a.mp4", 3725.4), ("b.mp4", None)):
        row = {"user_id": "local", "filename": name, "duration_seconds": seconds}
        desk.backend.publish_row({**row, "file_size": 1_500_000} if seconds else row)
    path = desk.settings.local_store / "buckets/videos/local/a.mp4"
    assert [row["path"] for row in desk.rows("videos")] == [None, str(path)]
    said = desk.say("videos").splitlines()
    assert said[1].endswith("b.mp4 (missing)")
    assert said[2].split()[-4:] == ["1:02:05", "1.5", "MB", str(path)]


def test_videos_are_listed_by_date_court_and_booking_newest_first(desk: Desk) -> None:
    for n, start in (("b2", "2026-06-02T16:00:00+00:00"), ("b1", "2026-06-01T16:00:00+00:00")):
        desk.backend.publish_row({
            "user_id": "local", "filename": f"{n}.mp4", "booking_id": n, "camera_id": "7",
            "recording_date": start[:10], "recording_start_time": start,
        })  # fmt: skip
    head, second, first = desk.say("videos").splitlines()
    assert head.split()[:3] == ["RECORDED", "COURT", "BOOKING"]
    assert first.split()[:4] == ["2026-06-01", "18:00", "7", "b1"]
    assert second.split()[:4] == ["2026-06-02", "18:00", "7", "b2"]


def test_a_club_gets_copies_under_names_that_people_can_read(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "film").write_bytes(b"film")
    desk.backend.store("videos", "local/a.mp4", tmp_path / "film", lambda _: None)
    desk.backend.publish_row({
        "user_id": "local", "filename": "a.mp4", "booking_id": "0123456789ab", "camera_id": "../7",
        "recording_start_time": "2026-06-01T16:00:00+00:00",
    })  # fmt: skip
    desk.backend.publish_row({"user_id": "local", "filename": "gone.mp4"})
    club = tmp_path / "club" / "videos"
    for _ in range(2):
        desk.say("videos", "--copy-to", str(club))
    (copy,) = club.iterdir()
    assert copy.read_bytes() == b"film"
    assert copy.name.startswith("2026-06-01_18-00_court-unsafe-")
    assert "_01234567_" in copy.name
    assert isinstance(desk.type("videos", "--copy-to", "/proc/nowhere").exception, Refused)


@pytest.mark.parametrize(("second", "is_told"), [("19:00", True), ("19:30", False)])
def test_an_overlap_is_told_when_it_is_entered(desk: Desk, second: str, is_told: bool) -> None:
    desk.say("book", "--start", "18:00", "--end", "19:30")
    (first,) = desk.rows("bookings")
    result = desk.type("book", "--start", second, "--for", "1h")
    assert result.exit_code == 0
    assert (f"it overlaps {first['id']}, 2026-06-01 18:00 – 19:30 CEST" in result.output) is is_told
    desk.say("cancel", first["id"])
    assert "overlaps" not in desk.type("book", "--start", "18:10", "--for", "10m").output


def test_branding_is_set_kept_and_taken_away(desk: Desk, tmp_path: Path) -> None:
    intro, logo = media.make_intro(tmp_path / "intro.mp4"), media.make_logo(tmp_path / "logo.png")
    (tmp_path / "link.png").symlink_to(logo)
    desk.say("set-branding", "--intro", str(intro), "--logo", str(tmp_path / "link.png"))
    found = desk.backend.branding()
    assert found.intro is not None
    assert found.logo is not None
    assert desk.backend.size_of("usermedia", found.logo) == logo.stat().st_size
    said = desk.say("set-branding", "--no-intro")
    assert said.splitlines() == ["intro  –", f"logo   {found.logo}"]


@pytest.mark.parametrize("option", ["--intro", "--logo", "--sponsor"])
def test_branding_that_no_video_could_be_made_with_is_refused_and_nothing_is_changed(
    desk: Desk, option: str, tmp_path: Path
) -> None:
    good = media.make_logo(tmp_path / "good.png")
    bad = tmp_path / "club.gif"
    bad.write_bytes(b"GIF89a" + bytes(100))
    more = [] if option == "--logo" else ["--logo", str(good)]
    fault = desk.type("set-branding", *more, option, str(bad)).exception
    assert isinstance(fault, Reject)  # with which the program ends with 3
    assert "club.gif: not usable as " in fault.reason
    assert "it is a GIF" in fault.reason
    assert "ffmpeg -i club.gif" in fault.remedy
    assert desk.backend.branding() == Branding()


def test_sponsors_logos_are_taken_in_their_order_and_replaced_as_a_whole(desk: Desk, tmp_path: Path) -> None:
    words, sizes = [], []
    for width, name in enumerate(("a.png", "bb.png", "ccc.png"), 1):
        path = media.make_logo(tmp_path / name, size=(64 * width, 32))
        words += ["--sponsor", str(path)]
        sizes.append(path.stat().st_size)
    desk.say("set-branding", *words)
    found = desk.backend.branding().sponsors
    assert [desk.backend.size_of("usermedia", key) for key in found] == sizes
    said = desk.say("set-branding", *words[2:4])
    assert len(desk.backend.branding().sponsors) == 1
    assert said.splitlines()[2] == f"sponsor  {desk.backend.branding().sponsors[0]}"
    assert desk.type("set-branding", *words, *words[:2]).exit_code == 2
    desk.say("set-branding", "--no-sponsors")
    assert desk.backend.branding().sponsors == ()


@pytest.mark.parametrize(
    "words",
    [[], ["--logo", "/nowhere.png"], ["--logo", "/"], ["--logo", __file__, "--no-logo"]],
    ids=" ".join,
)
def test_branding_that_names_nothing_usable_is_wrong_usage(desk: Desk, words: list[str]) -> None:
    assert desk.type("set-branding", *words).exit_code == 2


@pytest.mark.parametrize(
    "words",
    [["book", "--in", "5s", "--for", "5s"], ["bookings"], ["videos"], ["cancel", "x"],
     ["set-branding", "--no-logo"], ["change", "x", "--end", "18:00"]],
    ids=" ".join,
)  # fmt: skip
def test_where_the_cloud_keeps_the_bookings_all_is_refused_in_one_line(
    tmp_path: Path, words: list[str]
) -> None:
    desk = desk_in(tmp_path, **SUPABASE)
    refusal = desk.type(*words).exception
    assert isinstance(refusal, Refused)
    assert "supabase" in str(refusal)
    assert "\n" not in f"{refusal}{refusal.remedy}"
    assert not desk.settings.local_store.exists()


def test_a_booking_runs_through_the_port_as_a_person_entered_it(desk: Desk) -> None:
    booking_id = desk.rows("book", "--in", "5s", "--for", "10s")["id"]
    [row] = desk.backend.bookings()
    booking = parse_booking(row, desk.settings.zone)
    assert (booking.id, booking.camera_id, booking.is_cancelled) == (booking_id, "0", False)
    assert booking.start == NOON + timedelta(seconds=5)


def test_a_booking_that_was_missed_and_a_video_of_a_part_are_called_so(desk: Desk) -> None:
    spool = Spool(desk.settings.spool)
    spool.prepare()
    ids = [desk.rows("book", "--in", f"{n}h", "--for", "1h")["id"] for n in (1, 2)]
    ends: tuple[dict[str, Any], ...] = (
        {"outcome": JobOutcome.MISSED},
        {"recording": JobOutcome.PARTIAL, "coverage_pct": 41.97},
    )
    for booking_id, end in zip(ids, ends, strict=True):
        entry = laid(spool, State.PROCESSED, booking_id)
        spool.leave(entry, replace(entry.job, **end).arrived("done", NOON))
    missed, partial = desk.say("bookings").splitlines()[1:]
    assert missed.endswith("confirmed, missed")
    assert partial.endswith("confirmed, partial (41.9 %)")
    desk.backend.publish_row({"user_id": "local", "filename": "a.mp4", "booking_id": ids[1]})
    assert desk.say("videos").splitlines()[1].endswith("a.mp4 (missing), partial (41.9 %)")
