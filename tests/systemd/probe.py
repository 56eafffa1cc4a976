"""Runs as a unit's own program, in its sandbox, and tells as JSON what it may do; standard library alone."""

import contextlib
import ctypes
import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HOME = Path("/opt/ezrec-backend")
KEYS = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nowhere"))


def may(what: Callable[[], object]) -> bool:
    try:
        what()
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def write(path: str) -> Callable[[], object]:
    def attempt() -> None:
        Path(path).write_text("x")
        Path(path).unlink()

    return attempt


def run_from_the_spool() -> None:
    program = HOME / "spool" / "incoming" / ".probe"
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o755)
    try:
        subprocess.run([program], check=True, timeout=10)
    finally:
        program.unlink()


def run_hook() -> None:
    subprocess.run([HOME / "hooks" / "probe"], check=True, timeout=10)


def connect() -> None:
    """A datagram's connect asks only for a route and a permission: nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.connect(("127.0.0.1", 9))


def open_camera() -> None:
    """No driver answers at this number: what is refused is refused before that is found out."""
    try:
        os.close(os.open("/dev/probe-camera", os.O_RDONLY))
    except OSError as fault:
        if fault.errno not in (errno.ENXIO, errno.ENODEV):
            raise


def read_journal() -> None:
    for path in Path("/run/log/journal").glob("*/system.journal"):
        path.open("rb").close()
        return
    raise PermissionError("none to be seen")


def tie_child() -> None:
    subprocess.run(
        ["setpriv", "--pdeathsig", "KILL", "--", "true"], check=True, capture_output=True, timeout=10
    )


def map_executable() -> None:
    import mmap

    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def become_root() -> None:
    if ctypes.CDLL(None, use_errno=True).setuid(0):
        raise OSError(ctypes.get_errno(), "setuid")


def mount() -> None:
    if ctypes.CDLL(None, use_errno=True).mount(b"none", b"/tmp", b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), "mount")


def credentials_of_others() -> None:
    for path in Path("/run/credentials").iterdir():
        if str(path) != os.environ.get("CREDENTIALS_DIRECTORY"):
            for file in path.iterdir():
                file.read_bytes()
                return
    raise PermissionError("none to be seen")


ATTEMPTS: dict[str, Callable[[], object]] = {
    "write the spool": write(str(HOME / "spool" / "incoming" / ".probe")),
    "write state": write(str(HOME / "state" / ".probe")),
    "write hooks": write(str(HOME / "hooks" / ".probe")),
    "write settings": lambda: (HOME / ".env").open("a").close(),
    "write /etc": write("/etc/.probe"),
    "write /opt/ezrec": write("/opt/ezrec/.probe"),
    "write /usr": write("/usr/.probe"),
    "read /root": lambda: os.listdir("/root"),
    "read /home": lambda: Path("/home/somebody/secret").read_text(),
    "read shadow": lambda: Path("/etc/shadow").read_text(),
    "read the store of keys": lambda: os.listdir("/etc/ezrec/credentials"),
    "read its keys": lambda: (
        Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nowhere")) / "ezrec_PROBE"
    ).read_text(),
    "read others' keys": credentials_of_others,
    "run from the spool": run_from_the_spool,
    "run a hook": run_hook,
    "run ffmpeg": lambda: subprocess.run(["ffmpeg", "-version"], check=True, capture_output=True, timeout=20),
    "connect": connect,
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "raw packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
    "open a disk": lambda: os.open("/dev/probe-disk", os.O_RDONLY),
    "open a camera": open_camera,
    "read the journal": read_journal,
    "tie a child to itself": tie_child,
    "map executable memory": map_executable,
    "become root": become_root,
    "mount": mount,
    "see others' processes": lambda: os.readlink("/proc/1/exe"),
}

if __name__ == "__main__":
    found = {name: may(attempt) for name, attempt in ATTEMPTS.items()}
    target = HOME / "state" / f"probe-{sys.argv[1]}.json"
    with contextlib.suppress(FileNotFoundError):
        target.unlink()
    target.write_text(json.dumps(found))
