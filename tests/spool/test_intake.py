"""What people, and others, drop into the spool: it just works, or waits for a person with one clear line."""

# ruff: noqa: E501 - a case a word, a line as wide as it needs

from __future__ import annotations

import fcntl
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ezrec.domain.booking import Booking
from ezrec.domain.job import JobOutcome, Kind
from ezrec.domain.stages import State
from ezrec.media.mp4.boxes import lacks
from ezrec.spool.file_stability import FileStability
from ezrec.spool.intake import REJECTED, Intake, adopt_unknown_files
from ezrec.spool.spool import JOB, REASON, Entry, UnknownFile
from tests.fakes.clock import StandingClock
from tests.support import media
from tests.support.spooling import (
    FOOTAGE,
    NOW,
    booking,
    booking_job,
    new_spool,
    put_clip,
    whereabouts,
)
from tests.support.wait import eventually

MADRID = ZoneInfo("Europe/Madrid")
ROW = {"id": "b1", "date": "2026-07-01", "start_time": "19:00", "end_time": "20:00"}


class IntakeBox:
    """A spool with a clock and an intake for each of its doors."""

    def __init__(self, root: Path) -> None:
        self.spool = new_spool(root)
        self.clock = StandingClock(NOW)
        self.known: dict[str, Booking] = {}
        self.intakes = {
            state: Intake(
                self.spool, state, self.clock, MADRID, logging.getLogger("test"), lead_s=35, known_booking=self.known.get,
                lacks=lacks,
            )
            for state in (State.INCOMING, State.RAW, State.PROCESSED)
        }  # fmt: skip

    def drop(self, name: str, data: bytes = FOOTAGE, state: State = State.RAW) -> Path:
        path = self.spool.directory(state) / name
        path.write_bytes(data)
        return path

    def drop_row(self, row: Any, name: str = "b1.json") -> Path:
        return self.drop(name, json.dumps(row).encode(), State.INCOMING)

    def look(self, state: State = State.RAW) -> tuple[list[Entry], float | None]:
        return self.intakes[state].adopt(self.spool.look(state)[1])

    def adopt(self, state: State = State.RAW) -> list[Entry]:
        """Look, and look again when whatever is quiet has been quiet for long enough."""
        adopted, again = self.look(state)
        if again is not None:
            self.clock.pass_time(again)
            more, _ = self.look(state)
            adopted += more
        return adopted

    def adopt_for_a_while(self, state: State = State.RAW) -> None:
        """Until nobody can take a fault for a passing one any more."""
        for _ in range(150):
            self.adopt(state)

    def rejected(self, state: State = State.RAW) -> Entry:
        """The one thing that was dropped waits for a person, whole, with one clear line."""
        self.adopt(state)
        assert self.spool.names(state) == []
        (entry,) = self.spool.entries(State.FAILED)
        line, advice = (entry.path / REASON).read_text().splitlines()
        assert line == entry.job.reason
        assert line.isprintable()
        assert len(line) < 400
        assert advice.startswith("what to do: ")
        assert entry.job.takes == ()
        assert sorted(os.listdir(entry.path)) == [JOB, REASON, REJECTED]
        assert self.spool.is_tidy()
        return entry


@pytest.fixture
def box(tmp_path: Path) -> IntakeBox:
    return IntakeBox(tmp_path / "spool")


@pytest.fixture
def open_box() -> Iterator[IntakeBox]:
    """Where another user may go too: pytest closes its own folders again whenever one starts."""
    with tempfile.TemporaryDirectory() as folder:
        yield IntakeBox(Path(folder) / "spool")


# ---- videos


@pytest.mark.parametrize(
    ("name", "take"),
    [
        ("b1.mp4", "raw_b1_20260701_170000.mp4"),  # when it was last written, in the box's zone
        ("b1.MP4", "raw_b1_20260701_170000.mp4"),
        ("raw_b1_20260630_183000.mp4", "raw_b1_20260630_183000.mp4"),
        ("processed_raw_b1_20260630_183000.mp4", "raw_b1_20260630_183000.mp4"),
        ("recording_20260630_183000_b1.mp4", "raw_b1_20260630_183000.mp4"),
        ("raw_b1_183000.mp4", "raw_b1_20260701_170000.mp4"),
    ],
)
def test_a_video_under_any_name_of_the_contract_becomes_its_bookings_job(
    box: IntakeBox, name: str, take: str
) -> None:
    path = box.drop(name)
    written = datetime(2026, 7, 1, 15, tzinfo=UTC).timestamp()
    os.utime(path, (written, written))
    (entry,) = box.adopt()
    assert (entry.id, entry.state, entry.job.kind) == ("b1", State.RAW, Kind.CLIP)
    assert [found.file for found in entry.job.takes] == [take]
    assert (entry.path / take).read_bytes() == FOOTAGE
    assert whereabouts(box.spool) == {"b1": ["raw"]}


