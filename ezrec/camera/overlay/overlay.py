"""`CaptureOverlays`: the picture that a camera draws into every frame, as the branding is known at its start.

Made once and kept: a recorder that starts again in the middle of a match finds it. It never delays a camera
for long: a logo that cannot be made within the limit is laid over in processing, with one warning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from ezrec.camera.overlay.blend import CaptureOverlay
from ezrec.domain.branding import Assets, LogoLayout, LogoPosition
from ezrec.media.render.asset_cache import key_of
from ezrec.system.timeout import Broken, Hung, call_with_timeout

# New branding is prepared within a minute of its fetch. A camera that starts before waits only so long,
# because recording comes first; its next start finds the picture.
_WAIT_S = 1.0
_MAKING_S = 30.0
_VERSION = "2"  # of how a picture is made ready
_KEPT = 8  # pictures; logos change seldom


class CaptureOverlays:
    """Called at each start of a camera. `folder` is its own; `warn` gets the reason why a logo is not drawn.

    `wait_s`: how long to wait until the picture is made; by default one second.
    """

    def __init__(
        self,
        assets: Callable[[], Assets],
        frame: tuple[int, int],
        layout: LogoLayout,
        folder: Path,
        warn: Callable[[str], None],
        wait_s: float | None = None,
    ) -> None:
        self._assets, self._frame, self._layout = assets, frame, layout
        self._folder, self._warn = folder, warn
        self._wait_s = _WAIT_S if wait_s is None else wait_s
        self._refused: set[str] = set()

    def prepare(self, may_go_on: Callable[[], bool]) -> None:
        """Make the picture before a camera needs it."""
        if may_go_on():
            self()

    def __call__(self) -> CaptureOverlay | None:
        assets = self._assets()
        sponsors = assets.sponsors
        if assets.logo is None and not sponsors:
            return None
        try:
            key = self._key(assets.logo, sponsors)
            if (found := self._found(key)) is not None or key in self._refused:
                return found
            self._refused.add(key)  # until it is made: what failed once is not tried at every start
            made = call_with_timeout(
                self._wait_s, "making it ready", lambda: self._made(key, assets.logo, sponsors)
            )
        except (OSError, Hung, Broken) as fault:
            self._warn(f"the logo is not drawn at capture but laid over in processing: {fault}")
            return None
        self._refused.discard(key)
        return made

    def _key(self, logo: Path | None, sponsors: Sequence[Path]) -> str:
        contents = [_digest(path) if path else "none" for path in (logo, *sponsors)]
        return key_of("\0".join(contents), "\0".join([_VERSION, str(self._frame), repr(self._layout)]))

    def _found(self, key: str) -> CaptureOverlay | None:
        """A picture's place stands in its name, so that a kept one needs no look into the logo."""
        for path in self._folder.glob(f"{key}.*.yuva"):
            numbers = path.name.split(".")[1].split("-")
            if len(numbers) == 4 and all(number.isdecimal() for number in numbers):
                found = CaptureOverlay(path, LogoPosition(*map(int, numbers)), key)
                if path.stat().st_size == found.size:
                    return found
        return None

    def _made(self, key: str, logo: Path | None, sponsors: Sequence[Path]) -> CaptureOverlay:
        # Brings FFmpeg's graphs along, which a recorder that starts again can do without.
        from ezrec.camera.overlay import logo_planes

        self._folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(self._folder.glob("*.yuva"), key=lambda path: -path.stat().st_mtime)[_KEPT - 1 :]:
            old.unlink(missing_ok=True)
        return logo_planes.make(key, self._folder, logo, sponsors, self._frame, self._layout, _MAKING_S)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
