"""What the tests of bad uplinks share: a backend, a video, and the worker's retries."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ezrec.cloud.supabase.backend import SupabaseBackend
from ezrec.cloud.supabase.credentials import Credentials
from ezrec.domain.errors import Retry
from tests.fakes.clock import StandingClock
from tests.supabase_server.fixture import Account, Project


@contextlib.contextmanager
def backend(url: str, key: str, account: Account, **options: Any) -> Iterator[SupabaseBackend]:
    made = SupabaseBackend(
        Credentials(url, key),
        account.user_id,
        account.camera_id,
        StandingClock(),
        **options,
    )
    try:
        yield made
    finally:
        made.close()


def film(folder: Path, size: int, seed: int = 0) -> Path:
    path = folder / f"film-{seed}.mp4"
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def deaf(_: float) -> None: ...


def keep_storing(cloud: SupabaseBackend, name: str, source: Path, state: Path, tries: int = 12) -> int:
    """What the worker does: try again after every `Retry`. Returns the number of tries."""
    for number in range(1, tries + 1):
        try:
            cloud.store("videos", name, source, deaf, state=state)
            return number
        except Retry:
            continue
    raise AssertionError(f"not uploaded in {tries} tries")


def stored(project: Project, name: str) -> bytes:
    found: bytes = project.request("GET", f"/storage/v1/object/videos/{name}")
    return found
