"""A process that uploads one file and ends: what the tests kill."""

from __future__ import annotations

import sys
from pathlib import Path

from ezrec.adapters.supabase import SupabaseBackend
from ezrec.adapters.supabase_connection import Access
from tests.fakes.clock import StandingClock

if __name__ == "__main__":
    url, key, user, bucket, name, source, state = sys.argv[1:]
    # Paced, so that a kill after a moment meets an upload under way and not one that is over.
    backend = SupabaseBackend(Access(url, key), user, "0", StandingClock(), upload_bytes_s=30_000_000)
    backend.store(bucket, name, Path(source), lambda part: print(part, flush=True), state=Path(state))
    print("done", flush=True)