def test_a_video_of_a_known_booking_is_of_that_bookings_time(box: IntakeBox) -> None:
    box.known["b1"] = booking("b1", start=NOW - timedelta(hours=3))
    box.drop("b1.mp4")
    (entry,) = box.adopt()
    assert entry.job.booking == box.known["b1"]
    assert entry.job.takes[0].started == NOW - timedelta(hours=3)
    assert entry.job.takes[0].file == "raw_b1_20260701_150000.mp4"


def test_the_same_id_dropped_twice_makes_a_second_job(box: IntakeBox) -> None:
    for expected in ("b1", "b1-2", "b1-3"):
        box.drop("b1.mp4")
        assert [entry.id for entry in box.adopt()] == [expected]


def test_many_files_are_adopted_oldest_first(box: IntakeBox) -> None:
    for n in range(5):
        os.utime(box.drop(f"j{n}.mp4"), (1e9 - n, 1e9 - n))
    assert [entry.id for entry in box.adopt()] == ["j4", "j3", "j2", "j1", "j0"]


@pytest.mark.parametrize("stamp", [-1e10, 0, 1e11])
def test_a_stamp_that_is_no_date_of_ours_is_no_obstacle(box: IntakeBox, stamp: float) -> None:
    path = box.drop("b1.mp4")
    try:
        os.utime(path, (stamp, stamp))
    except OSError:
        pytest.skip("this file system holds no such time")
    (entry,) = box.adopt()
    assert 1970 <= entry.job.takes[0].started.year < 2200


def test_a_job_moved_back_by_hand_is_no_unknown_file_and_loses_its_reason(box: IntakeBox) -> None:
    entry = put_clip(box.spool, State.FAILED, reason="no picture", return_to="raw")
    os.rename(entry.path, box.spool.root / "raw/b1")
    assert box.adopt() == []
    assert box.spool.read(State.RAW, "b1").job.reason == ""
    moved = box.spool.claim(box.spool.read(State.RAW, "b1"), State.PROCESSING)
    moved = box.spool.move(moved, State.RAW)
    assert not (moved.path / REASON).exists()


# ---- slow copies


@pytest.fixture
def writer(box: IntakeBox) -> Iterator[int]:
    fd = os.open(box.spool.root / "raw/b1.mp4", os.O_WRONLY | os.O_CREAT, 0o600)
    yield fd
    os.close(fd)


def test_a_file_is_left_alone_while_its_writer_has_it_open(box: IntakeBox, writer: int) -> None:
    for _ in range(3):
        os.write(writer, FOOTAGE)
        adopted, again = box.look()
        assert (adopted, again) == ([], 3.0)
        box.clock.pass_time(60)  # however long it takes


def test_an_empty_file_is_left_alone_while_its_writer_has_it_open(box: IntakeBox, writer: int) -> None:
    for _ in range(3):
        assert box.look() == ([], 3.0)
        box.clock.pass_time(60)
    os.write(writer, FOOTAGE)


def test_a_file_is_adopted_as_soon_as_its_writer_closes_it(box: IntakeBox) -> None:
    with open(box.spool.root / "raw/b1.mp4", "wb") as file:
        file.write(FOOTAGE)
        file.flush()
        assert box.look()[0] == []
    adopted, again = box.look()
    assert ([entry.id for entry in adopted], again) == (["b1"], None)


def test_a_copy_by_another_program_is_adopted_when_it_is_complete(box: IntakeBox, tmp_path: Path) -> None:
    target = box.spool.root / "raw/b1.mp4"
    script = (
        "import sys, time\nf = open(sys.argv[1], 'wb')\n"
        "for _ in range(20): f.write(b'x' * 4096); f.flush(); time.sleep(0.02)\n"
    )
    copier = subprocess.Popen([sys.executable, "-c", script, str(target)])
    adopted: list[Entry] = []

    def look() -> bool:
        adopted.extend(box.look()[0])
        return bool(adopted)

    assert eventually(look, 60)
    assert copier.wait(30) == 0
    assert adopted[0].job.takes[0].size == 20 * 4096


def test_an_empty_file_has_its_time_to_be_filled(box: IntakeBox) -> None:
    path = box.drop("b1.mp4", b"")
    assert box.look() == ([], 3.0)
    box.clock.pass_time(2)
    assert box.look() == ([], 1.0)
    path.write_bytes(FOOTAGE)
    assert [entry.id for entry in box.look()[0]] == ["b1"]


@pytest.mark.parametrize("name", ["b1.mp4.part", "b1.mp4.filepart", "b1.tmp", "b1.mp4~", "b1.crdownload"])
def test_a_copying_programs_temporary_name_waits_for_its_final_name(box: IntakeBox, name: str) -> None:
    path = box.drop(name)
    assert box.look() == ([], 600.0)
    box.clock.pass_time(500)
    assert box.look()[0] == []
    path.rename(box.spool.root / "raw/b1.mp4")
    assert [entry.id for entry in box.look()[0]] == ["b1"]


