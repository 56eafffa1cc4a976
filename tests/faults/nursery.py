"""A process that begets uploaders: each line on its input is one, forked, so that fifty cost no fifty starts.

It says their ids, and they how far they are, a line each; the tests kill them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ezrec.cloud.supabase.backend import SupabaseBackend
from ezrec.cloud.supabase.credentials import Credentials
from ezrec.domain.chunk_size import ChunkSize
from ezrec.domain.ownership import Mark
from tests.fakes.clock import StandingClock


def upload(url: str, key: str, user: str, name: str, source: str, state: str, piece: str) -> None:
    # Paced, so that a kill after a moment meets an upload under way and not one that is over.
    backend = SupabaseBackend(
        Credentials(url, key),
        user,
        "0",
        StandingClock(),
        upload_bytes_s=8_000_000,
        chunk_size=ChunkSize(int(piece)),
        wait_s=0.05,
    )
    mark = Mark("1" * 32, "a" * 32)  # as its job would: nothing is replaced, whatever stands there
    assert backend.store("videos", name, Path(source), say, state=Path(state), mark=mark)
    os.write(1, b"done\n")


def say(part: float) -> None:
    os.write(1, f"{part}\n".encode())


if __name__ == "__main__":
    import httpx  # noqa: F401 - here, that no child has to
    import supabase  # noqa: F401

    for _ in sys.stdin:
        child = os.fork()
        if not child:
            upload(*sys.argv[1:])
            os._exit(0)
        os.write(1, f"pid {child}\n".encode())
        os.waitpid(child, 0)
        os.write(1, b"over\n")
