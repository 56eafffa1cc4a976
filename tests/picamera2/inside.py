"""Runs every test of `contract.py` in a process of its own: a camera that hangs takes its process along.

Some at a time: most of them wait for a camera, and the virtual one is each process's own. The longest come
first, so that nothing waits for them alone; those that need no camera share a process: its start costs most.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

CONTRACT = Path(__file__).with_name("contract.py")
LIMIT_S = 120.0
AT_A_TIME = 4
_LONG = ("ten_seconds", "back_to_back", "freezes", "three_seconds", "given_up", "event_loop")
_WITHOUT_A_CAMERA = ("test_the_stamp_draws", "test_what_a_stamp_costs")


def tests() -> list[str]:
    """As pytest finds them, those of the shared contract included."""
    argv = [*_pytest(), "--collect-only", str(CONTRACT)]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S)
    found = [line for line in said.stdout.splitlines() if "::" in line]
    if not found or said.returncode:
        raise SystemExit(f"no tests were found:\n{said.stdout}{said.stderr}")
    return found


def in_turn(chosen: list[str]) -> list[list[str]]:
    """What each process runs."""
    together = [test for test in chosen if any(word in test for word in _WITHOUT_A_CAMERA)]
    alone = [test for test in chosen if test not in together]
    alone.sort(key=lambda test: next((n for n, word in enumerate(_LONG) if word in test), len(_LONG)))
    return [[test] for test in alone] + ([together] if together else [])


def _pytest() -> list[str]:
    options = ["-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", "/opt/ezrec"]
    return [sys.executable, "-m", "pytest", *options]


def run(some: list[str]) -> tuple[bool, str]:
    """Whether they passed, and what is to be told of them."""
    began = time.monotonic()
    try:
        argv = [*_pytest(), "--tb=short", "-s", *some]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S, cwd="/opt/ezrec")
        passed, said = done.returncode == 0, done.stdout + done.stderr
    except subprocess.TimeoutExpired as hung:
        passed, said = False, f"did not end within {LIMIT_S:g} s\n{hung.stdout!r}"
    word, spent_s = "ok  " if passed else "FAIL", time.monotonic() - began
    names = ", ".join(dict.fromkeys(test.partition("::")[2].partition("[")[0] for test in some))
    name = some[0].partition("::")[2] if len(some) == 1 else f"{len(some)} of {names}"
    lines = [f"{word} {spent_s:5.1f} s  {name}"]
    lines += [f"       {line}" for line in said.splitlines() if line.startswith("measured: ")]
    return passed, "\n".join(lines if passed else [*lines, said])


def main(wanted: list[str]) -> int:
    name = f"picamera2 {metadata.version('picamera2')}"
    print(f"test-picamera2: {name}, PyAV {metadata.version('av')}", flush=True)
    chosen = [test for test in tests() if not wanted or any(word in test for word in wanted)]
    failed, processes, began = 0, in_turn(chosen), time.monotonic()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for passed, told in pool.map(run, processes):
            failed += not passed
            print(told, flush=True)
    spent = f"{len(chosen)} tests in {len(processes)} processes, {time.monotonic() - began:.0f} s"
    print(f"test-picamera2: {name}: {spent}: {failed or 'none'} failed", flush=True)
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