@pytest.mark.parametrize("state", [State.INCOMING, State.RAW, State.PROCESSED])
def test_what_a_file_share_leaves_is_nobodys_business(box: IntakeBox, state: State) -> None:
    names = [
        "Thumbs.db",
        "desktop.ini",
        "b1.mp4:Zone.Identifier",
        "~$b1.mp4",
        "b1.mp4@SynoEAStream",
        "Icon\r",
    ]
    for name in names:
        box.drop(name, state=state)
    for name in ("@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__MACOSX"):
        (box.spool.directory(state) / name).mkdir()
        (box.spool.directory(state) / name / "b2.mp4").write_bytes(FOOTAGE)
    before = sorted(os.listdir(box.spool.directory(state)))
    assert box.adopt(state) == []
    assert box.spool.entries(State.FAILED) == []
    assert sorted(os.listdir(box.spool.directory(state))) == before


def test_litter_inside_an_entry_is_no_footage(box: IntakeBox) -> None:
    entry = put_clip(box.spool)
    clips = entry.media()
    (entry.path / "Thumbs.db").write_bytes(b"x")
    assert entry.media() == clips


def test_rsyncs_hidden_names_are_nobodys_business(box: IntakeBox) -> None:
    path = box.drop(".b1.mp4.x9fQz1")
    assert box.spool.look(State.RAW) == ([], [])
    path.rename(box.spool.root / "raw/b1.mp4")
    assert [entry.id for entry in box.adopt()] == ["b1"]


def test_a_temporary_name_that_nobody_writes_any_more_goes_to_a_person(box: IntakeBox) -> None:
    box.drop("b1.mp4.part")
    assert "never finished" in box.rejected().job.reason


def halves(fragmented: bool, folder: Path) -> list[bytes]:
    """What of a video is there when a copy of it stands still; none of it is a whole one."""
    whole = media.make_take(folder / "whole.mp4", fragmented=fragmented, audio=True).read_bytes()
    return [whole[: int(len(whole) * part)] for part in (0.02, 0.3, 0.5, 0.97)]


@pytest.mark.parametrize("fragmented", [True, False])
def test_a_video_that_is_not_whole_waits_and_is_then_refused_byte_for_byte(
    box: IntakeBox, tmp_path: Path, fragmented: bool
) -> None:
    for half in halves(fragmented, tmp_path):
        path = box.drop("b1.mp4", half)
        assert box.look() == ([], 60.0)
        box.clock.pass_time(59)
        assert box.look() == ([], 1.0)
        assert path.read_bytes() == half
        box.clock.pass_time(1)
        (entry,) = box.look()[0]
        assert entry.state is State.FAILED
        assert "is not whole, and nobody is writing it any more" in entry.job.reason
        assert (entry.path / REJECTED).read_bytes() == half
        assert box.spool.names(State.RAW) == []


def test_a_copy_that_goes_on_piece_by_piece_is_taken_when_it_is_whole(box: IntakeBox, tmp_path: Path) -> None:
    whole = media.make_take(tmp_path / "whole.mp4").read_bytes()
    path = box.drop("b1.mp4", whole[:100])
    for end in range(500, len(whole), 700):
        assert box.look()[0] == []
        box.clock.pass_time(50)
        with path.open("ab") as file:  # opened anew for each piece, as some file shares do
            file.write(whole[path.stat().st_size : end])
    with path.open("ab") as file:
        file.write(whole[path.stat().st_size :])
    (entry,) = box.look()[0]
    assert (entry.state, entry.id) == (State.RAW, "b1")
    assert (entry.path / entry.job.takes[0].file).read_bytes() == whole


def test_half_a_video_of_another_user_waits_long_for_its_rest(open_box: IntakeBox) -> None:
    """As the service meets what a file share's user copies: the kernel does not tell it who is writing."""
    box = open_box
    whole = media.make_take(box.spool.root.parent / "whole.mp4").read_bytes()
    box.drop("x-going-on.mp4", whole[:2000]).chmod(0o666)
    box.drop("x-broken-off.mp4", whole[:2000]).chmod(0o644)
    box.drop("x-whole.mp4", whole).chmod(0o644)
    _as_nobody(
        box,
        f"""
whole, path = Path({str(box.spool.root.parent / "whole.mp4")!r}).read_bytes(), box.spool.root / "raw/x-going-on.mp4"
box.look(); box.clock.pass_time(3)
assert [entry.id for entry in box.look()[0]] == ["x-whole"]
box.clock.pass_time(500)
assert box.look()[0] == []
with path.open("ab") as file: file.write(whole[2000:])
box.look(); box.clock.pass_time(3)
assert [entry.id for entry in box.look()[0]] == ["x-going-on"]
box.clock.pass_time(100)
(entry,) = box.look()[0]
assert entry.id == "x-broken-off-rejected", entry.id
assert (entry.path / "rejected").read_bytes() == whole[:2000]
""",
    )


def test_what_only_looks_like_a_video_is_looked_into_once_as_long_as_it_does_not_change(
    tmp_path: Path,
) -> None:
    looks: list[Path] = []

    def is_torn(path: Path) -> bool:
        looks.append(path)
        return True

    path = tmp_path / "b1.mp4"
    path.write_bytes(FOOTAGE)
    stillness = FileStability(StandingClock(), is_torn=is_torn)
    for _ in range(5):
        stillness.wait_s(path)
    assert len(looks) == 1
    path.write_bytes(FOOTAGE * 2)
    stillness.wait_s(path)
    assert len(looks) == 2


