"""Whatever lies in an entry under a name that we use: nothing outside of it is read, written or published,
and nobody waits for it.

A link, a FIFO and a second name of another's file are laid under every such name, one at a time; then the
work is done that opens it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ezrec.camera.snapshots import newest_picture
from ezrec.cloud.local.backend import LocalBackend
from ezrec.cloud.supabase.tus_state import UploadState, UploadStateFile
from ezrec.domain.branding import Assets
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.job import Job, Kind, Result, Take
from ezrec.domain.names import safe_id
from ezrec.domain.ports import RenderOptions
from ezrec.domain.stages import State
from ezrec.media.ffmpeg.runner import FfmpegFailed, Limits, run
from ezrec.media.mp4.finish_in_place import give_index
from ezrec.media.mp4.repair import repair
from ezrec.media.render.renderer import FfmpegTranscoder
from ezrec.processing.process import process
from ezrec.publishing import step_log
from ezrec.publishing.upload import upload
from ezrec.spool.lookup import find
from ezrec.spool.spool import Entry, Spool
from ezrec.system import durable, plain_files
from ezrec.system.task import Task
from tests.fakes.clock import StandingClock
from tests.support import media
from tests.support.jobs import NOW, ezrec

LOG = logging.getLogger("test")
LIMIT_S = 60.0  # for what takes a second: a FIFO keeps its opener for ever
FOREIGN = "another customer's"
TAKE = "raw_b1_20261121_160000.mp4"
VIDEO = f"processed_{TAKE}"
TRAPS = ["link", "FIFO", "second name"]


def within_limit(work: Callable[[], Any]) -> Any:
    """What `work` gives; fails when it does not come back. Faults that a stage understands are its answer."""
    answer: list[Any] = []

    def do() -> None:
        try:
            answer.append(work())
        except (Reject, Retry, OSError, ValueError) as fault:
            answer.append(fault)
        except BaseException as fault:  # noqa: BLE001 - told by who waits
            answer.append(AssertionError(f"{type(fault).__name__}: {fault}"))

    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    assert answer, "it waits, and would wait for ever"
    if isinstance(answer[0], AssertionError):
        raise answer[0]
    return answer[0]


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A whole video of somebody else, so that nothing but its place speaks against it."""
    return media.make_take(tmp_path / "foreign.mp4", 2.0)


