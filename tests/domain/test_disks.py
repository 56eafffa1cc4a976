"""The disks beside the spool's: when one is worth a word, and which."""

from __future__ import annotations

import pytest

from ezrec.domain.disk_policy import NEARLY_FULL, OtherDisk

LOGS = ("LOGS_DIR",)


@pytest.mark.parametrize(
    ("disk", "said"),
    [
        (OtherDisk(LOGS, "/logs", NEARLY_FULL), ""),
        (OtherDisk(LOGS, "/logs", 1 << 40, inodes=256), ""),
        (OtherDisk(LOGS, "/logs", NEARLY_FULL - 1), "is nearly full: 34 MB free"),
        (OtherDisk(LOGS, "/logs", 1 << 40, inodes=255), "takes only 255 more files"),
        (OtherDisk(LOGS, "/logs", 1 << 40, is_read_only=True), "is read-only"),
        (OtherDisk(LOGS, "/logs", 0, is_read_only=True), "is read-only"),
    ],
)
def test_a_disk_is_told_of_when_it_is_short_of_bytes_or_of_names_or_takes_none(
    disk: OtherDisk, said: str
) -> None:
    assert disk.wrong.partition("the disk of LOGS_DIR (/logs) ")[2] == said
