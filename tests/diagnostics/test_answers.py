"""Answers to the installer are tried by doing: against a project, a camera, a clock, and none of them."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ezrec.diagnostics import answers
from ezrec.diagnostics.answers import Checked, check, check_all
from tests.diagnostics import fake_v4l2
from tests.supabase_server.fixture import Project

PASSWORD = "a-password-that-nobody-guesses"


@pytest.fixture
def website() -> Iterator[str]:
    """Something that answers and is no Supabase project."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html>a club's website</html>")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


# ---- the cloud


def test_an_address_that_nobody_has_is_unanswered_and_a_website_is_no_project(website: str) -> None:
    silent = check("SUPABASE_URL", {"SUPABASE_URL": "http://127.0.0.1:9"})
    assert (silent.unanswered, "no connection" in silent.fault) == (True, True)
    other = check("SUPABASE_URL", {"SUPABASE_URL": website})
    assert (other.unanswered, "no Supabase project" in other.fault) == (False, True)
    assert "must be a URL" in check("SUPABASE_URL", {"SUPABASE_URL": "court.example"}).fault
    assert check("SUPABASE_URL", {}).fault == ""


def test_a_key_that_the_project_does_not_know_is_refused(project: Project) -> None:
    url = {"SUPABASE_URL": project.url}
    assert check("SUPABASE_URL", url) == Checked(note="a Supabase project answers")
    assert check("SUPABASE_KEY", url | {"SUPABASE_KEY": project.anon_key}).fault == ""
    unknown = check("SUPABASE_KEY", url | {"SUPABASE_KEY": "sb_publishable_unknown"})
    assert "is refused" in unknown.fault
    assert "no key of Supabase" in check("SUPABASE_KEY", url | {"SUPABASE_KEY": "hunter2"}).fault
    strong = check("SUPABASE_KEY", url | {"SUPABASE_KEY": project.service_key})
    assert (strong.fault, "whoever takes this box" in strong.note) == ("", True)


def test_the_device_signs_in_and_a_wrong_password_is_refused_and_not_shown(project: Project) -> None:
    account = project.account()
    email = f"{account.camera_id}@club.test"
    project.sign_up(email, PASSWORD)
    values = {"SUPABASE_URL": project.url, "SUPABASE_KEY": project.anon_key, "EZREC_DEVICE_EMAIL": email}
    name = "EZREC_DEVICE_PASSWORD"
    wrong = check(name, values | {name: "not-the-password"})
    assert "signing in is refused" in wrong.fault
    assert "not-the-password" not in str(wrong.as_json())
    assert check(name, values | {name: PASSWORD}).note.startswith("signed in")
    assert check("EZREC_DEVICE_EMAIL", values | {"EZREC_DEVICE_EMAIL": "club"}).fault


def test_a_camera_that_the_account_does_not_have_is_doubted(project: Project) -> None:
    account = project.account()
    project.insert("cameras", {"id": account.camera_id, "user_id": account.user_id})
    values = {"SUPABASE_URL": project.url, "SUPABASE_KEY": project.service_key, "USER_ID": account.user_id}
    assert check("USER_ID", values) == Checked(note="the cloud knows it")
    assert check("USER_ID", values | {"USER_ID": "somebody-else"}).doubtful
    other = check("CAMERA_ID", values | {"CAMERA_ID": "7"})
    assert (other.doubtful, account.camera_id in other.fault) == (True, True)
    assert check("CAMERA_ID", values | {"CAMERA_ID": account.camera_id}) == Checked(note="the cloud knows it")


# ---- the camera, the clock, the form


def test_a_camera_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs, device = fake_v4l2.plug_in(tmp_path)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr("ezrec.camera.ffmpeg_sources._device", lambda _: device)
    size = {"RESOLUTION": "320x180"}
    found = check("EZREC_CAMERA", size | {"EZREC_CAMERA": "v4l2:/dev/video0"})
    assert (found.fault, "gives a picture" in found.note) == ("", True)
    device.unlink()
    gone = check("EZREC_CAMERA", size | {"EZREC_CAMERA": "v4l2:/dev/video0"})
    assert ("it gives no picture" in gone.fault, gone.doubtful) == (True, False)


def test_the_test_picture_is_doubted_and_no_camera_at_all_too() -> None:
    assert check("EZREC_CAMERA", {"EZREC_CAMERA": "software"}).doubtful
    assert "must be auto" in check("EZREC_CAMERA", {"EZREC_CAMERA": "the one on the left"}).fault


def test_a_time_zone_is_shown_by_its_clock() -> None:
    assert "there now" in check("LOCAL_TIMEZONE", {"LOCAL_TIMEZONE": "Europe/Madrid"}).note
    assert "must be a time zone" in check("LOCAL_TIMEZONE", {"LOCAL_TIMEZONE": "Madrid"}).fault


def test_every_wrong_setting_is_named_at_once_before_anything_is_written() -> None:
    wrong = check_all({"RECORDING_FPS": "many", "CAMERA_ID": "a b"})
    assert [problem.split()[0] for problem in sorted(wrong)] == ["CAMERA_ID", "RECORDING_FPS"]
    assert check_all({"RECORDING_FPS": "25"}) == []


def test_what_can_be_tried_is_what_is_asked() -> None:
    from ezrec.install.questions import questions

    assert set(answers._CHECKS) == {question.name for question in questions()}
