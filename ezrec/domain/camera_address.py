"""What EZREC_CAMERA may hold: the kinds of camera, and the address of one on the network."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit, urlunsplit

_SCHEME = re.compile(r"(rtsps?)://(.*)", re.IGNORECASE | re.DOTALL)
_PARTS = re.compile(r"([^/?#]*)([^?#]*)(\?[^#]*)?(.*)", re.DOTALL)
# What an address goes on with behind a login: then what looks like a path or a query was a password.
_HOST = re.compile(r"(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]+\]|[\w.-]+:\d+)(?:[/?#]|\Z)", re.IGNORECASE)
_NAMES_A_SECRET = re.compile(r"token|key|auth|pass|pwd|secret|sig", re.IGNORECASE)

# How EZREC_CAMERA names each kind of camera. A test asks for each kind's source and the doctor's check.
KINDS = {
    "auto": "auto",
    "picamera2": "picamera2",
    "software": "software",
    "v4l2": "v4l2:/dev/video0",
    "rtsp": "rtsp://host:554/path",
    "rtsps": "rtsps://host:322/path",
}
FORM = "rtsp://user:password@host:554/path"
WRITE = "write # as %23, / as %2F, ? as %3F, @ as %40, and a space as %20"


def kind_of(camera: str) -> str:
    """The word of `KINDS` that EZREC_CAMERA begins with; another word where it names no camera."""
    kind = camera.partition(":")[0]
    return kind.lower() if is_network_camera(camera) else kind


def is_network_camera(camera: str) -> bool:
    return _SCHEME.match(camera) is not None


def checked(camera: str) -> str:
    """The address as it is used. Raises `ValueError`, with what to write and nothing of the address."""
    match = _SCHEME.fullmatch(camera)
    if match is None:
        raise ValueError(f"must look like {FORM}")
    scheme, rest = match[1].lower(), match[2]
    if any(not char.isprintable() or char.isspace() for char in rest):
        raise ValueError(f"holds a space, or what cannot be printed: {WRITE}")
    if _breaks_its_login(rest):
        raise ValueError(f"its user name or password holds # / ? or @ as it is: {WRITE}")
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        has_host, _ = bool(parts.hostname), parts.port
    except ValueError:
        has_host = False
    if not has_host:
        raise ValueError(f"must look like {FORM}; in a user name or password {WRITE}")
    return f"{scheme}://{rest}"


def _breaks_its_login(rest: str) -> bool:
    """True where a password may hold what ends the host's part of an address, or a second `@`."""
    parts = _PARTS.fullmatch(rest)
    assert parts
    authority, path, query, fragment = parts[1], parts[2], parts[3] or "", parts[4]
    login, _, host = authority.rpartition("@")
    if "@" in login or "@" in path or "@" in fragment:
        return True
    has_port = re.fullmatch(r"(?:\[.*\]|[^:]*)(?::\d*)?", host) is not None
    return "@" in query and (not has_port or _HOST.match(query.rpartition("@")[2]) is not None)


def secrets_of(camera: str) -> tuple[str, ...]:
    """What of an address must never be read: the password, and what its query calls a token or the like."""
    if not is_network_camera(camera):
        return ()
    authority, _, rest = camera.partition("://")[2].partition("?")
    user, _, password = authority.rpartition("@")[0].partition(":")
    found = [password or user]
    for word in re.split(r"[&#]", rest):
        name, _, value = word.partition("=")
        if _NAMES_A_SECRET.search(name):
            found.append(value)
    return tuple(dict.fromkeys(unquote(secret) for secret in found if secret))


def shown(camera: str) -> str:
    """EZREC_CAMERA as anybody may read it: an address without its name, password and query."""
    if not is_network_camera(camera):
        return camera
    try:
        parts = urlsplit(camera)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    except ValueError:
        return f"{camera.partition(':')[0]}://***"
