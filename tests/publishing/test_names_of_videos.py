"""Two videos that want one name: both are published, whole, with a row each. On backends that are real."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ezrec.cloud.local.backend import LocalBackend
from ezrec.domain.job import Kind, Result, Take
from ezrec.domain.outcomes import Done
from ezrec.domain.ports import Backend
from ezrec.domain.stages import State
from ezrec.publishing.upload import upload
from ezrec.spool.spool import Entry, Spool
from ezrec.system.task import Task
from tests.fakes.clock import StandingClock
from tests.faults.uploading import backend as supabase
from tests.support.campaigns import times
from tests.support.stagework import CREATED, a_spool, put

NAME = "processed_raw_match_20260601_110000.mp4"
SIZE = 300_000
ZONE = ZoneInfo("Europe/Madrid")


@pytest.fixture(params=["local", "supabase"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Backend, str]]:
    """A backend and the account that it is for."""
    if request.param == "local":
        yield LocalBackend(tmp_path / "store", "user-1", "0", ZONE, StandingClock()), "user-1"
        return
    project = request.getfixturevalue("project")
    account = project.account()
    with supabase(project.url, project.service_key, account) as made:
        yield made, account.user_id


def a_clip(spool: Spool, job_id: str, content: bytes, **known: Any) -> Entry:
    take = Take("raw_match_20260601_110000.mp4", CREATED, 60.0, 10, "put in")
    made = Result(NAME, 60.0, len(content), ("x",))
    entry = put(spool, State.PROCESSED, job_id, kind=Kind.CLIP, takes=(take,), result=made, **known)
    (entry.path / NAME).write_bytes(content)
    return entry


def send(entry: Entry, backend: Backend, user_id: str) -> Done:
    return upload(
        entry, Task(), backend=backend, clock=StandingClock(), zone=ZONE,
        user_id=user_id, camera_id="0", log=logging.getLogger("test"),
    )  # fmt: skip


def published(backend: Backend, user_id: str, folder: Path) -> dict[str, bytes]:
    """Each row's video, as whoever opens the front end gets it."""
    if isinstance(backend, LocalBackend):
        names = [row["filename"] for row in backend.videos()]
    else:
        found = backend._table("videos").select("filename").eq("user_id", user_id).execute()  # type: ignore[attr-defined]
        names = [row["filename"] for row in found.data]
    assert len(set(names)) == len(names), "one row a video"
    for name in names:
        backend.fetch("videos", f"{user_id}/{name}", folder / name)
    return {name: (folder / name).read_bytes() for name in names}


def test_two_videos_of_one_booking_are_both_published(shop: tuple[Backend, str], tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    for job_id, content in (("match", b"a" * SIZE), ("match-2", b"b" * SIZE), ("match-3", b"c")):
        send(a_clip(spool, job_id, content), *shop)
    found = published(*shop, tmp_path)
    assert sorted(found.values()) == [b"a" * SIZE, b"b" * SIZE, b"c"]
    assert found[NAME] == b"a" * SIZE, "the name of a recorded booking stays"
    assert all(name.startswith(NAME[:-4]) and name.endswith(".mp4") for name in found)


def test_two_boxes_with_one_booking_publish_a_video_each(shop: tuple[Backend, str], tmp_path: Path) -> None:
    for number, content in enumerate((b"a" * SIZE, b"b" * SIZE)):
        (tmp_path / str(number)).mkdir()
        made = CREATED + timedelta(microseconds=number)
        send(a_clip(a_spool(tmp_path / str(number)), "match", content, created=made), *shop)
    assert sorted(published(*shop, tmp_path).values()) == [b"a" * SIZE, b"b" * SIZE]


def test_a_job_that_is_sent_again_and_again_has_one_object_and_one_row(
    shop: tuple[Backend, str], tmp_path: Path
) -> None:
    spool = a_spool(tmp_path)
    first, second = a_clip(spool, "match", b"a" * SIZE), a_clip(spool, "match-2", b"b" * SIZE)
    for entry in (first, second, second, first, second):
        send(entry, *shop)
    assert sorted(published(*shop, tmp_path).values()) == [b"a" * SIZE, b"b" * SIZE]


def _send_in_a_process(root: Path, store: Path, job_id: str) -> None:
    entry = Spool(root).read(State.PROCESSED, job_id)
    send(entry, LocalBackend(store, "user-1", "0", ZONE, StandingClock()), "user-1")


def test_kills_at_any_moment_leave_one_object_and_one_row_a_job(tmp_path: Path) -> None:
    """Two jobs that want one name, in two processes at once, each killed again and again."""
    spool, store = a_spool(tmp_path), tmp_path / "store"
    contents = {"match": b"a" * 3_000_000, "match-2": b"b" * 3_000_000}
    for job_id, content in contents.items():
        a_clip(spool, job_id, content)
    forks = multiprocessing.get_context("fork")
    ended: set[str] = set()
    turns = times(20, 60)
    for turn in range(turns):
        running = {
            job_id: forks.Process(target=_send_in_a_process, args=(spool.root, store, job_id))
            for job_id in contents
            if turn % 3 == 0 or job_id not in ended
        }
        for process in running.values():
            process.start()
        time.sleep(0.004 * (turn % 20))
        for job_id, process in running.items():
            if turn < turns - 2 and process.pid:
                os.kill(process.pid, signal.SIGKILL)
            process.join(30)
            if process.exitcode == 0:
                ended.add(job_id)
    for job_id in contents:
        _send_in_a_process(spool.root, store, job_id)
    backend = LocalBackend(store, "user-1", "0", ZONE, StandingClock())
    assert sorted(published(backend, "user-1", tmp_path).values()) == sorted(contents.values())
    assert len(list((store / "buckets/videos/user-1").iterdir())) == 2
