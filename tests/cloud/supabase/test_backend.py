"""What the Supabase backend does beyond the port's contract: columns, pages, tokens, rights, clocks."""

from __future__ import annotations

import logging
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from ezrec.cloud.supabase.backend import SupabaseBackend
from ezrec.cloud.supabase.credentials import Credentials
from ezrec.domain.errors import Reject, Retry
from tests.fakes.clock import StandingClock
from tests.faults.chaos import ChaosProxy, LostAnswer, Pass
from tests.supabase_server.fixture import Account, Project
from tests.supabase_server.front_end import FrontEnd, played_s


@pytest.fixture
def account(project: Project) -> Account:
    return project.account()


@pytest.fixture
def cloud(project: Project, account: Account) -> Iterator[SupabaseBackend]:
    made = backend(project, account)
    yield made
    made.close()


def backend(project: Project, account: Account, **options: Any) -> SupabaseBackend:
    access = Credentials(options.pop("url", project.url), options.pop("key", project.service_key))
    return SupabaseBackend(access, account.user_id, account.camera_id, StandingClock(), **options)


def booking(account: Account, booking_id: str, **changes: Any) -> dict[str, Any]:
    row = {"id": f"{account.camera_id[:8]}-{booking_id}", "user_id": account.user_id, "date": "2026-06-01"}
    return {**row, "camera_id": account.camera_id, "start_time": "10:00", "end_time": "11:00", **changes}


