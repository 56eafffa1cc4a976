"""Writing whole or not at all, and what survives when the power goes: on a real ext4, really cut off."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ezrec.domain.job import JobOutcome
from ezrec.domain.outcomes import Done, Rejected, RetryLater
from ezrec.domain.stages import PROCESS, RETRY, State, settle
from ezrec.spool.spool import REASON, Entry, Spool
from ezrec.system import durable
from tests.support.card import Card, why_no_card
from tests.support.spooling import FOOTAGE, NOW, booking, booking_job, finish_off, new_spool, put_clip


def test_a_write_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    durable.write(path, b"one")
    durable.write(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["job.json"]


def test_a_write_into_a_missing_directory_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        durable.write(tmp_path / "gone" / "job.json", b"x")


def test_a_write_that_cannot_take_its_place_leaves_the_old_and_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "job.json").mkdir()
    with pytest.raises(IsADirectoryError):
        durable.write(tmp_path / "job.json", b"x")
    assert os.listdir(tmp_path) == ["job.json"]


def test_a_copy_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(FOOTAGE)
    durable.copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == FOOTAGE
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_copy_of_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        durable.copy(tmp_path / "a", tmp_path / "b")
    assert os.listdir(tmp_path) == []


def test_syncing_a_fifo_does_not_wait_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="Invalid argument"):
        durable.sync_file(tmp_path / "fifo")


def test_syncing_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic links"):
        durable.sync_file(tmp_path / "link")


# ---- the power cut


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Card]:
    if reason := why_no_card():
        pytest.skip(reason)
    try:
        made = Card(tmp_path)
    except subprocess.CalledProcessError as fault:
        pytest.skip(f"no loop mount here: {fault.stderr.decode(errors='replace').strip()}")
    try:
        yield made
    finally:
        made.close()


def test_the_card_loses_what_was_not_synced(card: Card) -> None:
    """The means of the next test: without this loss it would show nothing."""
    durable.write(card.at / "kept", b"x" * 4096)
    (card.at / "lost").write_bytes(b"x" * 4096)
    card.cut_power()
    assert (card.at / "kept").read_bytes() == b"x" * 4096
    assert not (card.at / "lost").exists() or (card.at / "lost").read_bytes() == b""


def test_every_transition_that_was_acknowledged_survives_a_power_cut(card: Card) -> None:
    spool = new_spool(card.at / "spool")

    def cut(state: State, job_id: str) -> Entry:
        card.cut_power()
        found = Spool(spool.root)
        assert found.is_tidy()
        assert [str(other) for other in State if (spool.root / other / job_id).exists()] == [str(state)]
        entry = found.read(state, job_id)
        if entry.job.takes:
            assert (entry.path / entry.job.takes[0].file).read_bytes() == FOOTAGE
        return entry

    spool.create(State.INCOMING, booking_job("b0"))
    cut(State.INCOMING, "b0")
    put_clip(spool)
    entry = cut(State.RAW, "b1")
    spool.claim(entry, State.PROCESSING)
    entry = cut(State.PROCESSING, "b1")
    entry.update(attempts={"process": 1})
    entry = cut(State.PROCESSING, "b1")
    assert entry.job.attempts == {"process": 1}
    spool.move(entry, *settle(PROCESS, entry.job, RetryLater("no room"), NOW, 0.5))
    entry = cut(State.DEFERRED, "b1")
    assert entry.job.return_to == "raw"
    assert entry.job.due is not None
    spool.move(entry, *settle(RETRY, entry.job, Done(), NOW, 0.5))
    entry = spool.claim(cut(State.RAW, "b1"), State.PROCESSING)
    spool.move(entry, *settle(PROCESS, entry.job, Rejected("no picture", "look"), NOW, 0.5))
    entry = cut(State.FAILED, "b1")
    assert (entry.path / REASON).read_text() == "no picture\nwhat to do: look\n"
    spool.amend(entry, booking(status="cancelled"))
    entry = cut(State.FAILED, "b1")
    amended = entry.take_amendment()
    assert amended is not None
    assert amended.is_cancelled
    spool.throw_away(entry, replace(entry.job, outcome=JobOutcome.REMOVED))
    card.cut_power()
    (entry,) = spool.discarded()
    assert entry.job.outcome is JobOutcome.REMOVED
    spool.move(entry, State.PROCESSED, replace(entry.job, outcome=None).arrived(State.PROCESSED, NOW))
    entry = cut(State.PROCESSED, "b1")
    spool.leave(entry, replace(entry.job, outcome=JobOutcome.PUBLISHED))
    card.cut_power()
    finish_off(spool)
    done = spool.finished("b1")
    assert done is not None
    assert done.outcome is JobOutcome.PUBLISHED
    assert spool.find("b1") is None
    assert spool.find("b0") is not None
