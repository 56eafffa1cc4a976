"""Secrets as canaries: while everything goes wrong, none is found in what is written, said or sent."""

from __future__ import annotations

import base64
import io
import json
import secrets
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from ezrec.app import common
from ezrec.domain.stages import State
from tests.fakes.guarded_camera import GuardedCamera
from tests.support.daemon import Box
from tests.support.jobs import laid
from tests.whole_box.echoing_cloud import FORMS, EchoingCloud

# Where a secret belongs: the settings' file, and the sign-in of whoever signed in.
_ALLOWED = (".env", "session-*.json")
_HOOK = """#!/bin/sh
{ cat; env; } > "@/$EZREC_EVENT-$$"
"""


_TYPIST = """
import logging, sys
from ezrec.cli import main
for command in sys.argv[1:]:
    print("typed", command, flush=True)
    for name in list(logging.root.manager.loggerDict) + [None]:
        logging.getLogger(name).handlers.clear()
    try:
        main.run(command.split())
    except Exception as bug:
        main._report_bug(type(bug), bug, bug.__traceback__)
"""


def _canary() -> str:
    return secrets.token_hex(10)


@dataclass
class Canaries:
    """A word of its own in every secret, by what it is a part of."""

    words: dict[str, str] = field(
        default_factory=lambda: {
            name: _canary()
            for name in ("key", "password", "access", "refresh", "camera password", "camera token")
        }
    )

    def found_in(self, data: bytes) -> list[str]:
        return [name for name, word in self.words.items() for form in _forms(word) if form in data]


def _forms(word: str) -> Iterator[bytes]:
    """The word, which no quoting changes, and the middle of it in base64 at each of the three places."""
    yield word.encode()
    for before in range(3):
        whole = base64.b64encode(bytes(before) + word.encode())
        yield whole[-(-before * 8 // 6) : (before + len(word)) * 8 // 6]


@dataclass
class Rig:
    """A box on which a booking is due, a video is to be uploaded, and everything is refused."""

    box: Box
    cloud: EchoingCloud
    canaries: Canaries
    said: list[bytes] = field(default_factory=list)

    def type(self, *commands: str) -> None:
        """Commands, whatever comes of them, in one process: to start one for each takes minutes."""
        done = subprocess.run(
            [sys.executable, "-c", _TYPIST, *commands],
            env=self.box.environ, capture_output=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.stdout.count(b"typed ") == len(commands), done.stderr
        self.said.append(done.stdout + done.stderr)

    def leaks(self) -> list[str]:
        found = [
            f"said: {name} in {said[:300]!r}" for said in self.said for name in self.canaries.found_in(said)
        ]
        found += [f"sent: {name} in {body[:300]!r}" for body in self.cloud.bodies
                  for name in self.canaries.found_in(body)]  # fmt: skip
        for path in self.box.home.rglob("*"):
            if path.is_file() and not any(path.match(allowed) for allowed in _ALLOWED):
                found += [f"{path.relative_to(self.box.home)}: {name}" for data in _contents(path)
                          for name in self.canaries.found_in(data)]  # fmt: skip
        return found


def _contents(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    yield data
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield from map(archive.read, archive.namelist())


def _jwt(word: str) -> str:
    parts = ('{"alg":"HS256"}', f'{{"role":"authenticated","session_id":"{word}"}}', "a signature")
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


@pytest.fixture(params=FORMS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    canaries = Canaries()
    words = canaries.words
    password = f"{words['password']}+\"a' b/\\é?&<"
    home, heard = tmp_path / "home", tmp_path / "home" / "heard"
    heard.mkdir(parents=True)
    # Every second cloud gives a token that does not look like one.
    opaque = list(FORMS).index(request.param) % 2 == 0
    access = f"{words['access']}.opaque" if opaque else _jwt(words["access"])
    with (
        EchoingCloud(request.param, access, f"v1.{words['refresh']}") as cloud,
        GuardedCamera("a", "b") as camera,
    ):
        address = (
            f"rtsp://admin:{quote(words['camera password'] + '/#', safe='')}@127.0.0.1:{camera.port}/live"
        )
        settings = {
            "EZREC_BACKEND": "supabase", "SUPABASE_URL": cloud.url,
            "SUPABASE_KEY": f"sb_publishable_{words['key']}", "USER_ID": "u1", "CAMERA_ID": "0",
            "EZREC_DEVICE_EMAIL": "box@club.test", "EZREC_DEVICE_PASSWORD": password,
            "EZREC_CAMERA": f"{address}?token={words['camera token']}",
        }  # fmt: skip
        box = Box(home, EZREC_BACKEND="local")
        box.environ |= settings
        for directory in (*State, "done", "alert"):
            hook = home / "hooks" / str(directory) / "tell"
            hook.parent.mkdir(parents=True, exist_ok=True)
            hook.write_text(_HOOK.replace("@", str(heard)))
            hook.chmod(0o755)
        yield Rig(box, cloud, canaries)


def heard(rig: Rig) -> bytes:
    return b"".join(path.read_bytes() for path in (rig.box.home / "heard").iterdir())


def test_no_secret_is_written_said_or_sent_while_the_cloud_repeats_it(rig: Rig) -> None:
    laid(rig.box.spool, State.PROCESSED, "to-upload")
    rig.type("pulse sync", "run-stage upload --once", "pulse tell", "pulse status", "pulse logs")
    rig.type(
        "doctor", "doctor --json", "spool ls", "spool ls --json", "spool show to-upload", "status",
        "spool show to-upload --json", "status --json", "logs -n 500", "config", "pulse status",
    )  # fmt: skip
    assert rig.cloud.bodies, "the cloud was asked"
    assert b"to-upload" in heard(rig), "a hook was told"
    assert b"***" in b"".join(rig.said), "what it repeated is told, without the secrets"
    assert rig.leaks() == []


@pytest.mark.parametrize("rig", ["json"], indirect=True)
def test_no_secret_of_a_camera_that_refuses_us_is_written_said_or_sent(rig: Rig) -> None:
    now = common.clock(rig.box.settings).now()
    times = {"start_time": str(now), "end_time": str(now + timedelta(seconds=15))}
    row = json.dumps({"id": "due", "user_id": "u1", **times})
    (rig.box.spool.root / "incoming" / "due.json").write_text(row)
    rig.type("run-stage record --once", "pulse status", "camera test --seconds 2", "camera list", "spool ls",
             "spool show due", "status --json", "logs -n 500", "doctor")  # fmt: skip
    assert b"401" in b"".join(rig.said), "the camera's refusal is told"
    assert rig.leaks() == []
