"""Where an installation keeps what, and which units make up a shape. Names alone; no effects."""

from __future__ import annotations

from pathlib import Path

from ezrec.domain.installed import TMPFILES as TMPFILES
from ezrec.system.journald import FORMER

APP = Path("/opt/ezrec")
HOME = Path("/opt/ezrec-backend")  # as the unit files say it; another home is written into them
RELEASES = APP / "releases"
CURRENT = APP / ".venv"  # a link to a release's venv: one rename switches
PREVIOUS = APP / ".previous"
STARTED = APP / ".started"  # a fingerprint of what systemd last started
SHARE = APP / "share" / "systemd"
PROGRAM = Path("/usr/local/bin/ezrec")
UNITS = Path("/etc/systemd/system")
SYSUSERS = Path("/etc/sysusers.d/ezrec.conf")
CREDENTIALS = Path("/etc/ezrec/credentials")
SET_ASIDE = Path("/etc/ezrec/older-units")
PYTHON = "/usr/bin/python3"  # the units' users reach no other

USERS = ("ezrec", "ezrec-rec", "ezrec-work", "ezrec-up")
GROUP = "ezrec"
SHAPES: dict[str, tuple[str, ...]] = {
    "one": ("ezrec.service",),
    "split": (
        "ezrec.target",
        # The older EZREC has units of these names, too: see `system.older_unit`.
        *(f"{name}.service" for name in FORMER),
        *(f"ezrec-{part}.path" for part in ("process", "upload", "logs")),
        *(f"ezrec-{part}.timer" for part in ("sweep", "retry", "ahead", "sync", "status", "logs")),
    ),
}
KINDS = (".service", ".path", ".timer", ".target")
STARTS = {"one": "ezrec.service", "split": "ezrec.target"}
RECORDERS = {"one": "ezrec.service", "split": "recorder.service"}
RTSP = UNITS / "recorder.service.d" / "rtsp-camera.conf"
LOCAL = Path("/usr/local/share")
# What the program prints by a command, and where man and the shells look for it.
PAGES = {
    LOCAL / "man" / "man1" / "ezrec.1": ("manual",),
    LOCAL / "bash-completion" / "completions" / "ezrec": ("completion", "bash"),
    LOCAL / "zsh" / "site-functions" / "_ezrec": ("completion", "zsh"),
    Path("/etc/fish/completions/ezrec.fish"): ("completion", "fish"),
}
PACKAGES = ("ffmpeg", "fonts-dejavu-core", "python3-venv")
CAMERA_PACKAGE = "python3-picamera2"


def shipped() -> Path:
    """The unit files that belong to this very code: in the wheel, or in the clone."""
    package = Path(__file__).parents[1]
    inside = package / "share" / "systemd"
    return inside if inside.is_dir() else package.parent / "systemd"


def clone() -> Path | None:
    """The clone that this code runs from, if it does."""
    root = Path(__file__).parents[2]
    return root if (root / "pyproject.toml").is_file() and (root / "systemd").is_dir() else None


def unit_files(source: Path, home: Path) -> dict[Path, str]:
    """Every unit file and drop-in by its place, with `home` written in."""
    found = {}
    for path in sorted([*source.iterdir(), *source.glob("*.service.d/*.conf")]):
        if path.is_file() and (path.suffix in KINDS or path.parent != source):
            found[UNITS / path.relative_to(source)] = written_for(path, home)
    return found


def written_for(path: Path, home: Path) -> str:
    return path.read_text().replace(str(HOME), str(home))
