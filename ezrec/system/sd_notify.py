"""Words to systemd: ready, alive, stopping. Silent where nobody listens.

A recorder that another process of ours keeps says the same words to that one, on its standard input, which
is a socket then.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def notify(words: str) -> None:
    """Send a message of sd_notify(3), such as READY=1, to the manager that started us, if any."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    target = "\0" + address[1:] if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.settimeout(1)
        sender.sendto(words.encode(), target)


def notify_supervisor(words: str) -> None:
    """The same message to the process that keeps this one. Never waits: a supervisor that does not read
    must not stop a recording.
    """
    with suppress(OSError), socket.socket(fileno=os.dup(0)) as rope:
        rope.send(f"{words}\n".encode(), socket.MSG_DONTWAIT)


def watchdog_s() -> float | None:
    """Half of what systemd's watchdog allows us, in seconds; None where it does not watch."""
    try:
        return int(os.environ["WATCHDOG_USEC"]) / 2e6
    except (KeyError, ValueError):
        return None