def lay(trap: str, path: Path, foreign: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if trap == "link":
        path.symlink_to(foreign)
    elif trap == "FIFO":
        os.mkfifo(path)
    else:
        os.link(foreign, path)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    return spool


def an_entry(spool: Spool, state: State) -> Entry:
    take = Take(TAKE, NOW - timedelta(hours=2), 2.0, 0, "end of window")
    entry = spool.create(state, Job(safe_id("b1"), Kind.CLIP, NOW, takes=(take,)))
    media.make_take(entry.path / TAKE, 2.0)
    entry.update(attempts={"process": 3})
    if state is State.PROCESSED:
        shutil.copyfile(entry.path / TAKE, entry.path / VIDEO)
        size = (entry.path / VIDEO).stat().st_size
        entry.update(result=Result(VIDEO, 2.0, size, ("x",)))
    return entry


# ---- the stages


def do_process(entry: Entry) -> Any:
    branding = entry.path.parents[2] / "logo.png"
    media.make_logo(branding)
    return process(
        entry, Task(), transcoder=FfmpegTranscoder(bitrate=400_000, preset="ultrafast"), repair=repair,
        options=RenderOptions(artefacts=("poster", "loudness")),
        assets=lambda: Assets(True, None, branding), log=LOG, is_short=lambda: False, give_index=give_index,
    )  # fmt: skip


def do_upload(entry: Entry) -> Any:
    store = entry.path.parents[2] / "store"
    cloud = LocalBackend(store, "user-1", "0", ZoneInfo("UTC"), StandingClock())
    return upload(
        entry, Task(), backend=cloud, user_id="user-1", camera_id="0", clock=StandingClock(),
        zone=ZoneInfo("UTC"), log=LOG,
    )  # fmt: skip


NAMES_PROCESSED = [
    TAKE, VIDEO, f"{VIDEO}.part", "ffmpeg.log", "processing.json", "progress.json", ".progress.json.new",
    "parts", "artefacts", "artefacts/poster.jpg", "artefacts/.poster.jpg.new",
    "artefacts/loudness.json", "told.json",
]  # fmt: skip
NAMES_UPLOADED = [
    VIDEO, "upload.json", "progress.json", ".progress.json.new", "told.json", "artefacts",
    "artefacts/poster.jpg",
]  # fmt: skip


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("name", NAMES_PROCESSED)
def test_processing_neither_waits_nor_touches_what_lies_elsewhere(
    spool: Spool, foreign: Path, name: str, trap: str
) -> None:
    before = foreign.read_bytes()
    entry = an_entry(spool, State.PROCESSING)
    if name.startswith("artefacts/"):
        (entry.path / "artefacts").mkdir()
    if name in ("parts", "artefacts") and trap == "link":
        elsewhere = foreign.parent / "elsewhere"
        elsewhere.mkdir()
        foreign = elsewhere
    if not (foreign.is_dir() and trap == "second name"):
        lay(trap, entry.path / name, foreign)
    said = within_limit(lambda: do_process(entry))
    assert (foreign.parent / "foreign.mp4").read_bytes() == before
    assert not foreign.is_dir() or not list(foreign.iterdir()), "written elsewhere"
    if name == TAKE:
        assert isinstance(said, Reject), said
    else:
        assert not isinstance(said, BaseException), said
        made = entry.path / VIDEO
        assert not made.is_symlink()
        assert not made.samefile(foreign)


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("name", NAMES_UPLOADED)
def test_nothing_that_lies_elsewhere_is_published(spool: Spool, foreign: Path, name: str, trap: str) -> None:
    (foreign.parent / "elsewhere").mkdir()
    shutil.copyfile(foreign, foreign.parent / "elsewhere" / "poster.jpg")
    entry = an_entry(spool, State.PROCESSED)
    own, foreign_bytes = (entry.path / VIDEO).read_bytes() + b"own", foreign.read_bytes()
    (entry.path / VIDEO).write_bytes(own)
    entry.update(result=Result(VIDEO, 2.0, len(own), ("x",)))
    if name.startswith("artefacts/"):
        (entry.path / "artefacts").mkdir()
    lay(
        trap,
        entry.path / name,
        foreign.parent / "elsewhere" if (name, trap) == ("artefacts", "link") else foreign,
    )
    said = within_limit(lambda: do_upload(entry))
    stored = [path.read_bytes() for path in (spool.root.parent / "store").rglob("*") if path.is_file()]
    assert foreign_bytes not in stored
    assert foreign.read_bytes() == foreign_bytes
    assert isinstance(said, Reject) if name == VIDEO else own in stored, said


# ---- what is noted in an entry


def amended(entry: Entry) -> Any:
    return entry.take_amendment()


def told(entry: Entry) -> Any:
    step_log.record_report(entry, "completed", NOW)
    return step_log.is_settled(entry, "completed", NOW)


def placed(entry: Entry) -> Any:
    place = UploadState("http://x/1", "videos", "k", 1, 1)
    file = UploadStateFile(entry.path / "upload.json")
    file.load("http://x", place)
    file.save(place)
    return file.load("http://x", place) == place


def reported(entry: Entry) -> Any:
    entry.report(stage="process", part=0.5)
    return entry.progress()


def written(entry: Entry) -> Any:
    entry.update(reason="why")
    return True


NOTES = [
    ("amendment.json", amended), (".amendment.json.taken", amended), ("told.json", told),
    ("upload.json", placed),
    ("progress.json", reported), (".progress.json.new", reported), ("job.json", written),
    ("reason.txt", written), ("", written),
]  # fmt: skip


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize(("name", "act"), NOTES)
def test_a_note_is_written_in_its_own_place_and_read_nowhere_else(
    spool: Spool, foreign: Path, name: str, act: Callable[[Entry], Any], trap: str
) -> None:
    foreign.write_bytes(json.dumps({"stage": FOREIGN, "id": "b1"}).encode())
    before = foreign.read_bytes()
    entry = an_entry(spool, State.PROCESSING)
    mine = f".job.json.{os.getpid()}-{threading.get_ident()}.new"
    lay(trap, entry.path / (name or mine), foreign)
    answer = within_limit(lambda: act(entry))
    assert foreign.read_bytes() == before
    assert FOREIGN not in str(answer)
    assert not isinstance(answer, BaseException), answer
    if act is not amended and name != "reason.txt":
        assert answer


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("name", ["job.json", "progress.json", "told.json", TAKE])
def test_looking_waits_for_nothing(tmp_path: Path, foreign: Path, name: str, trap: str) -> None:
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    entry = an_entry(spool, State.PROCESSING)
    lay(trap, entry.path / name, foreign)
    within_limit(lambda: spool.look(State.PROCESSING))
    with contextlib.suppress(Exception):
        within_limit(lambda: find(spool, "b1"))
    for command in (["spool", "ls"], ["spool", "show", "b1"], ["status"]):
        done = ezrec(tmp_path, *command, limit_s=30, USER_ID="u1")
        assert "Traceback" not in done.stderr
        assert FOREIGN not in done.stdout


@pytest.mark.parametrize("trap", TRAPS)
def test_no_footage_is_cut_or_finished_and_no_picture_taken_that_lies_elsewhere(
    tmp_path: Path, foreign: Path, trap: str
) -> None:
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(foreign.read_bytes()[:-100])
    before = torn.read_bytes()
    (tmp_path / "entry").mkdir()
    lay(trap, tmp_path / "entry" / "take.mp4", torn)
    for work in (repair, give_index, lambda path: newest_picture(path, tmp_path / "still.jpg")):
        with contextlib.suppress(ValueError):
            within_limit(lambda work=work: work(tmp_path / "entry" / "take.mp4"))  # type: ignore[misc]
    assert torn.read_bytes() == before
    assert not (tmp_path / "still.jpg").exists()


# ---- the one way itself


@pytest.mark.parametrize("trap", [*TRAPS, "directory"])
def test_what_is_not_plain_is_not_opened(tmp_path: Path, trap: str) -> None:
    (tmp_path / "entry").mkdir()
    other, path = tmp_path / "other", tmp_path / "entry" / "name"
    other.write_text(FOREIGN)
    path.mkdir() if trap == "directory" else lay(trap, path, other)
    for work in (
        plain_files.look,
        plain_files.opened,
        plain_files.opened_to_change,
        lambda one: plain_files.read(one, 10),
    ):
        with pytest.raises(plain_files.NotPlain):
            work(path)
    plain_files.clear(path)
    assert path.exists() == (trap == "directory"), "what would be written through is out of the way"
    assert other.read_text() == FOREIGN


def test_a_second_name_beside_the_first_is_ours(tmp_path: Path) -> None:
    """As a take has one that is published as it was recorded."""
    (tmp_path / "take").write_text("ours")
    os.link(tmp_path / "take", tmp_path / "video")
    assert plain_files.read(tmp_path / "video", 10) == b"ours"
    with plain_files.opened_to_change(tmp_path / "video") as file:
        assert file.read() == b"ours"


def test_what_only_is_read_may_have_names_elsewhere_where_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "intro").write_text("club")
    os.link(tmp_path / "intro", tmp_path / "a" / "intro")
    with plain_files.opened(tmp_path / "a" / "intro", shared=True) as file:
        assert file.read() == b"club"


