"""Runs every test of `contract.py` in a process of its own: a camera that hangs takes its process along."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

CONTRACT = Path(__file__).with_name("contract.py")
LIMIT_S = 120.0


def tests() -> list[str]:
    """As pytest finds them, those of the shared contract included."""
    argv = [*_pytest(), "--collect-only", str(CONTRACT)]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S)
    found = [line for line in said.stdout.splitlines() if "::" in line]
    if not found or said.returncode:
        raise SystemExit(f"no tests were found:\n{said.stdout}{said.stderr}")
    return found


def _pytest() -> list[str]:
    options = ["-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", "/opt/ezrec"]
    return [sys.executable, "-m", "pytest", *options]


def run(test: str) -> bool:
    began = time.monotonic()
    try:
        argv = [*_pytest(), "--tb=short", "-s", test]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S, cwd="/opt/ezrec")
        passed, said = done.returncode == 0, done.stdout + done.stderr
    except subprocess.TimeoutExpired as hung:
        passed, said = False, f"did not end within {LIMIT_S:g} s\n{hung.stdout!r}"
    print(
        f"{'ok  ' if passed else 'FAIL'} {time.monotonic() - began:5.1f} s  {test.partition('::')[2]}",
        flush=True,
    )
    figures = [line for line in said.splitlines() if line.startswith("measured: ")]
    print("".join(f"       {line}\n" for line in figures), end="")
    if not passed:
        print(said, flush=True)
    return passed


def main(wanted: list[str]) -> int:
    chosen = [test for test in tests() if not wanted or any(word in test for word in wanted)]
    failed = [test for test in chosen if not run(test)]
    print(f"test-picamera2: {len(chosen) - len(failed)} passed, {len(failed)} failed", flush=True)
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