def test_without_leases_three_quiet_seconds_count_as_complete(tmp_path: Path) -> None:
    """As nobody, on a file that belongs to somebody else: the kernel gives no lease there."""
    if os.geteuid() != 0:
        pytest.skip("taking another user's part needs root")
    path, script = tmp_path / "b1.mp4", _AS_NOBODY
    path.write_bytes(FOOTAGE)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        if folder.stat().st_uid == 0 and str(folder) not in ("/tmp", "/"):
            folder.chmod(0o755)
    said = subprocess.run(
        [sys.executable, "-c", script, str(path)], check=True, capture_output=True, timeout=60, cwd=Path(__file__).parents[2]
    ).stdout  # fmt: skip
    assert json.loads(said) == [0.25, 0.25, None]


_AS_NOBODY = """
import json, os, sys
from pathlib import Path
from tests.fakes.clock import StandingClock
from ezrec.spool.file_stability import FileStability
os.setgroups([]); os.setgid(65534); os.setuid(65534)
clock, path = StandingClock(), Path(sys.argv[1])
stillness = FileStability(clock, quiet_s=0.25)
answers = [stillness.wait_s(path)]
clock.pass_time(0.1)
first = stillness.wait_s(path)
assert 0 < first < 0.25, first
clock.pass_time(0.1)
stillness.forget_all_but(set())
answers.append(stillness.wait_s(path))
clock.pass_time(0.3)
answers.append(stillness.wait_s(path))
print(json.dumps(answers))
"""


def test_a_booking_of_another_user_is_taken_at_once_when_it_is_whole_and_waits_while_it_is_not(
    open_box: IntakeBox,
) -> None:
    """As the recorder's user meets what the sync's user drops: a change has to be honoured within 2 s."""
    box = open_box
    box.drop_row({**ROW, "end_time": "21:00"}, "x-whole.json")
    box.drop("x-half.json", json.dumps(ROW).encode()[:-1], State.INCOMING)
    box.drop("x-list.json", b"[1, 2]", State.INCOMING)
    for name in ("whole", "half", "list"):
        (box.spool.directory(State.INCOMING) / f"x-{name}.json").chmod(0o644)
    _as_nobody(
        box,
        """
from ezrec.domain.stages import State
adopted, again = box.look(State.INCOMING)
assert [entry.id for entry in adopted] == ["b1"], adopted
assert again == 3.0, again
""",
    )
    assert sorted(box.spool.names(State.INCOMING)) == ["b1", "x-half.json", "x-list.json"]


def test_a_file_that_changes_begins_its_quiet_time_again(tmp_path: Path) -> None:
    clock, folder = StandingClock(), tmp_path / "folder"
    stillness = FileStability(clock)
    folder.mkdir()
    assert stillness.wait_s(folder) == 3.0
    clock.pass_time(2)
    (folder / "b1.mp4").write_bytes(b"x")
    assert stillness.wait_s(folder) == 3.0
    clock.pass_time(2)
    (folder / "b1.mp4").write_bytes(b"xx")  # the folder itself does not change by this
    assert stillness.wait_s(folder) == 3.0
    clock.pass_time(3)
    assert stillness.wait_s(folder) is None


def test_a_writer_who_comes_in_the_instant_of_our_lease_does_not_end_us(tmp_path: Path) -> None:
    path = tmp_path / "b1.mp4"
    path.write_bytes(FOOTAGE)
    script = (
        "import fcntl, os, sys\nimport ezrec.spool.file_stability as s\nfrom pathlib import Path\n"
        "real = fcntl.fcntl\n"
        "def slow(fd, command, value=0):\n"
        "    answer = real(fd, command, value)\n"
        "    if command == fcntl.F_SETLEASE and value == fcntl.F_RDLCK and os.fork() == 0:\n"
        "        os.close(fd)\n"
        "        try: os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK)\n"
        "        except BlockingIOError: os._exit(7)\n"
        "        os._exit(0)\n"
        "    if value == fcntl.F_RDLCK: status = os.wait()[1]; print(os.waitstatus_to_exitcode(status))\n"
        "    return answer\n"
        "fcntl.fcntl = slow\nprint(s._being_written(Path(sys.argv[1])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, timeout=60, check=False, cwd=Path(__file__).parents[2]
    )  # fmt: skip
    if b"None" in done.stdout:
        pytest.skip("this file system gives no leases")
    assert done.stdout.split() == [b"7", b"False"], "the writer did meet the lease"
    assert done.returncode == 0


# ---- what is no video


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _dangling(path: Path) -> None:
    path.symlink_to("/nowhere")


def _second_name(path: Path) -> None:
    (path.parent.parent.parent / "precious").write_bytes(FOOTAGE)
    os.link(path.parent.parent.parent / "precious", path)


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "inside.mp4").write_bytes(FOOTAGE)


def _folder_with_broken_record(path: Path) -> None:
    _folder(path)
    (path / JOB).write_text("{")


