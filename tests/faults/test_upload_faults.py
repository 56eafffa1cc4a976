"""Uploads over a bad uplink: every object ends whole, once, and little is sent twice."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ezrec.cloud.supabase.backend import SupabaseBackend
from ezrec.cloud.supabase.credentials import Credentials
from ezrec.domain.chunk_size import USUAL as PIECE
from ezrec.domain.chunk_size import ChunkSize
from ezrec.domain.errors import Reject, Retry, Stopped
from ezrec.domain.ownership import Mark
from tests.fakes.clock import StandingClock
from tests.faults.chaos import Blackhole, ChaosProxy, Cut, Fault, LostAnswer, Portal, Reset, Slow
from tests.faults.uploading import backend, deaf, film, keep_storing, stored
from tests.supabase_server.fixture import Project, token


def test_no_more_than_one_piece_is_sent_again_after_a_cut(project: Project, tmp_path: Path) -> None:
    account, source = project.account(), film(tmp_path, 3 * PIECE + 12_345)
    _, front = project.local()
    cuts: list[Fault] = [Cut(2_000_000), Cut(PIECE + 3_000_000), LostAnswer(700), Cut(PIECE - 1)]
    with ChaosProxy(front.port, cuts) as proxy, backend(proxy.url, project.service_key, account) as cloud:
        name = f"{account.user_id}/cut.mp4"
        keep_storing(cloud, name, source, tmp_path / "upload.json")
        assert proxy.bytes_up <= source.stat().st_size + len(cuts) * PIECE + 50_000
        assert len(proxy.met) > len(cuts)
    assert stored(project, name) == source.read_bytes()


def test_a_silent_link_is_left_after_a_while_and_the_upload_goes_on(project: Project, tmp_path: Path) -> None:
    account, source = project.account(), film(tmp_path, 600_000)
    _, front = project.local()
    with ChaosProxy(front.port, [Blackhole(100_000)]) as proxy:
        cloud = SupabaseBackend(
            Credentials(proxy.url, project.service_key),
            account.user_id,
            "0",
            StandingClock(),
            silence_s=1.0,
        )
        name = f"{account.user_id}/hole.mp4"
        keep_storing(cloud, name, source, tmp_path / "upload.json")
        cloud.close()
    assert stored(project, name) == source.read_bytes()


def test_a_slow_link_is_no_fault(project: Project, tmp_path: Path) -> None:
    account, source = project.account(), film(tmp_path, 400_000)
    _, front = project.local()
    name = f"{account.user_id}/slow.mp4"
    with ChaosProxy(front.port, [Slow(400_000)] * 3) as proxy:
        with backend(proxy.url, project.service_key, account) as cloud:
            cloud.store("videos", name, source, deaf)
        assert len(proxy.met) == 1
    assert stored(project, name) == source.read_bytes()


def test_an_upload_goes_on_after_the_server_was_killed(project: Project, tmp_path: Path) -> None:
    account, source = project.account(), film(tmp_path, 2 * PIECE)
    name, heard = f"{account.user_id}/killed.mp4", threading.Event()
    with (
        project.another_front() as front,
        backend(front.url, project.service_key, account, upload_bytes_s=8_000_000) as cloud,
    ):
        faults: list[Exception] = []

        def work() -> None:
            try:
                cloud.store("videos", name, source, lambda _: heard.set(), state=tmp_path / "upload.json")
            except Retry:
                keep_storing(cloud, name, source, tmp_path / "upload.json")
            except (AssertionError, Reject) as fault:
                faults.append(fault)

        worker = threading.Thread(target=work)
        worker.start()
        assert heard.wait(60)
        front.stop(kill=True)
        front.start()
        worker.join(60)
        assert not worker.is_alive()
        assert faults == []
    assert stored(project, name) == source.read_bytes()


def test_a_token_that_expires_in_mid_upload_is_renewed(project: Project, tmp_path: Path) -> None:
    account, source = project.account(), film(tmp_path, PIECE + 100_000)
    email = f"{account.camera_id}@device.test"
    user_id = project.sign_up(email, "a-password", token_seconds=2)
    database, _ = project.local()
    own = f"(owner_id = '{user_id}')"
    database.sql(f'create policy "{email}" on storage.objects to authenticated using {own} with check {own}')
    access = Credentials(project.url, project.anon_key, email, "a-password")
    # Slower than the token lives: the second piece needs another one than the first.
    cloud = SupabaseBackend(access, user_id, "0", StandingClock(), upload_bytes_s=2_000_000)
    cloud.store("videos", f"{user_id}/token.mp4", source, deaf, state=tmp_path / "upload.json")
    cloud.close()
    used = database.rows(f"select count(*) as n from auth.refresh_tokens where user_id = '{user_id}'")
    assert used[0]["n"] >= 2
    assert stored(project, f"{user_id}/token.mp4") == source.read_bytes()


def test_an_expired_upload_starts_over(project: Project, tmp_path: Path) -> None:
    account, source, state = project.account(), film(tmp_path, PIECE + 5), tmp_path / "upload.json"
    _, front = project.local()
    name = f"{account.user_id}/expired.mp4"
    with (
        ChaosProxy(front.port, [Cut(3_000_000), *[Reset()] * 6]) as proxy,
        backend(proxy.url, project.service_key, account, wait_s=0.01) as cloud,
        pytest.raises(Retry),
    ):
        cloud.store("videos", name, source, deaf, state=state)
    first = json.loads(state.read_bytes())["url"]
    for path in (front.data / "tus").iterdir():
        path.unlink()
    with backend(front.url, project.service_key, account) as cloud:
        place = {**json.loads(state.read_bytes()), "url": first.replace(str(proxy.port), str(front.port))}
        state.write_text(json.dumps(place))
        cloud.store("videos", name, source, deaf, state=state)
    assert stored(project, name) == source.read_bytes()


def test_an_upload_that_the_server_calls_gone_starts_over(project: Project, tmp_path: Path) -> None:
    account, source, state = project.account(), film(tmp_path, 3 * 65536), tmp_path / "upload.json"
    name = f"{account.user_id}/gone.mp4"
    stops: list[Callable[[], None]] = []
    with (
        project.another_front(TUS_EXPIRY_MS="1000") as front,
        backend(front.url, project.service_key, account, chunk_size=ChunkSize(65536)) as cloud,
    ):
        with pytest.raises(Stopped):
            cloud.store("videos", name, source, lambda _: stops[0](), state=state, on_stop=stops.append)
        kept = json.loads(state.read_bytes())
        first, expires = kept["url"], datetime.fromisoformat(kept["expires"])
        assert -3 < (expires - datetime.now(UTC)).total_seconds() < 2, "as the server names it"
        time.sleep(1.1)
        heard: list[float] = []
        cloud.store("videos", name, source, heard.append, state=state)
    assert heard[0] < 0.5, "from the beginning"
    assert json.loads(state.read_bytes())["url"] != first
    assert stored(project, name) == source.read_bytes()


def test_a_page_of_a_guest_network_is_no_success(project: Project, tmp_path: Path) -> None:
    account = project.account()
    _, front = project.local()

    def never(part: float) -> None:
        raise AssertionError(f"told that {part} of it is there")

    with (
        ChaosProxy(front.port, [Portal()] * 100) as proxy,
        backend(proxy.url, project.service_key, account, wait_s=0.01) as cloud,
    ):
        for work in (
            lambda: cloud.store("videos", "a.mp4", film(tmp_path, 10), never),
            cloud.bookings,
            cloud.branding,
            lambda: cloud.advance_status("b-1", "completed"),
            lambda: cloud.size_of("videos", "a.mp4"),
            lambda: cloud.fetch("usermedia", "a.mp4", tmp_path / "a.mp4"),
            lambda: cloud.publish_row({"user_id": account.user_id, "filename": "a.mp4"}),
        ):
            with pytest.raises(Retry):
                work()
    assert not (tmp_path / "a.mp4").exists()
    assert project.select("videos", user_id=f"eq.{account.user_id}") == []


def test_asked_to_stop_an_upload_is_laid_down_and_goes_on_later(project: Project, tmp_path: Path) -> None:
    account, source, state = project.account(), film(tmp_path, 2 * PIECE), tmp_path / "upload.json"
    name = f"{account.user_id}/stopped.mp4"
    stops: list[Callable[[], None]] = []
    with backend(project.url, project.service_key, account, upload_bytes_s=20_000_000) as cloud:
        with pytest.raises(Stopped):
            cloud.store("videos", name, source, lambda _: stops[0](), state=state, on_stop=stops.append)
        assert state.exists()
        heard: list[float] = []
        cloud.store("videos", name, source, heard.append, state=state)
    assert heard[0] >= 0.5
    assert stored(project, name) == source.read_bytes()


def test_what_storage_refuses_is_told_with_a_remedy(project: Project, tmp_path: Path) -> None:
    account = project.account()
    with (
        project.another_front(FILE_SIZE_LIMIT="1000") as small,
        backend(small.url, project.service_key, account) as cloud,
    ):
        with pytest.raises(Reject) as too_large:
            cloud.store("videos", f"{account.user_id}/a.mp4", film(tmp_path, 1001), deaf)
        assert "free plans allow 50 MB" in too_large.value.remedy
        assert too_large.value.again_s, "it is cured over there"
        with pytest.raises(Reject, match="Bucket not found"):
            cloud.store("no-bucket", "a.mp4", film(tmp_path, 10), deaf)
        empty = tmp_path / "empty.mp4"
        empty.touch()
        with pytest.raises(Reject, match="empty"):
            cloud.store("videos", "a.mp4", empty, deaf)
    stranger = token("authenticated", sub=account.camera_id)
    with backend(project.url, stranger, account) as cloud, pytest.raises(Reject, match="row-level security"):
        cloud.store("videos", f"{account.user_id}/a.mp4", film(tmp_path, 10), deaf)


def test_a_state_file_never_leads_the_token_to_another_host(project: Project, tmp_path: Path) -> None:
    account, source, state = project.account(), film(tmp_path, 10), tmp_path / "upload.json"
    name, info = f"{account.user_id}/a.mp4", source.stat()
    with ChaosProxy(1) as elsewhere:
        place = {"url": f"{elsewhere.url}/storage/v1/upload/resumable/x", "bucket": "videos", "key": name}
        state.write_text(json.dumps({**place, "size": info.st_size, "mtime_ns": info.st_mtime_ns}))
        with backend(project.url, project.service_key, account) as cloud:
            cloud.store("videos", name, source, deaf, state=state)
        assert elsewhere.met == []


def test_a_video_above_the_limit_goes_through_once_the_limit_is_raised(
    project: Project, tmp_path: Path
) -> None:
    account, source, state = project.account(), film(tmp_path, 200_000), tmp_path / "upload.json"
    name, mark = f"{account.user_id}/large.mp4", Mark("1" * 32, "a" * 32)
    with (
        project.another_front(FILE_SIZE_LIMIT="100000") as front,
        backend(front.url, project.service_key, account) as cloud,
    ):
        for _ in range(2):
            with pytest.raises(Reject) as refused:
                cloud.store("videos", name, source, deaf, state=state, mark=mark)
            assert refused.value.again_s
        front.stop()
        front.options = {"FILE_SIZE_LIMIT": "300000"}
        front.start()
        assert cloud.store("videos", name, source, deaf, state=state, mark=mark) is True
    assert stored(project, name) == source.read_bytes()
