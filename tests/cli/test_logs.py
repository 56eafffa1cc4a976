"""`ezrec logs`: one service or all, rotated files included, and what is written from now on."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ezrec.cli.log_reader import follow_on, tail
from ezrec.cli.main import OK, USAGE, run
from ezrec.system.log_setup import SERVICES
from tests.support.wait import eventually


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EZREC_HOME", str(tmp_path))
    logs = tmp_path / "logs"
    logs.mkdir()
    return logs


def line(second: int, text: str) -> str:
    return f"2026-06-01 18:00:{second:02},000 - INFO - {text}\n"


def test_rotated_files_come_before_the_one_that_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "recorder.log.2").write_text(line(1, "one"))
    (folder / "recorder.log.1").write_text(line(2, "two"))
    (folder / "recorder.log").write_text(line(3, "three"))
    assert run(["logs", "recorder"]) == OK
    assert [said.rpartition(" ")[2] for said in capsys.readouterr().out.splitlines()] == [
        "one",
        "two",
        "three",
    ]
    assert run(["logs", "recorder", "-n", "2"]) == OK
    assert [said.rpartition(" ")[2] for said in capsys.readouterr().out.splitlines()] == ["two", "three"]


def test_several_services_are_merged_by_time_and_a_traceback_stays_with_its_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "recorder.log").write_text(line(1, "a") + "Traceback:\n  boom\n" + line(4, "d"))
    (folder / "booking_sync.log").write_text(line(2, "b"))
    (folder / "video_worker.log").write_text('{"time": "2026-06-01T18:00:03.000", "message": "c"}\n')
    assert run(["logs"]) == OK
    lines = capsys.readouterr().out.splitlines()
    assert [said.split()[0] for said in lines] == [
        "recorder", "recorder", "recorder", "booking_sync", "video_worker", "recorder",
    ]  # fmt: skip
    assert lines[1].endswith("Traceback:")


def test_links_fifos_and_bad_bytes_do_no_harm(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = folder.parent / "secret"
    secret.write_text("root\n")
    (folder / "recorder.log").symlink_to(secret)
    os.mkfifo(folder / "booking_sync.log")
    (folder / "video_worker.log").write_bytes(b"2026-06-01 18:00:00,000 - INFO - \xff\x1b[2J\n")
    assert run(["logs"]) == OK
    text = capsys.readouterr().out
    assert "root" not in text
    assert "\x1b" not in text
    assert "\\x1b" in text


def test_an_unknown_service_is_refused_with_the_known_ones(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["logs", "../etc/passwd"]) == USAGE
    told = capsys.readouterr().err
    assert all(service in told for service in SERVICES.values())


def test_no_logs_are_no_trouble(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["logs", "recorder"]) == OK
    assert "Nothing is written" in capsys.readouterr().err


def test_a_large_log_is_read_from_its_end(folder: Path) -> None:
    with (folder / "recorder.log").open("w") as file:
        file.writelines(line(n % 60, f"entry {n}") for n in range(20_000))
    found = tail(folder, ["recorder"], 3)
    assert [said.rpartition(" ")[2] for _, said in found.lines] == ["19997", "19998", "19999"]


def test_following_misses_nothing_when_the_file_is_rotated_away(folder: Path) -> None:
    log = folder / "recorder.log"
    log.write_text(line(1, "old"))
    shown: list[str] = []
    stopped = threading.Event()
    ends = tail(folder, ["recorder"], 0).ends
    thread = threading.Thread(
        target=follow_on, args=(folder, ends, lambda _, said: shown.append(said.rpartition(" ")[2]), stopped)
    )
    thread.start()
    try:
        with log.open("a") as file:
            file.write(line(2, "new"))
        assert eventually(lambda: shown == ["new"])
        with log.open("a") as file:
            file.write(line(3, "last"))
        log.rename(folder / "recorder.log.1")
        log.write_text(line(4, "first") + "half a li")
        assert eventually(lambda: shown == ["new", "last", "first"])
        with log.open("a") as file:
            file.write("ne\n")
        assert eventually(lambda: shown[-1] == "line")
    finally:
        stopped.set()
        with log.open("a") as file:
            file.write("\n")
        thread.join(60)
    assert not thread.is_alive()