def _empty(path: Path) -> None:
    path.touch()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_fifo, "FIFO"), (_link, "symbolic link"), (_dangling, "symbolic link"), (_second_name, "2 names"),
        (_folder, "has no job.json"), (_folder_with_broken_record, "cannot be read"), (_empty, "empty"),
    ],
)  # fmt: skip
def test_what_is_no_plain_file_waits_for_a_person_unopened(box: IntakeBox, make: Any, says: str) -> None:
    make(box.spool.root / "raw/b1.mp4")
    entry = box.rejected()
    assert says in entry.job.reason
    assert entry.id == "b1-rejected", "the booking's own id stays free"
    kept = entry.path / REJECTED
    if make in (_fifo, _link, _dangling, _empty):
        assert not kept.is_dir()
    elif make is _second_name:
        assert kept.read_bytes() == (box.spool.root.parent / "precious").read_bytes() == FOOTAGE
    else:
        assert (kept / "inside.mp4").read_bytes() == FOOTAGE
    assert Path("/etc/passwd").read_text()


@pytest.mark.parametrize(
    "name",
    [
        "a..b.mp4", "a\nb.mp4", "-rf.mp4", "x" * 251 + ".mp4", "比赛.mp4", "Матч.mp4", "é.mp4",
        "\udcff\udcfe.mp4", "a b.mp4", "$(reboot).mp4", "a;b.mp4", "concat:a|b.mp4", "*.mp4", "raw_ü_20260314_183000.mp4",
        "b1", "b1.avi", "b1.mp4.exe", "b1.json", "\u202egp4.mp4",
    ],
)  # fmt: skip
def test_a_name_that_is_none_waits_for_a_person_with_all_its_bytes(box: IntakeBox, name: str) -> None:
    (box.spool.root / "raw" / name).write_bytes(FOOTAGE)
    put_clip(box.spool, State.DEFERRED, "bystander")
    entry = box.rejected()
    assert (entry.path / REJECTED).read_bytes() == FOOTAGE
    assert whereabouts(box.spool)["bystander"] == ["deferred"]


def test_one_bad_thing_does_not_keep_the_good_ones(box: IntakeBox) -> None:
    _fifo(box.spool.root / "raw/a.mp4")
    _link(box.spool.root / "raw/b.mp4")
    box.drop("c.mp4")
    box.adopt()
    assert whereabouts(box.spool) == {"a-rejected": ["failed"], "b-rejected": ["failed"], "c": ["raw"]}


def test_a_bad_thing_dropped_again_is_numbered(box: IntakeBox) -> None:
    for _ in range(2):
        box.drop("b1.avi")
        box.adopt()
    assert sorted(box.spool.names(State.FAILED)) == ["b1-rejected", "b1-rejected-2"]


def test_a_thing_that_is_gone_when_its_turn_comes_is_nobodys(box: IntakeBox) -> None:
    assert box.intakes[State.RAW].adopt([UnknownFile("b1.mp4", "a loose file")]) == ([], None)
    assert whereabouts(box.spool) == {}


def test_loose_files_elsewhere_are_sent_on(box: IntakeBox) -> None:
    box.drop("b1.mp4", state=State.PROCESSED)
    assert "takes no loose files" in box.rejected(State.PROCESSED).job.reason


def test_an_unknown_file_among_the_jobs_in_hand_is_moved_out_of_the_way(box: IntakeBox) -> None:
    box.drop("b1.mp4", state=State.PROCESSING)
    intake = replace(box.intakes[State.RAW], state=State.PROCESSING)
    adopt_unknown_files(intake, box.spool.look(State.PROCESSING)[1])
    (entry,) = box.spool.entries(State.FAILED)
    assert (entry.path / REJECTED).read_bytes() == FOOTAGE
    assert entry.job.return_to == "raw"
    assert box.spool.names(State.PROCESSING) == []


def _as_nobody(box: IntakeBox, script: str) -> None:
    """Run a piece of this test as the user nobody, who owns the spool but not what root drops into it."""
    if os.geteuid() != 0:
        pytest.skip("taking another user's part needs root")
    box.spool.root.parent.chmod(0o755)
    for path in (box.spool.root, *box.spool.root.rglob("*")):
        if not path.name.startswith("x") and not path.name.startswith("inside"):
            os.chown(path, 65534, 65534)
    head = (
        "import os, sys\nfrom pathlib import Path\nfrom tests.spool.test_intake import IntakeBox, State\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\nbox = IntakeBox(Path(sys.argv[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", head + script, str(box.spool.root)],
        capture_output=True, timeout=60, check=False, cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()


def test_a_job_that_cannot_be_read_for_minutes_stays_where_it_is(open_box: IntakeBox) -> None:
    """It may well be a sound one: a disk, or its rights, may come back."""
    box = open_box
    entry = put_clip(box.spool, State.RAW, "b1")
    (entry.path / JOB).chmod(0)
    _as_nobody(
        box,
        """
for _ in range(110):
    adopted, again = box.look()
    assert adopted == [] and again, (adopted, again)
    box.clock.pass_time(again)
""",
    )
    assert whereabouts(box.spool) == {"b1": ["raw"]}


