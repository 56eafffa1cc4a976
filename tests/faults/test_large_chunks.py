"""Upload pieces that grow: faster where they are taken, and nothing is lost where they are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ezrec.cloud.supabase.backend import SupabaseBackend
from ezrec.cloud.supabase.credentials import Credentials
from ezrec.cloud.supabase.tus import Upload, UploadThrottle
from ezrec.cloud.supabase.tus_state import ChunkSizer
from ezrec.domain.chunk_size import USUAL, ChunkSize
from ezrec.domain.errors import Reject, Retry, Stopped
from tests.fakes.clock import StandingClock
from tests.faults.chaos import Blackhole, ChaosProxy, Cut, Fault, LostAnswer
from tests.faults.uploading import backend, deaf, film, keep_storing, stored
from tests.supabase_server.fixture import Project

SMALL = 128 * 1024
GROWN = ChunkSize(most=64 * SMALL, usual=SMALL, size=64 * SMALL)


def sent(cloud: SupabaseBackend) -> list[int]:
    """The lengths of the chunks from now on."""
    lengths: list[int] = []

    def note(request: Any) -> None:
        if request.method == "PATCH" and "upload-offset" in request.headers:
            lengths.append(int(request.headers["content-length"]))

    cloud._cloud.http.event_hooks["request"].append(note)
    return lengths


def test_chunks_grow_and_progress_is_told_within_them(project: Project, tmp_path: Path) -> None:
    account, source = project.account(), film(tmp_path, 8 * USUAL)
    name, heard = f"{account.user_id}/grows.mp4", list[float]()
    with backend(project.url, project.service_key, account) as cloud:
        lengths = sent(cloud)
        cloud.store("videos", name, source, heard.append, state=tmp_path / "upload.json")
    assert lengths == [USUAL, 2 * USUAL, 4 * USUAL, USUAL]
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    assert max(b - a for a, b in zip([0, *heard], heard, strict=False)) <= 2 / 8
    assert stored(project, name) == source.read_bytes()


def test_a_cut_costs_no_more_than_what_was_on_its_way(project: Project, tmp_path: Path) -> None:
    account, source = project.account(), film(tmp_path, 40_000_000)
    _, front = project.local()
    cuts: list[Fault] = [Cut(30_000_000), LostAnswer(3000)]
    with (
        ChaosProxy(front.port, cuts) as proxy,
        backend(proxy.url, project.service_key, account, chunk_size=ChunkSize(), wait_s=0.01) as cloud,
    ):
        lengths, name, heard = sent(cloud), f"{account.user_id}/cut.mp4", list[float]()
        cloud.store("videos", name, source, heard.append, state=tmp_path / "upload.json")
        assert heard == sorted(heard), "progress never falls, though something of it was lost"
        assert proxy.bytes_up <= source.stat().st_size + len(cuts) * USUAL + 50_000
        assert len(proxy.met) > 1
    broken = lengths.index(max(lengths))
    assert lengths[broken] > 2 * USUAL
    assert lengths[broken + 1] <= USUAL, "small again after the cut"
    assert stored(project, name) == source.read_bytes()


def test_a_silent_line_is_left_in_the_middle_of_a_large_chunk(project: Project, tmp_path: Path) -> None:
    account, source = project.account(), film(tmp_path, 60 * SMALL)
    _, front = project.local()
    with (
        ChaosProxy(front.port, [Blackhole(20 * SMALL)]) as proxy,
        backend(proxy.url, project.service_key, account, chunk_size=GROWN, silence_s=0.8) as cloud,
    ):
        name = f"{account.user_id}/hole.mp4"
        keep_storing(cloud, name, source, tmp_path / "upload.json")
        assert len(proxy.met) > 1
    assert stored(project, name) == source.read_bytes()


def test_a_stop_is_heard_in_the_middle_of_a_large_chunk_and_what_arrived_counts(
    project: Project, tmp_path: Path
) -> None:
    account, source, state = project.account(), film(tmp_path, 6 * USUAL), tmp_path / "upload.json"
    name, stops = f"{account.user_id}/stop.mp4", list[Callable[[], None]]()
    large = ChunkSize(size=6 * USUAL)
    with backend(project.url, project.service_key, account, chunk_size=large) as cloud:
        lengths = sent(cloud)
        with pytest.raises(Stopped):
            cloud.store("videos", name, source, lambda _: stops[0](), state=state, on_stop=stops.append)
        cloud.store("videos", name, source, deaf, state=state)
    assert lengths[0] == 6 * USUAL
    assert lengths[1] < lengths[0] - USUAL / 2
    assert stored(project, name) == source.read_bytes()


def test_who_has_to_wait_leaves_a_large_piece_too(project: Project, tmp_path: Path) -> None:
    account, source, state = project.account(), film(tmp_path, 6 * USUAL), tmp_path / "upload.json"
    name = f"{account.user_id}/gate.mp4"

    def closed(_: float) -> None:
        raise Retry("a recording begins")

    with backend(project.url, project.service_key, account, chunk_size=ChunkSize(size=6 * USUAL)) as cloud:
        lengths = sent(cloud)
        with pytest.raises(Retry, match="a recording begins"):
            cloud.store("videos", name, source, closed, state=state)
        cloud.store("videos", name, source, deaf, state=state)
    assert lengths[1] < lengths[0]
    assert stored(project, name) == source.read_bytes()


def test_a_chunk_that_a_proxy_refuses_comes_smaller(project: Project, tmp_path: Path) -> None:
    account, source = project.account(), film(tmp_path, 3 * USUAL)
    name = f"{account.user_id}/a.mp4"
    with (
        project.another_front(PROXY_BODY_LIMIT="1048576") as front,  # a web server's usual one
        backend(front.url, project.service_key, account, wait_s=0.01) as cloud,
    ):
        lengths = sent(cloud)
        cloud.store("videos", name, source, deaf, state=tmp_path / "upload.json")
        assert max(lengths) == USUAL
        assert len([length for length in lengths if length > 1048576]) <= 5
    assert stored(project, name) == source.read_bytes()


def test_a_server_that_takes_no_size_is_told_as_refusing(project: Project, tmp_path: Path) -> None:
    account, source = project.account(), film(tmp_path, USUAL)
    with (
        project.another_front(PROXY_BODY_LIMIT="1000") as front,
        backend(front.url, project.service_key, account, state=tmp_path / "state", wait_s=0.01) as cloud,
        pytest.raises((Retry, Reject)),
    ):
        cloud.store("videos", f"{account.user_id}/a.mp4", source, deaf)
    assert source.exists()


def test_a_refusal_that_has_nothing_to_do_with_sizes_leaves_them_as_they_are() -> None:
    sizes = ChunkSizer(GROWN)
    sizes.start(0, 64 * SMALL)
    assert not sizes.refused(403, by_server=True)  # a token that had expired
    sizes.resumed(0)
    assert sizes.start(0, 64 * SMALL) == 64 * SMALL
    sizes.resumed(0)  # broke off
    assert sizes.start(0, 64 * SMALL) == SMALL
    assert sizes.current.most == 32 * SMALL


def test_behind_a_hosted_gateway_chunks_do_not_grow(project: Project, tmp_path: Path) -> None:
    account, source = project.account(), film(tmp_path, 3 * USUAL)
    with project.another_front(GATEWAY_HEADER="cf-ray") as front:
        for sizes, largest in ((None, USUAL), (ChunkSize(), 2 * USUAL)):
            with backend(front.url, project.service_key, account, chunk_size=sizes) as cloud:
                lengths = sent(cloud)
                cloud.store("videos", f"{account.user_id}/{largest}.mp4", source, deaf)
                assert max(lengths) == largest


def test_a_token_that_expires_within_a_chunk_is_no_fault(project: Project, tmp_path: Path) -> None:
    account, source = project.account(), film(tmp_path, 3 * 1024 * 1024)
    email = f"{account.camera_id}@device.test"
    user_id = project.sign_up(email, "a-password", token_seconds=1)
    database, _ = project.local()
    own = f"(owner_id = '{user_id}')"
    database.sql(f'create policy "{email}" on storage.objects to authenticated using {own} with check {own}')
    cloud = SupabaseBackend(
        Credentials(project.url, project.anon_key, email, "a-password"), user_id, "0", StandingClock(),
        upload_bytes_s=1_000_000, chunk_size=GROWN,
    )  # fmt: skip
    lengths = sent(cloud)
    cloud.store("videos", f"{user_id}/token.mp4", source, deaf, state=tmp_path / "upload.json")
    cloud.close()
    assert lengths == [source.stat().st_size], "one chunk, three lives of a token long"
    assert stored(project, f"{user_id}/token.mp4") == source.read_bytes()


def test_a_large_piece_on_a_line_that_became_slow_is_ended(project: Project, tmp_path: Path) -> None:
    account, source = project.account(), film(tmp_path, 20 * SMALL)
    name = f"{account.user_id}/slow.mp4"
    with backend(project.url, project.service_key, account) as cloud:
        lengths, sizes = sent(cloud), ChunkSizer(GROWN, longest_s=0.5)
        slow = UploadThrottle(1_000_000)
        Upload(
            cloud._cloud, "videos", name, source, progress=deaf, chunks=sizes, throttle=slow, wait_s=0.01
        ).run()
    assert lengths[:2] == [20 * SMALL, SMALL]
    assert sum(lengths[1:]) < 20 * SMALL, "what had arrived of it was kept"
    assert stored(project, name) == source.read_bytes()


def test_the_server_killed_within_a_large_piece_costs_what_it_did_not_keep(
    project: Project, tmp_path: Path
) -> None:
    account, source, state = project.account(), film(tmp_path, 5 * USUAL), tmp_path / "upload.json"
    name, killed = f"{account.user_id}/killed.mp4", list[float]()
    with project.another_front() as front:

        def heard(part: float) -> None:
            if not killed:
                killed.append(part)
                front.stop(kill=True)
                front.start()

        with backend(
            front.url, project.service_key, account, chunk_size=ChunkSize(size=5 * USUAL), wait_s=0.05
        ) as cloud:
            lengths = sent(cloud)
            for _ in range(5):
                try:
                    cloud.store("videos", name, source, heard, state=state)
                    break
                except Retry:
                    continue
    assert lengths[0] == 5 * USUAL
    assert max(lengths[1:]) <= 2 * USUAL
    assert sum(lengths[1:]) <= 5 * USUAL
    assert stored(project, name) == source.read_bytes()
