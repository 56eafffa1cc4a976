"""No user of the machine learns a network camera's password from `ps`, which shows every argument."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.fakes.guarded_camera import GuardedCamera
from tests.support.daemon import LIMIT_S, Box


class Neighbour:
    """Another user: reads the arguments of every process, all the time, and looks for secrets."""

    def __init__(self, *wanted: str) -> None:
        self._wanted = [word.encode() for word in wanted]
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.found: set[bytes] = set()
        self.looks = 0
        self.seen: set[str] = set()  # programs that ran

    def __enter__(self) -> Neighbour:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(LIMIT_S)

    def _look(self) -> None:
        while not self._is_over.wait(0.005):
            self.looks += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    said = path.read_bytes()
                    self.seen.add(os.path.basename(said.partition(b"\0")[0].decode(errors="replace")))
                    if any(word in said for word in self._wanted):
                        self.found.add(said)


PASSWORD, TOKEN = f"p'w/{secrets.token_hex(8)}#", secrets.token_hex(8)


# How it signs in is a matter of those who open it.
BOTH = pytest.mark.parametrize("camera", ["Digest", "Basic"], indirect=True)


@pytest.fixture
def camera(request: pytest.FixtureRequest) -> Iterator[GuardedCamera]:
    with GuardedCamera("admin", PASSWORD, getattr(request, "param", "Digest")) as made:
        yield made


def address(camera: GuardedCamera) -> str:
    return f"RTSP://admin:{quote(PASSWORD, safe='')}@127.0.0.1:{camera.port}/live?token={TOKEN}"


def plain_part(secret: str) -> str:
    return max(secret.replace("'", "/").replace("#", "/").split("/"), key=len)


WANTED = (plain_part(PASSWORD), TOKEN)


def descendants(pid: int) -> list[int]:
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


@BOTH
def test_no_argument_of_a_recording_and_nothing_that_it_leaves_holds_the_cameras_password(
    tmp_path: Path, camera: GuardedCamera
) -> None:
    box = Box(tmp_path / "home", EZREC_CAMERA=address(camera))
    booking = box.book(1, 300)
    with Neighbour(*WANTED) as neighbour, contextlib.closing(box):
        daemon = box.run()
        box.wait_for(lambda: box.is_writing(booking), "nothing is recorded")
        children = descendants(daemon.pid)
        assert len(children) >= 2, "the recorder, and its FFmpeg"
        for pid in children:
            place = Path(f"/proc/{pid}")
            assert stat.S_IMODE((place / "environ").stat().st_mode) == 0o400
            assert stat.S_IMODE((place / "fd").stat().st_mode) & 0o077 == 0
            if b"ffmpeg" in (place / "cmdline").read_bytes().partition(b"\0")[0]:
                environ = (place / "environ").read_bytes()
                assert not any(word.encode() in environ for word in WANTED)
        box.whistle(booking)
        box.published(booking)
    assert "ffmpeg" in neighbour.seen
    assert neighbour.looks > 20
    assert neighbour.found == set()
    assert camera.played == 1
    leaks = {
        str(path.relative_to(box.home))
        for path in box.home.rglob("*")
        if path.is_file() and any(word.encode() in path.read_bytes() for word in WANTED)
    }
    assert leaks == set()


@pytest.mark.parametrize(
    ("camera", "words"),
    [
        ("Digest", ("camera", "test", "--seconds", "2")),
        ("Basic", ("camera", "test", "--seconds", "2")),
        ("Digest", ("camera", "snapshot", "{tmp}/a.jpg")),
        ("Basic", ("camera", "snapshot", "{tmp}/a.jpg")),
        ("Digest", ("camera", "list")),
        ("Digest", ("config",)),
        ("Digest", ("config", "--json")),
        ("Digest", ("doctor",)),
    ],
    indirect=["camera"],
)
def test_no_command_about_the_camera_shows_its_password(
    tmp_path: Path, camera: GuardedCamera, words: tuple[str, ...]
) -> None:
    box = Box(tmp_path / "home", EZREC_CAMERA=address(camera))
    command = [sys.executable, "-m", "ezrec", *(word.format(tmp=tmp_path) for word in words)]
    with Neighbour(*WANTED) as neighbour:
        done = subprocess.run(
            command, env=box.environ, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    assert neighbour.found == set()
    assert not any(word in done.stdout + done.stderr for word in WANTED)
    assert done.returncode == 0 or words[0] != "camera", done.stdout + done.stderr


@pytest.mark.parametrize("password", ["wrong-canary77", "p", "camera"])
def test_a_refused_password_is_told_as_such_and_never_shown(tmp_path: Path, password: str) -> None:
    with GuardedCamera("admin", "right") as camera:
        here = f"127.0.0.1:{camera.port}/live"
        box = Box(tmp_path / "home", EZREC_CAMERA=f"rtsp://admin:{password}@{here}")
        done = subprocess.run(
            [sys.executable, "-m", "ezrec", "camera", "test", "--seconds", "2"],
            env=box.environ, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 75
    assert f"rtsp://{here}" in said
    assert "401" in said
    assert f":{password}@" not in said
    assert len(password) < 7 or password not in said
