"""`ezrec import-legacy`: what the older EZREC left becomes jobs, once, and stays until it is published."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ezrec.domain.stages import DIRECTORIES, State
from ezrec.spool.legacy import Legacy
from ezrec.spool.spool import Entry, Spool
from tests.support import media
from tests.support.jobs import ezrec
from tests.support.wait import eventually

LONG_AGO = 1_780_000_000
RAW = "raw_b1_20260528_180000.mp4"
QUEUED = "processed_raw_b2_20260527_180000.mp4"


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The home of an older EZREC: one recording, one finished video, and what cannot be used."""
    home = tmp_path / "home"
    for folder in ("raw_recordings", "done"):
        (home / folder).mkdir(parents=True)
    (home / ".env").write_text(
        f"USER_ID=u1\nEZREC_ASSUME_CLOCK=yes\nPROCESSED_RECORDINGS_DIR={home}/done\nRESOLUTION=320x180\n"
    )
    clip = media.make_take(tmp_path / "clip.mp4")
    for name in (f"raw_recordings/{RAW}", f"done/{QUEUED}", "raw_recordings/raw_b2_20260527_180000.mp4"):
        shutil.copyfile(clip, home / name)
    (home / "raw_recordings" / "empty_b3.mp4").touch()
    (home / "raw_recordings" / "raw_b4_20260528_190000.mp4").write_bytes(b"being written")
    (home / "raw_recordings" / "link.mp4").symlink_to("/etc/passwd")
    (home / "done" / "raw_b5_20260528_200000.mp4").write_bytes(b"torn")
    for path in home.glob("*/*.mp4"):
        if "b4" not in path.name and not path.is_symlink():
            os.utime(path, (LONG_AGO, LONG_AGO))
    return home


def jobs(home: Path) -> dict[str, State]:
    spool = Spool(home / "spool")
    return {entry.id: state for state in State for entry in spool.entries(state)}


def originals(home: Path) -> dict[str, tuple[int, int]]:
    found = [*home.glob("raw_recordings/*"), *home.glob("done/*")]
    return {path.name: (path.lstat().st_size, path.lstat().st_nlink) for path in found}


def test_recordings_and_queued_uploads_become_jobs_once_and_stay(older: Path) -> None:
    before = originals(older)
    look = ezrec(older, "import-legacy", "--dry-run")
    assert look.stdout.count("would be copied") == 3
    assert jobs(older) == {}

    said = ezrec(older, "import-legacy")
    assert said.returncode == 0, said.stderr
    assert jobs(older) == {"b1": State.RAW, "b2": State.PROCESSED}
    (queued,) = Spool(older / "spool").entries(State.PROCESSED)
    assert queued.job.result is not None
    assert (queued.job.result.file, queued.job.result.duration_s > 1) == (QUEUED, True)
    for name, why in (("empty_b3", "empty"), ("raw_b4", "last minute"), ("link", "no plain file"),
                      ("raw_b5", "no whole video"), ("raw_b2", "its finished video is there")):  # fmt: skip
        assert any(name in line and why in line for line in said.stdout.splitlines()), (name, said.stdout)
    assert originals(older) == before

    assert "copied" not in ezrec(older, "import-legacy").stdout
    (older / "state" / "legacy.json").unlink()  # as a crash before the note would leave it
    assert "copied" not in ezrec(older, "import-legacy").stdout
    assert len(jobs(older)) == 2


def test_an_original_is_removed_on_request_and_only_when_it_is_published(older: Path) -> None:
    ezrec(older, "import-legacy")
    ezrec(older, "import-legacy", "--remove-published")
    assert QUEUED in originals(older)

    done = ezrec(older, "run-stage", "upload", "--once")
    assert done.returncode == 0, done.stderr
    assert eventually(lambda: "b2" not in jobs(older), 30)
    assert "1 originals" in ezrec(older, "import-legacy").stdout
    assert QUEUED in originals(older)
    shutil.rmtree(older / "spool" / ".done")  # forgotten after a month; the note is not
    said = ezrec(older, "import-legacy", "--remove-published")
    assert "removed" in said.stdout
    assert set(originals(older)) >= {RAW, "raw_b4_20260528_190000.mp4"}
    assert QUEUED not in originals(older)


def test_a_file_that_took_the_place_of_a_published_one_is_left(older: Path) -> None:
    ezrec(older, "import-legacy")
    ezrec(older, "run-stage", "upload", "--once")
    (older / "done" / QUEUED).write_bytes(b"another match")
    ezrec(older, "import-legacy", "--remove-published")
    assert (older / "done" / QUEUED).read_bytes() == b"another match"


def test_another_home_may_be_named(older: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    said = ezrec(new, "import-legacy", "--from", str(older), EZREC_ASSUME_CLOCK="yes")
    assert said.returncode == 0, said.stderr
    assert jobs(new) == {"b1": State.RAW, "b2": State.PROCESSED}
    notes = json.loads((new / "state" / "legacy.json").read_text())
    assert {note["job"] for note in notes.values()} == {"b1", "b2"}


class CountingSpool(Spool):
    looked = 0

    def entries(self, state: State) -> list[Entry]:
        self.looked += 1
        return super().entries(state)


def test_however_many_files_there_are_the_spool_is_looked_through_once(older: Path) -> None:
    for number in range(200):
        shutil.copyfile(older / "raw_recordings" / RAW, older / "raw_recordings" / f"c{number}.mp4")
        os.utime(older / "raw_recordings" / f"c{number}.mp4", (LONG_AGO + number, LONG_AGO + number))
    spool = CountingSpool(older / "spool")
    spool.prepare()
    legacy = Legacy(older, {}, spool, older / "state", UTC)
    found, _ = legacy.look(datetime.now(UTC))
    assert [one for one in found if legacy.is_known(one)] == []
    assert len(found) > 200
    assert spool.looked == len(DIRECTORIES)


def test_a_file_that_lies_in_two_folders_of_one_run_becomes_one_job(older: Path) -> None:
    (older / "recordings").mkdir()
    shutil.copy2(older / "raw_recordings" / RAW, older / "recordings" / RAW)
    said = ezrec(older, "import-legacy")
    assert jobs(older) == {"b1": State.RAW, "b2": State.PROCESSED}, said.stdout