def test_importing_the_adapter_imports_no_client() -> None:
    code = (
        "import sys, ezrec.cloud.supabase.backend; "
        "print([m for m in ('supabase', 'httpx') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_bookings_older_than_the_window_are_not_fetched(project: Project, account: Account) -> None:
    days = {"old": "2026-05-28", "edge": "2026-05-29", "today": "2026-06-01", "far": "2031-01-01"}
    project.insert("bookings", *(booking(account, name, date=day) for name, day in days.items()))
    project.insert("bookings", booking(account, "dateless", date=None))
    cloud = backend(project, account, past_days=3)
    found = [row["id"].rpartition("-")[2] for row in cloud.bookings()]
    cloud.close()
    assert sorted(found) == ["dateless", "edge", "far", "today"]


def test_a_project_that_cuts_its_answers_shorter_than_usual_hides_no_booking(
    project: Project, account: Account
) -> None:
    rows = [booking(account, f"b-{n:02}", date=f"2026-06-{n % 28 + 1:02}") for n in range(23)]
    project.insert("bookings", *rows)
    with project.another_front(MAX_ROWS="7") as front:
        cloud = backend(project, account, url=front.url)
        found = cloud.bookings()
        cloud.close()
    assert sorted(row["id"] for row in found) == [row["id"] for row in rows]
    assert [row["date"] for row in found] == sorted(row["date"] for row in rows)


def test_bookings_without_a_camera_are_ours_only_if_we_are_told_so(
    project: Project, account: Account
) -> None:
    cameras = {"mine": account.camera_id, "zero": "0", "null": None, "other": "court-2"}
    rows = [booking(account, name, camera_id=camera) for name, camera in cameras.items()]
    project.insert("bookings", *rows)
    for told, wanted in ((False, ["mine"]), (True, ["mine", "null", "zero"])):
        cloud = backend(project, account, unassigned=told)
        assert sorted(row["id"].rpartition("-")[2] for row in cloud.bookings()) == wanted
        cloud.close()


def test_a_lost_answer_makes_no_second_row(project: Project, account: Account) -> None:
    _, front = project.local()
    row = {"user_id": account.user_id, "filename": "a.mp4", "file_size": 5}
    # The first connection is for the update that finds nothing; with it the insert is done and not heard of.
    with ChaosProxy(front.port, [LostAnswer(300), LostAnswer(), LostAnswer(300)]) as proxy:
        cloud = backend(project, account, url=proxy.url)
        tries = 0
        while True:
            tries += 1
            try:
                cloud.publish_row(row)
                break
            except Retry:
                assert tries < 10
        cloud.close()
        assert tries > 1
    assert len(project.select("videos", user_id=f"eq.{account.user_id}")) == 1


def test_ten_threads_that_publish_one_video_make_one_row(
    project: Project, account: Account, cloud: SupabaseBackend
) -> None:
    row = {"user_id": account.user_id, "filename": "a.mp4", "file_size": 5}
    threads = [threading.Thread(target=cloud.publish_row, args=(row,)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(project.select("videos", user_id=f"eq.{account.user_id}")) == 1


def test_a_missing_column_is_met_once_and_logged_once(
    account: Account, cloud: SupabaseBackend, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.mp4", "b.mp4"):
        cloud.publish_row({"user_id": account.user_id, "filename": name, "shoe_size": 44})
    said = [record.getMessage() for record in caplog.records if "shoe_size" in record.getMessage()]
    assert said == ["the table videos has no column shoe_size: left out from now on"]


def test_a_table_that_numbers_its_rows_itself_is_no_obstacle(
    project: Project, account: Account, cloud: SupabaseBackend
) -> None:
    database, _ = project.local()
    database.sql(
        "create table if not exists numbered (id bigserial primary key, user_id text, filename text)"
    )
    database.sql("notify pgrst, 'reload schema'")
    row = {"id": "6f2cfb52-54a5-5d0f-8f0e-3c6c4c1f7f0a", "user_id": account.user_id, "filename": "a.mp4"}
    until = datetime.now(UTC) + timedelta(seconds=30)
    while True:  # the server hears of the new table in its own time
        try:
            cloud._cloud.call("inserting", lambda: cloud._insert("numbered", row, ("filename",), "inserting"))
            break
        except Reject:
            assert datetime.now(UTC) < until
    assert len(project.select("numbered", user_id=f"eq.{account.user_id}")) == 1


def test_rights_that_are_missing_are_told_with_the_remedy(project: Project, account: Account) -> None:
    project.local()
    cloud = backend(project, account, key=project.anon_key)
    with pytest.raises(Reject) as refused:
        cloud._cloud.call(
            "writing", lambda: cloud._insert("locked", {"id": account.camera_id}, (), "writing")
        )
    cloud.close()
    assert "ezrec schema" in refused.value.remedy


def test_a_key_that_the_project_does_not_know_is_tried_again_slowly(
    project: Project, account: Account
) -> None:
    foreign = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.c2lnbmF0dXJl"
    cloud = backend(project, account, key=foreign)
    with pytest.raises(Retry, match="refuses this device's key") as refused:
        cloud.bookings()
    cloud.close()
    assert refused.value.after_s == 300
    assert foreign not in refused.value.reason


def test_a_wrong_password_is_tried_again_slowly_and_never_shown(
    project: Project, account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    access = Credentials(project.url, project.anon_key, "nobody@device.test", "a-wrong-password")
    cloud = SupabaseBackend(access, account.user_id, "0", StandingClock())
    with pytest.raises(Retry, match="Invalid login credentials") as refused:
        cloud.bookings()
    cloud.close()
    assert refused.value.after_s == 300
    assert "a-wrong-password" not in caplog.text
    assert project.anon_key not in caplog.text


def test_a_revoked_sign_in_signs_in_again(project: Project, account: Account) -> None:
    email = f"{account.camera_id}@device.test"
    database, _ = project.local()
    user_id = project.sign_up(email, "a-password")
    access = Credentials(project.url, project.anon_key, email, "a-password")
    cloud = SupabaseBackend(access, user_id, "0", StandingClock())
    assert cloud.bookings() == []
    database.sql(f"update auth.refresh_tokens set revoked = true where user_id = '{user_id}'")
    cloud._cloud.sign_in.renew()
    assert cloud.bookings() == []
    cloud.close()


def test_the_database_being_away_is_a_passing_fault(project: Project, account: Account) -> None:
    _, front = project.local()
    with ChaosProxy(front.port, [Pass()]) as proxy:
        cloud = backend(project, account, url=proxy.url)
        proxy.upstream = 9  # nobody listens on discard
        with pytest.raises(Retry, match="no connection to the cloud"):
            cloud.bookings()
        cloud.close()


def test_a_clock_in_the_past_is_called_so(account: Account, tmp_path: Path) -> None:
    class Silent(BaseHTTPRequestHandler):
        pass

    certificate, key = _certificate_of_tomorrow(tmp_path)
    server = HTTPServer(("127.0.0.1", 0), Silent)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    former = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(certificate)
    try:
        url = f"https://localhost:{server.server_port}"
        cloud = SupabaseBackend(Credentials(url, "sb_publishable_x"), account.user_id, "0", StandingClock())
        with pytest.raises(Retry, match="clock is wrong"):
            cloud.bookings()
        cloud.close()
    finally:
        if former is None:
            del os.environ["SSL_CERT_FILE"]
        else:
            os.environ["SSL_CERT_FILE"] = former
        server.shutdown()
        server.server_close()
        thread.join(10)


def _certificate_of_tomorrow(folder: Path) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    start = datetime.now(UTC) + timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "certificate.pem").write_bytes(made.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    return folder / "certificate.pem", folder / "key.pem"


def test_the_front_end_finds_lists_signs_and_plays_a_published_video(
    project: Project, account: Account, cloud: SupabaseBackend, tmp_path: Path
) -> None:
    from tests.support.media import make_take

    film = make_take(tmp_path / "film.mp4")
    name = "processed_raw_b-1_20260601_100000.mp4"
    path = f"{account.user_id}/{name}"
    cloud.store("videos", path, film, lambda _: None)
    cloud.publish_row({"user_id": account.user_id, "filename": name, "storage_path": path})
    [shown] = FrontEnd(project, account).videos()
    assert shown["size"] == film.stat().st_size
    assert played_s(shown["url"]) == pytest.approx(2, abs=0.1)
