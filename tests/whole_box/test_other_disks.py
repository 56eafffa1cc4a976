"""What the box says of itself on a disk of its own, full or read-only: recording and publishing go on.

Needs root, to mount.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ezrec.domain.job import JobOutcome
from tests.support.card import Card, fill, why_no_card
from tests.support.daemon import Box

pytestmark = pytest.mark.skipif(bool(why_no_card()), reason=why_no_card() or "it can")


def freeze(place: Path) -> None:
    """Even under open files, as the kernel does when a disk fails."""
    trigger = Path("/sys/fs/ext4")
    source = subprocess.run(
        ["findmnt", "-no", "SOURCE", str(place)], check=True, capture_output=True, text=True, timeout=20
    )
    subprocess.run(["mount", "-o", "remount,errors=remount-ro", str(place)], check=True, timeout=20)
    try:
        (trigger / Path(source.stdout.strip()).name / "trigger_fs_error").write_text("tried by a test")
    except OSError:
        pytest.skip("this kernel cannot fail a file system on request")


def fill_up(place: Path) -> None:
    fill(place)


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Card]:
    try:
        made = Card(tmp_path)
    except subprocess.CalledProcessError:
        pytest.skip("no small file system can be mounted here")
    yield made
    subprocess.run(["umount", "-l", str(made.at)], capture_output=True, timeout=20)


@pytest.fixture
def box(tmp_path: Path, card: Card) -> Iterator[Box]:
    """`state` and `logs` lie on the card, the rest does not."""
    made = Box(
        tmp_path / "home",
        EZREC_STATE=str(card.at / "state"),
        LOGS_DIR=str(card.at / "logs"),
        SYSTEM_STATUS_INTERVAL="1",
        LOG_UPLOAD_INTERVAL="10",
    )
    try:
        yield made
    finally:
        made.close()


SPOILT = pytest.mark.parametrize("spoil", [fill_up, freeze], ids=["full", "read-only"])


@SPOILT
def test_state_and_logs_on_a_disk_that_is_spoilt_at_the_start_stop_neither_recording_nor_publishing(
    box: Box, card: Card, spoil: Callable[[Path], None]
) -> None:
    spoil(card.at)
    box.run()
    booking = box.book(2, 600)
    box.wait_for(lambda: box.is_writing(booking), "it does not record")
    box.whistle(booking)
    job = box.published(booking)
    assert job.outcome is JobOutcome.PUBLISHED
    assert not job.errors
    assert box.video(booking)[0]["duration_seconds"] > 0.5
    assert not (card.at / "state" / "health.json").exists()


@SPOILT
def test_state_and_logs_on_a_disk_that_is_spoilt_while_recording_stop_neither_it_nor_publishing(
    box: Box, card: Card, spoil: Callable[[Path], None]
) -> None:
    daemon = box.run()
    booking = box.book(2, 600)
    box.wait_for(lambda: box.is_writing(booking), "it does not record")
    spoil(card.at)
    recorder = box.recorder(daemon)
    entry = box.find(booking)
    assert entry is not None
    size = entry.size()
    box.wait_for(
        lambda: (found := box.find(booking)) is not None and found.size() > size + 200_000, "no more"
    )
    second = box.book(1, 600)
    box.wait_for(lambda: box.is_writing(second), "it begins no other")
    box.whistle(second)
    assert box.published(second).outcome is JobOutcome.PUBLISHED
    box.whistle(booking)
    job = box.published(booking)
    assert job.outcome is JobOutcome.PUBLISHED
    assert len(job.takes) == 1, "the recording was not interrupted"
    assert box.recorder(daemon) == recorder, "the recorder was started again"
    assert daemon.poll() is None
