"""The uploader is killed at any moment of one upload, and the next one goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.faults.chaos import ChaosProxy
from tests.faults.uploading import film, stored
from tests.supabase_server.fixture import Project
from tests.support.campaigns import times

REPOSITORY = Path(__file__).parents[2]
KILLS = times(16, 50)
PIECE = 64 * 1024


def test_the_uploader_may_be_killed_again_and_again_within_one_upload(
    project: Project, tmp_path: Path
) -> None:
    account, source, chance = project.account(), film(tmp_path, 120 * PIECE), random.Random(3)
    name = f"{account.user_id}/sigkill.mp4"
    _, front = project.local()
    with ChaosProxy(front.port) as proxy:
        argv = [sys.executable, "-m", "tests.faults.nursery", proxy.url, project.service_key]
        argv += [account.user_id, name, str(source), str(tmp_path / "upload.json"), str(PIECE)]
        nursery = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            env=dict(os.environ),
            text=True,
        )
        assert nursery.stdin is not None
        limit = threading.Timer(90, nursery.kill)
        limit.start()
        try:
            met = [one_life(nursery, kill_after=chance.randrange(4), chance=chance) for _ in range(KILLS)]
            assert one_life(nursery, kill_after=None, chance=chance)[-1] == "done"
        finally:
            limit.cancel()
            nursery.kill()
            nursery.communicate(timeout=30)
        assert all("done" not in said for said in met), "every kill met an upload under way"
        # Each kill may cost the piece it met, and what stood in the sockets' buffers.
        assert proxy.bytes_up <= source.stat().st_size + KILLS * PIECE + 600 * 1500
    assert stored(project, name) == source.read_bytes()
    left = project.request("POST", "/storage/v1/object/list/videos", json={"prefix": account.user_id})
    assert [item["name"] for item in left] == ["sigkill.mp4"]


def one_life(nursery: subprocess.Popen[str], kill_after: int | None, chance: random.Random) -> list[str]:
    """An uploader from its birth until it was killed, so many words after it began; what it said."""
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.write("\n")
    nursery.stdin.flush()
    said: list[str] = []
    pid = 0
    is_killed = False
    for line in nursery.stdout:
        if line.startswith("pid "):
            pid = int(line.split()[1])
        elif line == "over\n":
            break
        else:
            said.append(line.strip())
        if pid and not is_killed and kill_after is not None and len(said) >= kill_after:
            time.sleep(chance.random() * 0.01)
            os.kill(pid, signal.SIGKILL)
            is_killed = True
    return said
