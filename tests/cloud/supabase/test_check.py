"""The doctor's look at a Supabase project, against PostgreSQL and a facade of the services."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ezrec import settings
from ezrec.cloud.supabase.check import TABLES, check
from ezrec.domain.findings import Finding, Verdict
from tests.cloud.supabase.rows import booking, policies
from tests.supabase_server.fixture import Account, Project


@pytest.fixture
def account(project: Project) -> Account:
    return project.account()


def found(project: Project, account: Account, home: Path, **changes: str) -> dict[str, Finding]:
    """The findings by check; of several the worst."""
    environ = {
        "EZREC_HOME": str(home), "SUPABASE_URL": project.url, "SUPABASE_KEY": project.service_key,
        "USER_ID": account.user_id, "CAMERA_ID": account.camera_id, **changes,
    }  # fmt: skip
    worst: dict[str, Finding] = {}
    for finding in check(settings.load(environ)):
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
    assert set(TABLES) == {"bookings", "videos", "user_settings", "system_status"}
