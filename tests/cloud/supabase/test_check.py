"""The doctor's look at a Supabase project, against PostgreSQL and a facade of the services."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ezrec import settings
from ezrec.cloud.supabase.check import TABLES, check
from ezrec.domain.cloud_state import SILENT_REMEDY
from ezrec.domain.findings import Finding, Verdict
from tests.cloud.supabase.rows import booking, policies
from tests.supabase_server.fixture import Account, Project


@pytest.fixture
def account(project: Project) -> Account:
    return project.account()


def all_found(project: Project, account: Account, home: Path, **changes: str) -> list[Finding]:
    environ = {
        "EZREC_HOME": str(home), "SUPABASE_URL": project.url, "SUPABASE_KEY": project.service_key,
        "USER_ID": account.user_id, "CAMERA_ID": account.camera_id, **changes,
    }  # fmt: skip
    return list(check(settings.load(environ)))


def found(project: Project, account: Account, home: Path, **changes: str) -> dict[str, Finding]:
    """The findings by check; of several the worst."""
    worst: dict[str, Finding] = {}
    for finding in all_found(project, account, home, **changes):
        before = worst.get(finding.check)
        if before is None or list(Verdict).index(finding.verdict) > list(Verdict).index(before.verdict):
            worst[finding.check] = finding
    return worst


@contextlib.contextmanager
def changed(project: Project, do: str, undo: str) -> Iterator[None]:
    database, _ = project.local()
    database.sql(f"{do}; notify pgrst, 'reload schema'")
    try:
        yield
    finally:
        database.sql(f"{undo}; notify pgrst, 'reload schema'")


def test_a_project_after_the_contract_is_sound(project: Project, account: Account, tmp_path: Path) -> None:
    project.insert("bookings", booking(account, "b1"))
    with project.another_front(FILE_SIZE_LIMIT=str(1 << 34)) as front:
        told = found(project, account, tmp_path, SUPABASE_URL=front.url)
    assert {check: one.verdict for check, one in told.items()} == dict.fromkeys(
        ("tables", "bookings", "uploads", "buckets"), Verdict.OK
    )


def test_a_project_that_takes_only_small_files_is_told_before_the_match(
    project: Project, account: Account, tmp_path: Path
) -> None:
    with project.another_front(FILE_SIZE_LIMIT="52428800") as front:
        for key in (project.service_key, project.anon_key):
            told = found(project, account, tmp_path, SUPABASE_URL=front.url, SUPABASE_KEY=key)["uploads"]
            assert told.verdict is Verdict.WARNING
            assert told.evidence == "the project takes files of up to 52 MB; a match has 6750 MB"
            assert "free plans" in told.remedy


def test_bookings_that_name_another_camera_are_told_with_its_name(
    project: Project, account: Account, tmp_path: Path
) -> None:
    project.insert("bookings", *(booking(account, f"b{n}", camera_id="court-9") for n in range(3)))
    told = found(project, account, tmp_path)["bookings"]
    assert told.verdict is Verdict.WARNING
    assert told.evidence == f"0 bookings for camera {account.camera_id}, 3 on others (court-9: 3)"


@pytest.mark.parametrize(
    ("do", "undo", "verdict", "names"),
    [
        ("rename column end_time to ends", "rename column ends to end_time", Verdict.FAULT, "end_time"),
        ("rename to reserved", "", Verdict.FAULT, "no table bookings"),
    ],
    ids=["a column that is needed", "a table"],
)
def test_what_a_table_lacks_is_named(
    project: Project, account: Account, tmp_path: Path, do: str, undo: str, verdict: Verdict, names: str
) -> None:
    undone = f"alter table bookings {undo}" if undo else "alter table reserved rename to bookings"
    with changed(project, f"alter table bookings {do}", undone):
        told = [one for one in survey_all(project, account, tmp_path) if one.check == "tables"]
    assert (told[0].verdict, names in told[0].evidence) == (verdict, True), told[0]
    assert "ezrec schema" in told[0].remedy


def survey_all(project: Project, account: Account, home: Path) -> list[Finding]:
    environ = {
        "EZREC_HOME": str(home), "SUPABASE_URL": project.url, "SUPABASE_KEY": project.service_key,
        "USER_ID": account.user_id, "CAMERA_ID": account.camera_id,
    }  # fmt: skip
    return list(check(settings.load(environ)))


def test_a_column_that_may_be_missing_is_a_warning(
    project: Project, account: Account, tmp_path: Path
) -> None:
    both = ("rename column duration_seconds to lasts", "rename column lasts to duration_seconds")
    with changed(project, *(f"alter table videos {each}" for each in both)):
        told = found(project, account, tmp_path)["tables"]
    assert (told.verdict, told.evidence.split(":")[0]) == (Verdict.WARNING, "videos lacks duration_seconds")


def test_a_bucket_that_no_match_fits_into_and_one_that_is_missing_are_told(
    project: Project, account: Account, tmp_path: Path
) -> None:
    limit = "update storage.buckets set file_size_limit = {} where id = 'videos'"
    with changed(project, limit.format("52428800"), limit.format("null")):
        told = found(project, account, tmp_path)["buckets"]
    assert (told.verdict, "up to 52 MB" in told.evidence) == (Verdict.WARNING, True)
    missing = found(project, account, tmp_path, LOG_BUCKET="no-such")["buckets"]
    assert (missing.verdict, "no-such" in missing.evidence) == (Verdict.FAULT, True)


def test_policies_that_let_anybody_in_are_told(project: Project, account: Account, tmp_path: Path) -> None:
    project.insert("bookings", booking(account, "b1"))
    database, _ = project.local()
    with policies(project):
        shut = found(project, account, tmp_path, SUPABASE_KEY=project.anon_key)["policies"]
        assert shut.verdict is Verdict.OK
        database.sql("create policy anybody on bookings using (true)")
        assert (
            found(project, account, tmp_path, SUPABASE_KEY=project.anon_key)["policies"].verdict
            is Verdict.WARNING
        )


def test_a_project_that_does_not_answer_is_told_once(tmp_path: Path) -> None:
    environ = {
        "EZREC_HOME": str(tmp_path),
        "SUPABASE_URL": "http://127.0.0.1:9",
        "SUPABASE_KEY": "sb_publishable_x",
    }
    told = list(check(settings.load({**environ, "USER_ID": "u1"})))
    assert [one.verdict for one in told] == [Verdict.WARNING]


CONTRACT = {
    "bookings": "id user_id camera_id date start_time end_time status",
    "videos": "filename storage_path user_id file_url file_size created_at upload_timestamp duration_seconds "
    "booking_id camera_id recording_date recording_start_time recording_end_time",
    "user_settings": "intro_video_path logo_path sponsor_logo1_path sponsor_logo2_path sponsor_logo3_path",
    "system_status": "user_id camera_id pi_active last_heartbeat cpu_usage_percent memory_usage_percent "
    "disk_usage_percent temperature_celsius memory_total_gb memory_available_gb disk_total_gb disk_free_gb "
    "updated_at is_recording uptime_seconds last_error",
    "cameras": "id user_id name is_recording last_seen status",
}


@pytest.mark.parametrize("table", TABLES)
def test_every_column_means_those_of_the_contract(table: str) -> None:
    assert set(CONTRACT[table].split()) <= set(TABLES[table].all)
    assert set(TABLES) == set(CONTRACT)


def test_columns_that_a_table_need_not_have_are_named_and_are_no_warning(
    project: Project, account: Account, tmp_path: Path
) -> None:
    told = [one for one in all_found(project, account, tmp_path) if "system_status" in one.evidence]
    assert [one.verdict for one in told] == [Verdict.OK]
    assert "every column of the contract but " in told[0].evidence
    assert "last_error" in told[0].evidence, "the table of the field has none"


def test_a_paused_project_is_told_once_with_its_cure(tmp_path: Path) -> None:
    class Paused(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(540)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Paused) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environ = {
            "EZREC_HOME": str(tmp_path), "SUPABASE_URL": f"http://127.0.0.1:{server.server_port}",
            "SUPABASE_KEY": "sb_publishable_x", "USER_ID": "u1",
        }  # fmt: skip
        told = list(check(settings.load(environ)))
        server.shutdown()
    assert [(one.verdict, one.remedy) for one in told] == [(Verdict.WARNING, SILENT_REMEDY)]
    assert "540 the project is paused" in told[0].evidence