@pytest.mark.parametrize("trap", TRAPS)
def test_ffmpeg_is_given_no_input_that_is_not_plain_and_writes_through_nothing(
    tmp_path: Path, trap: str
) -> None:
    (tmp_path / "entry").mkdir()
    other = tmp_path / "other"
    other.write_text(FOREIGN)
    source = media.make_take(tmp_path / "take.mp4", 1.0)
    trapped = tmp_path / "entry" / "name.mp4"
    lay(trap, trapped, other)
    made = ["ffmpeg", "-y", "-i", f"file:{source}", "-c", "copy", "-f", "mp4", f"file:{trapped}"]
    within_limit(lambda: run(made, Limits(20.0), nice=0, on_output=lambda _: None))
    assert other.read_text() == FOREIGN
    assert trapped.stat().st_size > 1000
    lay(trap, trapped, source)
    read = ["ffmpeg", "-y", "-i", f"file:{trapped}", "-c", "copy", "-f", "mp4", f"file:{tmp_path}/copied.mp4"]
    if trap != "second name":  # only an entry's files have to have one: an intro is another's, too
        assert isinstance(within_limit(lambda: _ran(read)), plain_files.NotPlain)


def _ran(argv: list[str]) -> None:
    try:
        run(argv, Limits(20.0), nice=0, on_output=lambda _: None)
    except FfmpegFailed as fault:
        raise AssertionError("FFmpeg was started with it") from fault


def test_durable_writing_replaces_what_lies_under_its_temporary_name(tmp_path: Path) -> None:
    other, mine = tmp_path / "other", tmp_path / f".x.{os.getpid()}-{threading.get_ident()}.new"
    other.write_text(FOREIGN)
    os.link(other, mine)
    durable.write(tmp_path / "x", b"ours")
    assert (other.read_text(), (tmp_path / "x").read_bytes()) == (FOREIGN, b"ours")
