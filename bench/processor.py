"""Processor time of programs: their wall time on a core of their own, whoever else is at work."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Mapping, Sequence


def spent_s(argv: Sequence[str], environ: Mapping[str, str], limit_s: float = 120) -> float:
    """Run a program to its end; what it took, with all children that it waited for.

    Raises if it fails. Nothing else may be waited for meanwhile.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    quiet = subprocess.DEVNULL
    subprocess.run(
        argv, env=dict(environ), stdin=quiet, stdout=quiet, stderr=quiet, check=True, timeout=limit_s
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