def test_a_file_that_we_may_not_read_waits_for_a_person(open_box: IntakeBox) -> None:
    box = open_box
    box.drop("x1.mp4").chmod(0)
    _as_nobody(box, "box.adopt(); assert box.spool.names(State.FAILED) == []; box.adopt_for_a_while()")
    (entry,) = box.spool.entries(State.FAILED)
    assert "permission denied" in entry.job.reason
    assert (entry.path / REJECTED).read_bytes() == FOOTAGE


def test_a_thing_that_we_may_not_move_is_told_of_once_and_keeps_nobody(open_box: IntakeBox) -> None:
    box = open_box
    _folder(box.spool.root / "raw/x1")
    (box.spool.root / "raw/x1").chmod(0o700)
    box.drop("b1.mp4")
    _as_nobody(box, "box.adopt(); assert box.spool.names(State.FAILED) == []; box.adopt_for_a_while()")
    assert (box.spool.root / "raw/x1/inside.mp4").read_bytes() == FOOTAGE
    assert sorted(box.spool.names(State.RAW)) == ["b1", "x1"]
    (entry,) = box.spool.entries(State.FAILED)
    assert entry.id == "x1-rejected"
    assert "cannot be moved out of raw/: Permission denied" in (entry.path / REASON).read_text()
    assert box.spool.is_tidy()


