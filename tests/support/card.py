"""`Card`: a small ext4 of its own, whose power can be cut. What was not synced by then is gone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.wait import eventually

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_NO_LOG_FLUSH = 2  # what is not in the journal on disk by now is lost, as when the power goes


class Card:
    """Mounted at `at` from an image beside it. Raises `CalledProcessError` where nothing can be mounted."""

    def __init__(self, folder: Path, megabytes: int = 24) -> None:
        self.image = folder / "card.img"
        self.at = folder / "card"
        self.at.mkdir()
        with self.image.open("wb") as file:
            file.truncate(megabytes << 20)
        _run("mkfs.ext4", "-q", "-F", str(self.image))
        self.mount()

    def cut_power(self) -> None:
        """Off and on again; for a card on which nobody has a file open."""
        self.lose_power()
        self.come_back()

    def lose_power(self) -> None:
        fd = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, _NO_LOG_FLUSH.to_bytes(4, "little"))
        finally:
            os.close(fd)

    def come_back(self) -> None:
        _run("umount", str(self.at))
        # As long as the old device is there, a mount gives back the old file system, dead as it is.
        assert eventually(lambda: not _run("losetup", "--associated", str(self.image)), 60)
        self.mount()

    def close(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            _run("umount", str(self.at))

    def mount(self) -> None:
        _run("mount", "-o", "loop", str(self.image), str(self.at))


def why_no_card() -> str:
    """Why this machine can have no card, as far as that can be told beforehand; empty where it can."""
    if os.geteuid() != 0:
        return "mounting needs root"
    return "" if shutil.which("mkfs.ext4") else "mkfs.ext4 is not installed"


def fill(place: Path) -> Path:
    """Not a byte is left, nor a block that some small file would get."""
    ballast = place / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        for piece in (1 << 24, 1 << 20):
            with contextlib.suppress(OSError):
                while True:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, piece)
        file.seek(0, os.SEEK_END)
        for piece in (1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * piece)
        with contextlib.suppress(OSError):
            os.fsync(file.fileno())
    with pytest.raises(OSError, match="No space left"):
        (place / "more").write_bytes(b"x" * 8192)
    (place / "more").unlink(missing_ok=True)
    return ballast


def _run(*argv: str) -> bytes:
    return subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout
