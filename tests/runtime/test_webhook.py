"""The webhook over a real HTTP server on loopback: what it is told, and what happens while nobody answers."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ezrec import settings
from ezrec.app import common
from ezrec.domain.job import Job, JobOutcome, Kind
from ezrec.domain.names import safe_id
from ezrec.domain.webhook import Webhook, read_webhook
from ezrec.runtime.hooks import DONE, Hooks
from ezrec.runtime.webhook import WebhookSender
from tests.support.spooling import booking
from tests.support.stagework import CREATED
from tests.support.wait import LIMIT_S

LOG = logging.getLogger("test.webhook")
ALERT = {
    "state": "raised",
    "alert": "disk_short",
    "severity": "critical",
    "message": "too little",
    "remedy": "purge",
}


class Server:
    """Answers with what `answers` holds, then with 200; remembers what it was told."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.told: list[tuple[dict[str, str], str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                outer.told.append((dict(self.headers), body))
                self.send_response(outer.answers.pop(0) if outer.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/secret-token"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def hooks(tmp_path: Path, webhook: Webhook) -> Hooks:
    return Hooks(tmp_path, 10, LOG, WebhookSender(webhook, LOG, first_pause_s=0.01), "court-3")


def test_an_alert_is_told_as_json(tmp_path: Path, server: Server) -> None:
    made = hooks(tmp_path, Webhook(server.url))
    made.alert("disk_short", "raised", json.dumps(ALERT).encode())
    made.finish(LIMIT_S)
    ((headers, body),) = server.told
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == {
        **ALERT, "event": "alert", "camera": "court-3", "text": "court court-3: too little – purge",
    }  # fmt: skip


def test_slack_and_ntfy_get_their_own_forms(tmp_path: Path, server: Server) -> None:
    for form in ("slack", "ntfy"):
        made = hooks(tmp_path, Webhook(server.url, form))
        made.alert("disk_short", "cleared", json.dumps(ALERT).encode())
        made.finish(LIMIT_S)
    (_, slack), (headers, ntfy) = server.told
    assert json.loads(slack) == {"text": "court court-3: is over: too little"}
    assert ntfy == "court court-3: is over: too little"
    assert (headers["Title"], headers["Priority"]) == ("EZREC", "default")


def test_a_job_that_is_over_is_told_and_a_log_archive_is_not(tmp_path: Path, server: Server) -> None:
    made = hooks(tmp_path, Webhook(server.url))
    job = Job(safe_id("b1"), Kind.BOOKING, CREATED, booking=booking("b1"), outcome=JobOutcome.PUBLISHED)
    made.announce("processed", "process", tmp_path, job)
    made.announce(DONE, "upload", tmp_path, job)
    made.announce(DONE, "upload", tmp_path, replace(job, kind=Kind.LOGS))
    made.finish(LIMIT_S)
    ((_, body),) = server.told
    assert json.loads(body)["booking"] == "b1"
    assert json.loads(body)["text"] == "court court-3: b1 published"


def test_no_hook_runs_for_a_log_archive(tmp_path: Path) -> None:
    hook = tmp_path / DONE / "10-note"
    hook.parent.mkdir()
    hook.write_text(f"#!/bin/sh\necho $EZREC_JOB >> {tmp_path}/told\n")
    hook.chmod(0o755)
    made = Hooks(tmp_path, 10, LOG)
    for job_id, kind in (("logs-1", Kind.LOGS), ("clip-1", Kind.CLIP)):
        made.announce(DONE, "upload", tmp_path, Job(safe_id(job_id), kind, CREATED))
    made.finish(LIMIT_S)
    assert (tmp_path / "told").read_text() == "clip-1\n"


def test_while_its_server_is_in_trouble_it_is_told_again_in_order(tmp_path: Path, server: Server) -> None:
    server.answers = [500, 503, 429]
    made = hooks(tmp_path, Webhook(server.url))
    for state in ("raised", "cleared"):
        made.alert("disk_short", state, json.dumps(ALERT).encode())
    made.finish(LIMIT_S)
    assert [json.loads(body)["state"] for _, body in server.told] == ["raised"] * 4 + ["cleared"]


def test_a_refusal_is_said_once_without_the_address(
    tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [404]
    made = hooks(tmp_path, Webhook(server.url))
    made.alert("disk_short", "raised", json.dumps(ALERT).encode())
    made.finish(LIMIT_S)
    assert len(server.told) == 1
    (record,) = caplog.records
    assert record.getMessage() == "the webhook was not told of alert: its server answered 404 (EZREC_WEBHOOK)"
    assert "secret-token" not in repr(Webhook(server.url))


@pytest.mark.parametrize(
    "text", ["ftp://a.b", "slack+", "https://", "hooks.slack.com/x", "teams+https://a.b"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be https"):
        read_webhook(text)


def test_its_address_is_a_secret_and_the_recorder_has_none(tmp_path: Path) -> None:
    given = {"EZREC_HOME": str(tmp_path), "EZREC_WEBHOOK": "ntfy+https://ntfy.sh/secret-token"}
    found = settings.load(given)
    assert found.webhook == Webhook("https://ntfy.sh/secret-token", "ntfy")
    assert found.shown()["EZREC_WEBHOOK"] == "***"
    assert "secret-token" not in repr(found)
    assert "https://ntfy.sh/secret-token" in found.secrets()
    assert "None" not in settings.load({"EZREC_HOME": str(tmp_path)}).secrets()
    assert common.hooks(found, LOG, has_network=False)._webhook is None
