"""What an upload costs: this uploader beside `curl -T`, on loopback, one file, taken in turns.

    python -m bench.upload [megabytes] [rounds]

Needs what the tests of the cloud side need (tests/supabase_server/README.md), and curl. Prints one line a
run: seconds, MB/s, CPU seconds of the sender alone, and how far its memory grew.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic

from tests.fakes.clock import StandingClock
from tests.supabase_server.fixture import Project, started


def ours(url: str, key: str, source: Path) -> None:
    """In a process of its own: its CPU and memory are nobody else's."""
    from ezrec.adapters.supabase import SupabaseBackend
    from ezrec.adapters.supabase_connection import Access

    backend = SupabaseBackend(Access(url, key), "bench", "0", StandingClock())
    backend.size_of("videos", "bench/none.mp4")  # imports and connects
    before, cpu, began = _peak_mb(), os.times(), monotonic()
    backend.store("videos", "bench/ours.mp4", source, lambda _: None, state=source.with_suffix(".json"))
    after = os.times()
    spent = after.user + after.system - cpu.user - cpu.system
    _say("ezrec", source, monotonic() - began, spent, _peak_mb() - before)


def curl(url: str, key: str, source: Path) -> None:
    began = monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    headers = [f"Authorization: Bearer {key}", f"apikey: {key}", "x-upsert: true", "Content-Type: video/mp4"]
    flags = [flag for header in headers for flag in ("-H", header)]
    target = f"{url}/storage/v1/object/videos/bench/curl.mp4"
    subprocess.run(
        ["curl", "-sfS", "-o", os.devnull, "-X", "POST", "-T", str(source), *flags, target],
        check=True,
        timeout=600,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    _say("curl", source, monotonic() - began, spent, 0)


def _say(who: str, source: Path, seconds: float, cpu_s: float, grown_mb: float) -> None:
    megabytes = source.stat().st_size / 1e6
    print(
        f"{who:6} {megabytes:6.0f} MB  {seconds:6.2f} s  {megabytes / seconds:6.1f} MB/s"
        f"  CPU {cpu_s:5.2f} s  memory +{grown_mb:.1f} MB",
        flush=True,
    )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(megabytes: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder, started() as project:
        source = Path(folder) / "film.mp4"
        with source.open("wb") as file:
            for _ in range(megabytes):
                file.write(os.urandom(1_000_000))
        for _ in range(rounds):
            run(project, source)


def run(project: Project, source: Path) -> None:
    curl(project.url, project.service_key, source)
    argv = [sys.executable, "-m", "bench.upload", "ours", project.url, project.service_key, str(source)]
    subprocess.run(argv, check=True, timeout=600)
    source.with_suffix(".json").unlink(missing_ok=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["ours"]:
        ours(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    else:
        main(int((sys.argv[1:2] or ["1000"])[0]), int((sys.argv[2:3] or ["3"])[0]))
