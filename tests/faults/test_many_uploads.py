"""Many uploads over the worst of uplinks: each object whole, one object, one row, little sent twice."""

from __future__ import annotations

import contextlib
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ezrec.cloud.supabase.backend import SupabaseBackend
from ezrec.domain.chunk_size import ChunkSize
from ezrec.domain.errors import Retry
from tests.faults.chaos import Blackhole, ChaosProxy, Cut, Fault, Hangup, LostAnswer, Pass, Reset, Slow
from tests.faults.uploading import backend, film, keep_storing, stored
from tests.supabase_server.fixture import Account, Project
from tests.support.campaigns import times

LINES, EACH = 5, times(8, 20)
PIECE = 32 * 1024
_REQUEST = 1500  # bytes of one request's head, at most
_KINDS: list[Fault] = [
    Pass(), Reset(), Cut(0), Cut(900), Cut(PIECE), Cut(PIECE + 5000), Cut(3 * PIECE), LostAnswer(),
    LostAnswer(300), LostAnswer(900), Hangup(), Hangup(600), Slow(2_000_000),
]  # fmt: skip
_SILENT: list[Fault] = [Blackhole(0), Blackhole(PIECE), Blackhole(2 * PIECE + 9000)]


@dataclass
class Line:
    """One box behind its own uplink."""

    project: Project
    account: Account
    proxy: ChaosProxy
    cloud: SupabaseBackend
    folder: Path
    chance: random.Random
    largest: int

    def send(self, number: int) -> None:
        source = film(self.folder, 10_000 + self.chance.randrange(6 * PIECE), number)
        name = f"{self.account.user_id}/{number}.mp4"
        faults = [self.chance.choice(_KINDS) for _ in range(4)]
        if number % 10 == 0:
            faults.insert(1, self.chance.choice(_SILENT))
        self.proxy.plan(faults)
        sent, met = self.proxy.bytes_up, len(self.proxy.met)
        keep_storing(self.cloud, name, source, self.folder / f"{number}.json")
        # Every fault may cost a piece, and each connection a few requests; no upload begins anew.
        size, faced = source.stat().st_size, len(self.proxy.met) - met
        requests = size / PIECE + 4 * faced + 6
        assert self.proxy.bytes_up - sent <= size + faced * self.largest + requests * _REQUEST
        self.proxy.plan([self.chance.choice(_KINDS)])
        for _ in range(4):
            with contextlib.suppress(Retry):
                self.cloud.publish_row({"user_id": self.account.user_id, "filename": f"{number}.mp4"})
                break
        assert stored(self.project, name) == source.read_bytes()
        source.unlink()


def test_many_uploads_arrive_whole_over_bad_uplinks(project: Project, tmp_path: Path) -> None:
    account, (_, front) = project.account(), project.local()
    met: list[Fault] = []

    def work(line: int) -> None:
        folder = tmp_path / str(line)
        folder.mkdir()
        sizes = ChunkSize(PIECE if line % 2 else 4 * PIECE, usual=PIECE)  # some stay small, others grow
        with (
            ChaosProxy(front.port) as proxy,
            backend(
                proxy.url, project.service_key, account, wait_s=0.01, silence_s=1.5, chunk_size=sizes
            ) as cloud,
        ):
            box = Line(project, account, proxy, cloud, folder, random.Random(line), sizes.most)
            for number in range(line * EACH, (line + 1) * EACH):
                box.send(number)
            met.extend(proxy.met)

    with ThreadPoolExecutor(LINES) as pool:
        list(pool.map(work, range(LINES)))
    rows = project.select("videos", user_id=f"eq.{account.user_id}")
    names = sorted(f"{n}.mp4" for n in range(LINES * EACH))
    assert sorted(row["filename"] for row in rows) == names
    assert objects(project, account) == names
    assert {type(fault) for fault in met} == {Pass, Reset, Cut, LostAnswer, Hangup, Slow, Blackhole}


def objects(project: Project, account: Account) -> list[str]:
    listing = {"prefix": account.user_id, "limit": 1000}
    found = project.request("POST", "/storage/v1/object/list/videos", json=listing)
    return sorted(item["name"] for item in found)


def test_uploads_go_on_when_the_server_is_killed_under_them(project: Project, tmp_path: Path) -> None:
    account, size = project.account(), 40 * PIECE
    names = [f"{account.user_id}/{number}.mp4" for number in range(5)]
    sources = [film(tmp_path, size, number) for number in range(5)]
    half = threading.Barrier(6, timeout=60)  # all uploads and the hand that kills

    with project.another_front() as front:

        def work(number: int) -> None:
            is_past: set[float] = set()

            def heard(part: float) -> None:
                for mark in (0.3, 0.6):
                    if part >= mark and mark not in is_past:
                        is_past.add(mark)
                        half.wait()

            with backend(
                front.url, project.service_key, account, wait_s=0.1, chunk_size=ChunkSize(PIECE)
            ) as cloud:
                for _ in range(12):
                    with contextlib.suppress(Retry):
                        cloud.store(
                            "videos", names[number], sources[number], heard, state=tmp_path / f"{number}.json"
                        )
                        return
                raise AssertionError("not uploaded")

        with ThreadPoolExecutor(5) as pool:
            working = [pool.submit(work, number) for number in range(5)]
            for _ in range(2):
                half.wait()
                front.stop(kill=True)
                front.start()
            for work_done in working:
                work_done.result(60)
    for name, source in zip(names, sources, strict=True):
        assert stored(project, name) == source.read_bytes()
    assert objects(project, account) == [f"{number}.mp4" for number in range(5)]
