"""`FakeTranscoder`: the port `Transcoder` without FFmpeg. Its media are lines of text.

`footage` makes such a file, for a recording, an intro or a logo; a rendered one names what went into it.
"""

from __future__ import annotations

import json
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ezrec.domain.errors import Reject, Stopped
from ezrec.domain.ports import MediaInfo, RenderPlan

PART_S = 30
_MARK = "fake media "


def footage(path: Path, seconds: float = 2.0) -> Path:
    """A recording, an intro or a logo that lasts so long."""
    path.write_text(_MARK + json.dumps({"seconds": seconds}) + "\n")
    return path


def made_of(path: Path) -> dict[str, Any]:
    """What a file says of itself. Raises `Reject` when it says nothing."""
    if not path.is_symlink() and path.exists() and stat.S_ISREG(path.stat().st_mode):
        with path.open("rb") as file:
            text = file.read(1 << 16).decode(errors="replace")
        if text.startswith(_MARK):
            found = json.loads(text[len(_MARK) :].split("\n", 1)[0])
            assert isinstance(found, dict)
            return found
    raise Reject(f"{path.name} is no media file", "put a sound file in its place")


class FakeTranscoder:
    """`calls` counts by method; `fail_next(2, Retry("…"))` makes the next two renders raise that.

    With `fails_with_branding` every render with an intro or a logo does, with `fails_with_logo` every one
    with a logo. `hesitate` is called in the middle of each render: a test can stop the work there, or have
    it rest by `on_pause`.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.fails_with_branding: Exception | None = None
        self.fails_with_logo: Exception | None = None
        self.hesitate: Callable[[], None] = lambda: None
        self.on_pause: Callable[[str], None] = lambda why: None
        self._faults: list[Exception] = []

    def fail_next(self, times: int, fault: Exception) -> None:
        self._faults += [fault] * times

    def probe(self, path: Path) -> MediaInfo:
        self.calls["probe"] += 1
        return _info(made_of(path)["seconds"])

    def check_asset(self, kind: str, path: Path) -> None:
        self.calls["check_asset"] += 1
        if kind not in ("intro", "logo", "sponsor"):
            raise KeyError(kind)
        made_of(path)

    def render(
        self,
        plan: RenderPlan,
        progress: Callable[[float], None],
        on_stop: Callable[[Callable[[], None]], None],
        on_pause: Callable[[str], None] = lambda why: None,
    ) -> MediaInfo:
        self.calls["render"] += 1
        self.on_pause = on_pause
        stopped: list[bool] = []
        on_stop(lambda: stopped.append(True))
        if self._faults:
            raise self._faults.pop(0)
        if self.fails_with_branding and (plan.intro or plan.logo or plan.sponsors):
            raise self.fails_with_branding
        if self.fails_with_logo and (plan.logo or plan.sponsors):
            raise self.fails_with_logo
        parts = [path for path in (plan.intro, *plan.takes) if path]
        seconds = sum(made_of(path)["seconds"] for path in parts)
        if plan.logo:
            made_of(plan.logo)
        for part in (0.25, 0.5):
            progress(part)
        self.hesitate()
        if stopped:
            raise Stopped("asked to stop")
        names = {"intro": plan.intro and plan.intro.name, "logo": plan.logo and plan.logo.name}
        sponsors = [path.name for path in plan.sponsors]
        said = {
            "seconds": seconds, "takes": [take.name for take in plan.takes], **names, "sponsors": sponsors,
            "notes": list(plan.notes), "burned_in": [take.name for take in plan.burned_in],
        }  # fmt: skip
        part_file = plan.output.with_name(f"{plan.output.name}.part")
        part_file.write_text(_MARK + json.dumps(said) + "\n")
        part_file.rename(plan.output)
        plan.log.write_text("nothing to tell\n")
        progress(1.0)
        return _info(seconds)

    def prepare(
        self, take: Path | None, intro: Path, cache: Path, may_go_on: Callable[[], bool] = lambda: True
    ) -> bool:
        self.calls["prepare"] += 1
        if self._faults:
            raise self._faults.pop(0)
        sample = cache / "camera"
        if take and take.exists() and made_of(take)["seconds"] >= 1:
            cache.mkdir(parents=True, exist_ok=True)
            sample.write_bytes(take.read_bytes())
        if not sample.exists() or (take and made_of(take)["seconds"] < 1) or not may_go_on():
            return False
        made_of(intro)
        (cache / f"{intro.name}.made").write_text("an intro\n")
        return True

    def prerender(self, plan: RenderPlan, may_go_on: Callable[[], bool]) -> bool:
        self.calls["prerender"] += 1
        if self._faults:
            raise self._faults.pop(0)
        if plan.parts is None or not plan.wants_logo_always:
            return False
        if not may_go_on():
            return False
        plan.parts.mkdir(exist_ok=True)
        for take in plan.takes:
            whole = int(made_of(take)["seconds"] // PART_S)
            for part in (plan.parts / f"{take.name}-{number}.mp4" for number in range(whole)):
                if not part.exists():
                    self.hesitate()
                    if not may_go_on():
                        return False
                    part.write_text("a part\n")
                    return True
        return False


def _info(seconds: float) -> MediaInfo:
    return MediaInfo(seconds, 320, 180, 30.0, "h264", has_audio=False, frames=round(seconds * 30))
