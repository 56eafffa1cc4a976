"""What is sent to the owner's webhook: plain JSON, or the form that Slack or ntfy expects. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_FORMS = ("json", "slack", "ntfy")


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where to send, and in which form: `json`, `slack` (Mattermost and Discord's `/slack` too) or `ntfy`."""

    url: str = field(repr=False)  # it often holds a token
    form: str = "json"

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class Request:
    """The body of a POST, and its headers."""

    body: bytes
    headers: Mapping[str, str]


def read_webhook(text: str) -> Webhook | None:
    """`https://…`, or `slack+https://…`, `ntfy+https://…`; empty for none. Raises `ValueError`."""
    if not text:
        return None
    form, plus, url = text.partition("+")
    if not plus or form not in _FORMS:
        form, url = "json", text
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be https://…, slack+https://… or ntfy+https://…")
    return Webhook(url, form)


def alert_event(state: str, alert: Mapping[str, Any]) -> dict[str, Any]:
    """An alert that was `raised` or `cleared`."""
    return {"event": "alert", **alert, "state": state}


def job_event(job: Mapping[str, Any]) -> dict[str, Any]:
    """A job that is over: its id, its outcome and whose it was; of a published one, the video."""
    booking, result = job.get("booking") or {}, job.get("result") or {}
    return {
        "event": "done",
        "job": job.get("id"),
        "outcome": job.get("outcome"),
        "booking": booking.get("id"),
        "start": booking.get("start"),
        "end": booking.get("end"),
        "video": result.get("file"),
        "why": job.get("reason") or "",
    }


def request_of(webhook: Webhook, event: Mapping[str, Any]) -> Request:
    """The request that tells of an event."""
    line = _line(event)
    if webhook.form == "slack":
        return _json({"text": line})
    if webhook.form == "ntfy":
        is_bad = event.get("state") == "raised"
        is_critical = is_bad and event.get("severity") == "critical"
        headers = {
            "Title": "EZREC",
            "Priority": "urgent" if is_critical else "high" if is_bad else "default",
            "Tags": "warning" if is_bad else "white_check_mark",
        }
        return Request(line.encode(), headers)
    return _json({**event, "text": line})


def _json(content: Mapping[str, Any]) -> Request:
    return Request(json.dumps(content).encode(), {"Content-Type": "application/json"})


def _line(event: Mapping[str, Any]) -> str:
    where = f"court {event['camera']}: " if event.get("camera") else ""
    if event["event"] == "alert":
        over = "is over: " if event.get("state") == "cleared" else ""
        remedy = f" – {event['remedy']}" if event.get("remedy") and not over else ""
        return f"{where}{over}{event.get('message')}{remedy}"
    why = f": {event['why']}" if event.get("why") else ""
    return f"{where}{event.get('booking') or event.get('job')} {event.get('outcome') or 'is over'}{why}"
