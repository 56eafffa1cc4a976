"""What the Supabase backend makes of being shut out or refused, and what it remembers of a project."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ezrec.cloud.connectivity import Connectivity
from ezrec.cloud.supabase.backend import SupabaseBackend
from ezrec.cloud.supabase.credentials import Credentials
from ezrec.cloud.supabase.schema import reference
from ezrec.cloud.supabase.state_cache import StateCache
from ezrec.domain import cloud_state
from ezrec.domain.errors import Reject, Retry
from tests.cloud.supabase.rows import booking, policies
from tests.fakes.clock import StandingClock
from tests.faults.chaos import ChaosProxy, Pass, Portal
from tests.supabase_server.fixture import Account, Project, wait_for_the_tables
from tests.support.daemon import Box
from tests.support.jobs import ezrec
from tests.support.wait import eventually

PASSWORD = "a-password"


@pytest.fixture
def account(project: Project) -> Account:
    return project.account()


@contextlib.contextmanager
def connected(
    project: Project, account: Account, state: Path | None = None, **changes: Any
) -> Iterator[SupabaseBackend]:
    access = Credentials(
        changes.pop("url", project.url),
        changes.pop("key", project.service_key),
        changes.pop("email", ""),
        changes.pop("password", PASSWORD),
    )
    clock = changes.pop("clock", StandingClock())
    made = SupabaseBackend(access, account.user_id, account.camera_id, clock, state=state, **changes)
    yield made
    made.close()


def told(state: Path) -> cloud_state.Cloud:
    return cloud_state.decode((state / cloud_state.FILE).read_bytes())


# ---- shut out, or really without bookings


def test_a_key_above_all_policies_is_a_witness_by_itself(project: Project, account: Account) -> None:
    with connected(project, account) as cloud:
        assert cloud.sees_bookings()
    with connected(project, account, key="sb_secret_0123456789") as cloud:
        assert cloud.sees_bookings()


def test_an_anon_key_that_row_level_security_shuts_out_is_not_believed(
    project: Project, account: Account, tmp_path: Path
) -> None:
    project.insert("bookings", booking(account, "b1"))
    project.insert("cameras", {"id": account.camera_id, "user_id": account.user_id})
    with (
        policies(project),
        connected(project, account, key=project.anon_key, state=tmp_path) as cloud,
    ):
        assert cloud.bookings() == []
        assert not cloud.sees_bookings(), "other tables are no witnesses"
        ((_, remedy),) = told(tmp_path).alarms
        assert "ezrec schema" in remedy
        database, _ = project.local()
        database.sql("create policy anybody on bookings using (true)")
        assert len(cloud.bookings()) == 1
        assert told(tmp_path).alarms == []


@pytest.mark.parametrize("other", [{"date": "2020-01-01"}, {"camera_id": "court-2"}], ids=["past", "camera"])
def test_any_booking_of_the_account_is_a_witness(
    project: Project, account: Account, other: dict[str, str]
) -> None:
    project.insert("bookings", booking(account, "b1", **other))
    database, _ = project.local()
    with policies(project), connected(project, account, key=project.anon_key) as cloud:
        database.sql("create policy anybody on bookings using (true)")
        assert cloud.bookings() == []
        assert cloud.sees_bookings()


def test_a_device_that_is_entered_for_this_camera_is_a_witness_and_for_another_one_is_none(
    project: Project, account: Account
) -> None:
    database, _ = project.local()
    database.sql(reference())
    wait_for_the_tables(project)
    email = f"{account.camera_id}@device.test"
    auth_id = project.sign_up(email, PASSWORD)
    with connected(project, account, key=project.anon_key, email=email) as cloud:
        assert not cloud.sees_bookings(), "signed in, and entered nowhere"
        entered = {"auth_id": auth_id, "user_id": account.user_id, "camera_id": account.camera_id}
        project.insert("devices", entered)
        assert cloud.sees_bookings()
        project.change("devices", {"camera_id": "court-2"}, auth_id=f"eq.{auth_id}")
        project.insert("bookings", booking(account, "b2", camera_id="court-2"))
        assert not cloud.sees_bookings(), "it sees bookings, but another camera's"


def test_a_status_that_policies_swallow_is_refused_and_not_taken_for_told(
    project: Project, account: Account
) -> None:
    """Such an update is answered like one that found nothing: 200 and no rows."""
    database, _ = project.local()
    row = booking(account, "b1")
    project.insert("bookings", row)
    with policies(project), connected(project, account, key=project.anon_key) as cloud:
        database.sql("create policy anybody on bookings for select using (true)")
        with pytest.raises(Reject) as refused:
            cloud.advance_status(row["id"], "completed")
    assert "ezrec schema" in refused.value.remedy


# ---- refused


def test_after_a_refusal_nobody_knocks_again_for_a_while(
    project: Project, account: Account, tmp_path: Path
) -> None:
    _, front = project.local()
    with (
        ChaosProxy(front.port, [Pass()] * 9) as proxy,
        connected(
            project,
            account,
            tmp_path,
            url=proxy.url,
            key=project.anon_key,
            email="nobody@device.test",
            password="a-wrong-password",
        ) as cloud,
    ):
        waits = []
        for call in (cloud.bookings, cloud.branding, lambda: cloud.heartbeat({"pi_active": True})):
            with pytest.raises(Retry, match="Invalid login credentials") as refused:
                call()
            waits.append(refused.value.after_s or 0)
            bytes_up = proxy.bytes_up
            with pytest.raises(Retry):
                cloud.bookings()
            assert proxy.bytes_up == bytes_up, "said without asking"
    assert all(250 < wait <= 300 for wait in waits)
    found = told(tmp_path)
    assert found.access is cloud_state.Access.REFUSED
    assert found.alarms
    assert "a-wrong-password" not in (tmp_path / cloud_state.FILE).read_text()


def test_a_process_that_comes_after_a_refused_one_does_not_knock_either(
    project: Project, account: Account, tmp_path: Path
) -> None:
    """A timer starts one every 15 s: by turns they would lock the account."""
    _, front = project.local()
    clock, key = StandingClock(), project.anon_key

    def knocks(password: str) -> bool:
        with (
            ChaosProxy(front.port, [Pass()] * 9) as proxy,
            connected(
                project, account, tmp_path, url=project.url, key=key, clock=clock,
                email="nobody@device.test", password=password,
            ) as cloud,
        ):  # fmt: skip
            through_proxy = replace(cloud._cloud.credentials, url=proxy.url)
            cloud._cloud.credentials = cloud._cloud.sign_in.credentials = through_proxy
            with pytest.raises(Retry, match="Invalid login credentials"):
                cloud.bookings()
            return proxy.bytes_up > 0

    assert [knocks("wrong") for _ in range(3)] == [True, False, False]
    assert knocks("corrected, and wrong again")
    assert not knocks("corrected, and wrong again")
    clock.pass_time(301)
    assert knocks("corrected, and wrong again")


def test_a_network_that_is_away_changes_nothing_of_how_the_cloud_treats_us(
    project: Project, account: Account, tmp_path: Path
) -> None:
    connectivity = Connectivity(tmp_path / "reach")

    def is_lost_after_a_look(cloud: SupabaseBackend) -> bool:
        with contextlib.suppress(Retry):
            cloud.bookings()
        return connectivity.is_offline()

    _, front = project.local()
    with (
        ChaosProxy(front.port) as proxy,
        connected(project, account, tmp_path, url=proxy.url, connectivity=connectivity) as cloud,
    ):
        assert not is_lost_after_a_look(cloud)
        before = told(tmp_path)
        proxy.plan(itertools.repeat(Portal()))  # a connection that is open may pass one more request
        assert eventually(lambda: is_lost_after_a_look(cloud))
        assert told(tmp_path) == before
        proxy.plan(())
        assert eventually(lambda: not is_lost_after_a_look(cloud))
        assert told(tmp_path) == before


def test_a_process_believes_the_newest_word_of_any_other(tmp_path: Path) -> None:
    one, other = (StateCache(tmp_path, StandingClock()) for _ in range(2))
    one.record_access(cloud_state.Access.GOOD)
    other.record_access(cloud_state.Access.REFUSED, "no such key")
    one.record_access(cloud_state.Access.GOOD)
    assert told(tmp_path).access is cloud_state.Access.GOOD, "it answers now, whoever was refused before"
    one.record_hidden(True)
    other.record_access(cloud_state.Access.REFUSED, "no such key")
    assert told(tmp_path).hidden
    assert len(told(tmp_path).alarms) == 2


def test_a_process_that_finds_what_was_noted_before_writes_nothing_and_clears_no_alarm(
    project: Project, account: Account, tmp_path: Path
) -> None:
    noted = cloud_state.Cloud(cloud_state.Access.GOOD, StandingClock().now(), hidden=True, most_bytes=2**31)
    path = tmp_path / cloud_state.FILE
    path.write_bytes(cloud_state.encode(noted))
    before = path.stat()
    with connected(project, account, tmp_path) as cloud:
        cloud.heartbeat({"pi_active": True})
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        project.insert("bookings", booking(account, "b1"))
        cloud.bookings()
    assert told(tmp_path) == replace(noted, hidden=False)


@pytest.mark.parametrize("is_device", [False, True], ids=["secret key", "public key"])
def test_the_largest_file_that_the_cloud_takes_is_noted_with_a_heartbeat_and_asked_for_hourly(
    project: Project, account: Account, tmp_path: Path, is_device: bool
) -> None:
    clock = StandingClock()
    state = tmp_path / "state"
    for most, told_most in (("52428800", 52428800), ("1000", 52428800), ("2000", 2000)):
        with project.another_front(FILE_SIZE_LIMIT=most) as front:
            access = Credentials(front.url, project.anon_key if is_device else project.service_key)
            cloud = SupabaseBackend(access, account.user_id, account.camera_id, clock, state=state)
            cloud._state.record_access(
                cloud_state.Access.GOOD
            )  # a heartbeat of the public key is refused by policy
            with contextlib.suppress(Reject):
                cloud.heartbeat({"pi_active": True})
            cloud._ask_for_limit()
            cloud.close()
        assert told(state).most_bytes == told_most
        clock.pass_time(1000 if told_most == int(most) else 3600)


# ---- what a project lacks


def test_a_missing_column_is_remembered_across_restarts_and_asked_for_again_a_day_later(
    project: Project, account: Account, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = StandingClock()

    def publish() -> int:
        caplog.clear()
        with connected(project, account, tmp_path, clock=clock) as cloud:
            cloud.publish_row({"user_id": account.user_id, "filename": "a.mp4", "hat_size": 60})
        return sum("hat_size" in record.getMessage() for record in caplog.records)

    assert publish() == 1
    assert publish() == 0
    clock.pass_time(timedelta(days=1, minutes=1).total_seconds())
    assert publish() == 1, "a person may have added it"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"videos": {"hat": "yesterday"}}', b"\xff"])
def test_spoilt_notes_are_as_good_as_none(
    project: Project, account: Account, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "columns.json").write_bytes(content)
    with connected(project, account, tmp_path) as cloud:
        cloud.publish_row({"user_id": account.user_id, "filename": "a.mp4", "hat_size": 60})
    assert list(json.loads((tmp_path / "columns.json").read_bytes())["videos"]) == ["hat_size"]


def test_a_folder_that_takes_no_notes_stops_nothing(
    project: Project, account: Account, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with connected(project, account, tmp_path / "file") as cloud:
        assert cloud.bookings() == []


# ---- the camera's row


def test_a_registered_camera_is_touched_beside_the_heartbeat(project: Project, account: Account) -> None:
    project.insert("cameras", {"id": account.camera_id, "user_id": account.user_id, "name": "Court 1"})
    clock = StandingClock()

    def beat(at: str, *, is_recording: bool = False) -> dict[str, Any]:
        cloud.heartbeat({"pi_active": True, "is_recording": is_recording, "last_heartbeat": at})
        [row] = project.select("cameras", id=f"eq.{account.camera_id}")
        return row

    with connected(project, account, clock=clock) as cloud:
        row = beat("2026-06-01T12:00:00+00:00")
        assert (row["name"], row["status"], row["is_recording"]) == ("Court 1", "online", False)
        assert row["last_seen"].startswith("2026-06-01T12:00")
        assert beat("2026-06-01T12:00:15+00:00") == row, "nothing is new"
        assert beat("2026-06-01T12:00:30+00:00", is_recording=True)["is_recording"] is True
        clock.pass_time(301)
        assert beat("2026-06-01T12:01:30+00:00", is_recording=True)["last_seen"].startswith(
            "2026-06-01T12:01:30"
        )


def test_a_camera_that_nobody_registered_is_not_made_up(project: Project, account: Account) -> None:
    with connected(project, account) as cloud:
        cloud.heartbeat({"pi_active": True})
    assert project.select("cameras", id=f"eq.{account.camera_id}") == []
    assert len(project.select("system_status", user_id=f"eq.{account.user_id}")) == 1


def test_a_project_without_the_table_cameras_hears_the_heartbeat(project: Project, account: Account) -> None:
    database, _ = project.local()
    database.sql("alter table cameras rename to cameras_away; notify pgrst, 'reload schema'")
    try:
        with connected(project, account) as cloud:
            for _ in range(2):
                cloud.heartbeat({"pi_active": True})
    finally:
        database.sql("alter table cameras_away rename to cameras; notify pgrst, 'reload schema'")
    assert len(project.select("system_status", user_id=f"eq.{account.user_id}")) == 1


def test_a_heartbeat_sends_what_is_news_and_now_and_then_all(project: Project, account: Account) -> None:
    clock = StandingClock()
    row = {"pi_active": True, "memory_total_gb": 8.0, "cpu_usage_percent": 1.0}

    def there() -> dict[str, Any]:
        [found] = project.select("system_status", user_id=f"eq.{account.user_id}")
        return {name: found[name] for name in row}

    with connected(project, account, clock=clock) as cloud:
        cloud.heartbeat(row)
        project.change("system_status", {"memory_total_gb": 1.0}, user_id=f"eq.{account.user_id}")
        cloud.heartbeat({**row, "cpu_usage_percent": 7.0})
        assert there() == {**row, "cpu_usage_percent": 7.0, "memory_total_gb": 1.0}
        for percent in (9.0, 11.0, 13.0):
            cloud.heartbeat({**row, "cpu_usage_percent": percent})
        assert there()["cpu_usage_percent"] == 13.0, (
            "small steps add up to what is there, not to the last beat"
        )
        clock.pass_time(301)
        cloud.heartbeat(row)
        assert there() == row
        project.request("DELETE", "/rest/v1/system_status", params={"user_id": f"eq.{account.user_id}"})
        cloud.heartbeat(row)
        assert there() == row, "a row that was deleted is made anew, whole"
        cloud.heartbeat(row)


# ---- keys, at the start


NOWHERE = "http://127.0.0.1:9"


@pytest.mark.parametrize("key", ["hunter2hunter2", "sb_other_0123456789", "eyJhbGciOiJIUzI1NiJ9.e30"])
def test_a_key_of_another_form_ends_the_start_with_wrong_settings(tmp_path: Path, key: str) -> None:
    only = ("run", "--only", "sync,tell,status")
    done = ezrec(tmp_path, *only, SUPABASE_URL=NOWHERE, SUPABASE_KEY=key, USER_ID="user-1")
    assert done.returncode == 78
    assert "SUPABASE_KEY is no key of Supabase" in done.stderr
    assert key not in done.stderr + done.stdout


def test_a_key_to_everything_is_warned_about_once_at_every_start_with_the_way_out(tmp_path: Path) -> None:
    key = "sb_secret_0123456789"
    box = Box(tmp_path, EZREC_BACKEND="supabase", SUPABASE_URL=NOWHERE, SUPABASE_KEY=key, USER_ID="user-1")
    try:
        daemon = box.run("--only", "sync,tell,status,upload")
        box.wait_for(lambda: "again in" in box.log("booking_sync"), "it does not begin")
        assert box.end(daemon) == 0
    finally:
        box.close()
    warned = [line for line in box.talk().splitlines() if "SUPABASE_KEY is a secret key" in line]
    assert len(warned) == 1
    assert "EZREC_DEVICE_EMAIL" in warned[0]


def test_of_processes_that_a_timer_starts_not_each_warns(tmp_path: Path) -> None:
    environ: dict[str, Any] = {
        "SUPABASE_URL": NOWHERE,
        "SUPABASE_KEY": "sb_secret_0123456789",
        "USER_ID": "user-1",
    }
    talk = [ezrec(tmp_path, "pulse", "tell", **environ) for _ in range(2)]
    assert ["is a secret key" in done.stdout + done.stderr for done in talk] == [True, False]
