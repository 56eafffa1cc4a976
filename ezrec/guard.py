"""Words to put before a command so that it does not outlive us: the kernel kills it when its starter ends.

An FFmpeg whose worker was killed would go on writing into an entry that somebody else has taken by then.
"""

from __future__ import annotations

import functools
import shutil
import subprocess

_LIMIT_S = 5.0


@functools.cache
def tied_to_us() -> tuple[str, ...]:
    """`setpriv`, where it is to be had and may work; each such command replaces itself by the next.

    It ends with the *thread* that started it. A unit that filters system calls refuses setpriv (it sets
    capabilities, to none); there systemd ends what is left of a service before it starts the next.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ()
    words = (setpriv, "--pdeathsig", "KILL", "--")
    try:
        tried = subprocess.run([*words, "true"], capture_output=True, timeout=_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return words if tried.returncode == 0 else ()
