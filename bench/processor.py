"""Processor time of programs: their wall time on a core of their own, whoever else is at work."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

_LOOK_S = 0.25


def spent_s(argv: Sequence[str], environ: Mapping[str, str], limit_s: float = 120) -> float:
    """Run a program to its end; what it took, with all children that it waited for.

    Raises if it fails. Nothing else may be waited for meanwhile.
    """
    return spent(argv, environ, limit_s)[0]


def spent(
    argv: Sequence[str],
    environ: Mapping[str, str],
    limit_s: float = 120,
    held: Callable[[int], float] | None = None,
) -> tuple[float, float]:
    """As `spent_s`, and the most that `held` told of its process id, asked four times a second."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    quiet, most, ends = subprocess.DEVNULL, 0.0, time.monotonic() + limit_s
    child = subprocess.Popen(argv, env=dict(environ), stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        while held is not None and child.poll() is None and time.monotonic() < ends:
            most = max(most, held(child.pid))
            time.sleep(_LOOK_S)
        if child.wait(max(0.0, ends - time.monotonic())):
            raise subprocess.CalledProcessError(child.returncode, argv)
    finally:
        child.kill()
        child.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, most
