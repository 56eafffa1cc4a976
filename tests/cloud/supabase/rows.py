"""Rows of a test project, and who may see them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.supabase_server.fixture import Account, Project


def booking(account: Account, name: str, **changes: Any) -> dict[str, Any]:
    row = {"id": f"{account.camera_id[:8]}-{name}", "user_id": account.user_id, "date": "2026-06-01"}
    return {**row, "camera_id": account.camera_id, "start_time": "10:00", "end_time": "11:00", **changes}


@contextlib.contextmanager
def policies(project: Project) -> Iterator[None]:
    """Row-level security on `bookings`, as somebody switches it on who knows of no device."""
    database, _ = project.local()
    database.sql("alter table bookings enable row level security; drop policy if exists anybody on bookings")
    try:
        yield
    finally:
        database.sql("drop policy if exists anybody on bookings")