def test_a_file_from_another_file_system_is_told_of_and_not_touched(box: IntakeBox, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    (tmp_path / "disk").mkdir()
    target = box.drop("b1.mp4", b"under the mount")
    if subprocess.run(
        ["mount", "-t", "tmpfs", "none", tmp_path / "disk"], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting is forbidden here")
    try:
        (tmp_path / "disk/far.mp4").write_bytes(FOOTAGE)
        subprocess.run(["mount", "--bind", tmp_path / "disk/far.mp4", target], check=True)
        try:
            box.adopt_for_a_while()
            (entry,) = box.spool.entries(State.FAILED)
            assert "cannot be moved" in entry.job.reason
            assert target.read_bytes() == FOOTAGE
            assert box.spool.is_tidy()
        finally:
            subprocess.run(["umount", target], check=True)
    finally:
        subprocess.run(["umount", tmp_path / "disk"], check=True)


# ---- bookings


def incoming(box: IntakeBox) -> Entry:
    (entry,) = box.spool.entries(State.INCOMING)
    return entry


def test_a_booking_becomes_a_job_that_waits_for_its_start(box: IntakeBox) -> None:
    path = box.drop_row(ROW, "anything.json")
    (entry,) = box.adopt(State.INCOMING)
    assert (entry.id, entry.state, entry.job.kind) == ("b1", State.INCOMING, Kind.BOOKING)
    assert entry.job.due == datetime(2026, 7, 1, 17, tzinfo=UTC) - timedelta(seconds=35)
    assert not path.exists()
    assert incoming(box).job == entry.job


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{", "JSON"), (b"\xff\xfe", "JSON"), (b"\0" * 100, "JSON"), (b"[" * 60_000, "JSON"), (b"null", "object"),
        (b"[]", "object"), (b'"b1"', "object"), (b" " * 70_000, "more than 65536 bytes"),
        (json.dumps(ROW | {"id": "x" * 10_240}).encode(), "10240 characters"),
        (json.dumps({**ROW, "id": None}).encode(), "must be text"),
        (json.dumps({key: ROW[key] for key in ROW if key != "id"}).encode(), "has no id"),
        (json.dumps(ROW | {"id": "../b1"}).encode(), "may hold only"),
        (json.dumps(ROW | {"id": 7}).encode(), "must be text"),
        (json.dumps(ROW | {"start_time": 19}).encode(), "must be text"),
        (json.dumps(ROW | {"start_time": "20:00", "end_time": "19:00"}).encode(), "before it starts"),
        (json.dumps(ROW | {"date": "soon"}).encode(), "not YYYY-MM-DD"),
        (json.dumps(ROW | {"date": "9999-12-31", "end_time": "18:00"}).encode(), "which cannot be"),
        (json.dumps(ROW | {"status": ["confirmed"]}).encode(), "must be text"),
        (b'{"id": "\xed\xa0\x80"}', "JSON"), (b'{"id": "b1", "x": 1e999}', "JSON"),
    ],
)  # fmt: skip
def test_a_booking_that_is_none_waits_for_a_person_and_the_corrected_one_is_recorded(
    box: IntakeBox, data: bytes, says: str
) -> None:
    box.drop("b1.json", data, State.INCOMING)
    entry = box.rejected(State.INCOMING)
    assert says in entry.job.reason
    assert (entry.path / REJECTED).read_bytes() == data
    box.drop_row(ROW)
    assert [found.id for found in box.adopt(State.INCOMING)] == ["b1"]
    assert incoming(box).id == "b1"


def test_an_empty_booking_file_is_refused_when_nobody_fills_it(box: IntakeBox) -> None:
    box.drop("b1.json", b"", State.INCOMING)
    assert box.rejected(State.INCOMING).job.kind is Kind.CLIP


def test_a_video_among_the_bookings_is_sent_on(box: IntakeBox) -> None:
    box.drop("b1.mp4", state=State.INCOMING)
    assert "does not end in .json" in box.rejected(State.INCOMING).job.reason


@pytest.mark.parametrize("make", [_fifo, _link, _second_name, _folder])
def test_what_is_no_plain_file_among_the_bookings_is_not_opened(box: IntakeBox, make: Any) -> None:
    make(box.spool.root / "incoming/b1.json")
    box.rejected(State.INCOMING)


def test_the_same_booking_again_changes_nothing(box: IntakeBox) -> None:
    for _ in range(2):
        box.drop_row(ROW)
        box.adopt(State.INCOMING)
    assert len(incoming(box).job.arrivals) == 1


def test_a_booking_that_moved_waits_for_its_new_start(box: IntakeBox) -> None:
    box.drop_row(ROW)
    box.adopt(State.INCOMING)
    box.drop_row(ROW | {"start_time": "19:30"})
    box.adopt(State.INCOMING)
    due = incoming(box).job.due
    assert due == datetime(2026, 7, 1, 17, 30, tzinfo=UTC) - timedelta(seconds=35)


def test_a_booking_that_is_cancelled_is_due_at_once_so_that_it_can_be_closed(box: IntakeBox) -> None:
    box.drop_row(ROW)
    box.adopt(State.INCOMING)
    box.drop_row(ROW | {"status": "cancelled"})
    box.adopt(State.INCOMING)
    assert incoming(box).job.is_due(box.clock.now())


def test_a_booking_in_hand_is_amended_by_a_note_to_its_owner(box: IntakeBox) -> None:
    entry = box.spool.create(State.RECORDING, booking_job())
    box.drop_row(ROW | {"end_time": "21:00"})
    (told,) = box.adopt(State.INCOMING)
    assert told.path == entry.path
    assert box.spool.names(State.INCOMING) == []
    taken = entry.take_amendment()
    assert taken is not None
    assert taken.end == datetime(2026, 7, 1, 19, tzinfo=UTC)


def test_a_booking_changed_and_changed_back_before_its_owner_looked_is_as_it_was(box: IntakeBox) -> None:
    box.drop_row(ROW)
    box.adopt(State.INCOMING)
    entry = box.spool.claim(incoming(box), State.RECORDING)
    as_it_was = entry.job.booking
    for row in (ROW | {"end_time": "21:00"}, ROW):
        box.drop_row(row)
        box.adopt(State.INCOMING)
    assert entry.take_amendment() == as_it_was


def test_a_booking_that_was_recorded_is_not_recorded_again(box: IntakeBox) -> None:
    entry = box.spool.create(State.RAW, booking_job())
    box.drop_row(ROW | {"end_time": "21:00"})
    assert box.adopt(State.INCOMING) == []
    box.spool.leave(entry, replace(entry.job, outcome=JobOutcome.PUBLISHED))
    box.drop_row(ROW | {"end_time": "22:00"})
    assert box.adopt(State.INCOMING) == []
    assert whereabouts(box.spool) == {}
    assert box.spool.names(State.INCOMING) == []


@pytest.mark.parametrize("status", ["cancelled", "completed", "video_uploaded"])
def test_a_booking_that_is_over_before_it_came_makes_no_job(box: IntakeBox, status: str) -> None:
    box.drop_row(ROW | {"status": status})
    assert box.adopt(State.INCOMING) == []
    assert whereabouts(box.spool) == {}


def _closed(box: IntakeBox, outcome: JobOutcome, **fields: Any) -> None:
    entry = box.spool.create(State.INCOMING, booking_job())
    job = replace(entry.job, outcome=outcome, booking=booking("b1", **fields))
    box.spool.leave(entry, job)


def test_a_booking_that_was_cancelled_and_is_confirmed_again_is_recorded(box: IntakeBox) -> None:
    _closed(box, JobOutcome.CANCELLED, status="cancelled")
    box.drop_row(ROW)
    assert [entry.id for entry in box.adopt(State.INCOMING)] == ["b1"]


def test_a_booking_that_was_missed_and_moved_to_a_time_to_come_is_recorded(box: IntakeBox) -> None:
    _closed(box, JobOutcome.MISSED, start=NOW - timedelta(hours=5))
    box.drop_row(ROW)
    assert [entry.id for entry in box.adopt(State.INCOMING)] == ["b1"]


def test_a_booking_that_was_missed_stays_missed(box: IntakeBox) -> None:
    _closed(box, JobOutcome.MISSED, start=NOW - timedelta(hours=5))
    box.drop_row(ROW | {"start_time": "11:00", "end_time": "12:30"})
    assert box.adopt(State.INCOMING) == []


def test_footage_dropped_for_a_booking_to_come_does_not_cost_its_recording(box: IntakeBox) -> None:
    box.drop("b1.mp4")
    box.adopt()
    box.drop_row(ROW)
    (entry,) = box.adopt(State.INCOMING)
    assert (entry.id, entry.state) == ("b1-booked", State.INCOMING)
    assert entry.job.booking is not None
    assert entry.job.booking.id == "b1", "the cloud hears of the booking by its own id"
    box.drop_row(ROW | {"end_time": "21:00"})
    assert [found.id for found in box.adopt(State.INCOMING)] == ["b1-booked"]


def test_footage_dropped_for_a_booking_that_is_known_to_come_leaves_its_id_free(box: IntakeBox) -> None:
    box.known["b1"] = booking()
    box.drop("b1.mp4")
    assert [entry.id for entry in box.adopt()] == ["b1-2"]
    box.drop_row(ROW)
    assert [entry.id for entry in box.adopt(State.INCOMING)] == ["b1"]


def test_footage_dropped_for_a_booking_that_is_over_is_its_video(box: IntakeBox) -> None:
    box.drop("b1.mp4")
    box.adopt()
    box.clock.pass_time(86_400)
    box.drop_row(ROW)
    assert box.adopt(State.INCOMING) == []
    assert whereabouts(box.spool) == {"b1": ["raw"]}


def test_a_lease_is_what_this_file_system_gives(tmp_path: Path) -> None:
    """What most of the tests above rest upon; without it they would wait, not fail."""
    path = tmp_path / "x"
    path.touch()
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        pytest.skip("this file system gives no leases: three quiet seconds decide")
    finally:
        os.close(fd)


# ---- the newer word


class _Dropper(logging.Handler):
    """Does something at the moment at which a booking was applied."""

    def __init__(self, act: Any) -> None:
        super().__init__()
        self._acts = iter([act])

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg.startswith("booking %s") and (act := next(self._acts, None)):
            act()


@pytest.mark.parametrize("is_known", [False, True], ids=["a new booking", "an amendment"])
def test_a_newer_word_that_is_dropped_while_the_older_is_applied_is_applied_too(
    box: IntakeBox, is_known: bool
) -> None:
    if is_known:
        box.drop_row(ROW)
        box.adopt(State.INCOMING)
    log = logging.getLogger("test")
    dropper = _Dropper(lambda: box.drop_row(ROW | {"end_time": "22:00"}))
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(dropper)
    try:
        box.drop_row(ROW | {"end_time": "21:00"})
        box.adopt(State.INCOMING)
    finally:
        log.removeHandler(dropper)
        log.setLevel(level)
    box.adopt(State.INCOMING)
    waiting = incoming(box).job.booking
    assert waiting is not None
    assert waiting.end == datetime(2026, 7, 1, 20, tzinfo=UTC)
    assert os.listdir(box.spool.directory(State.INCOMING)) == ["b1"]


def test_a_booking_that_a_dead_recorder_had_taken_is_applied_by_the_next(box: IntakeBox) -> None:
    box.drop_row(ROW, ".taken.0badcafe.b1.json")
    box.drop_row(ROW | {"id": "b2"}, "b2.json")
    assert {entry.id for entry in box.adopt(State.INCOMING)} == {"b1", "b2"}
    assert sorted(os.listdir(box.spool.directory(State.INCOMING))) == ["b1", "b2"]


def test_an_amendment_that_cannot_be_read_now_is_read_later(box: IntakeBox) -> None:
    entry = box.spool.create(State.RECORDING, booking_job())
    box.spool.amend(entry, booking(status="cancelled"))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            entry.take_amendment()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    taken = entry.take_amendment()
    assert taken is not None
    assert taken.is_cancelled


def test_what_begins_next_is_adopted_first_and_the_words_about_one_booking_in_their_order(
    box: IntakeBox,
) -> None:
    rows = [
        ("season", "2026-07-20", "20:00"),
        ("today", "2026-07-01", "20:00"),
        ("season", "2026-07-20", "21:00"),
    ]
    for n, (name, day, end) in enumerate(rows):
        path = box.drop_row(ROW | {"id": name, "date": day, "end_time": end}, f"{9 - n}.json")
        os.utime(path, (1e9 + n, 1e9 + n))
    assert [entry.id for entry in box.adopt(State.INCOMING)] == ["today", "season", "season"]
    ends = {
        entry.id: entry.job.booking.end.hour
        for entry in box.spool.entries(State.INCOMING)
        if entry.job.booking
    }
    assert ends == {"today": 18, "season": 19}


def test_a_text_editor_of_windows_writes_bookings_too(box: IntakeBox) -> None:
    box.drop("b1.json", b"\xef\xbb\xbf" + json.dumps(ROW).encode(), State.INCOMING)
    assert [entry.id for entry in box.adopt(State.INCOMING)] == ["b1"]


def test_the_note_of_a_thing_that_could_not_be_moved_goes_when_it_can_be(box: IntakeBox) -> None:
    box.drop("b1.mp4")
    job = replace(
        booking_job("b1-rejected"), kind=Kind.CLIP, reason="'b1.mp4' cannot be moved out of raw/: Device or resource busy"
    )  # fmt: skip
    box.spool.create(State.FAILED, job)
    assert [entry.id for entry in box.adopt()] == ["b1"]
    assert whereabouts(box.spool) == {"b1": ["raw"]}
