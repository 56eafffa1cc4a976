"""A fault of the disk that passes: each call of a stage fails once, and no job ends otherwise for it.

In the end every job stands where it would without the fault: none in `failed/` that does not belong there,
no note beside a file that was taken, nothing twice, all footage there.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.spool.passing import SCENES, lay_out, wrong
from tests.spool.syscalls import CALLS, QUESTIONS, Crash, calls_in, count, needs_strace, run_attached
from tests.support.campaigns import large_campaigns

pytestmark = needs_strace
# The calls that most often only ask the same again: one in so many of them.
_STRIDES = {"newfstatat": 80, "openat": 12, "getdents64": 12, "flock": 6, "mkdir": 12, "read": 12}
_ERRORS = ("EIO", "EACCES", "EROFS")
_GROUPS = {
    "what changes something": tuple(kind for kind in CALLS if kind != "mkdir"),
    "what asks": ("openat", "newfstatat"),
    "the rest": ("mkdir", *(kind for kind in QUESTIONS if kind not in ("openat", "newfstatat"))),
}


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Counter[str]]:
    """The calls of each scene when nothing goes wrong."""
    folder, kinds = tmp_path_factory.mktemp("plain"), (*CALLS, *QUESTIONS)
    scenes = [Crash(name, "none", 0) for name in SCENES]
    lay_out(folder, scenes)
    run_attached("tests.spool.passing", [str(folder), "0"], folder / "log", calls=kinds)
    calls, ended = calls_in(folder / "log"), json.loads((folder / "ends.json").read_text())
    for scene in scenes:
        assert ended[scene.name][1] == 0, scene
        assert not wrong(SCENES[scene.transition], folder / scene.name / "spool"), scene
    return {scene.transition: count(calls, ended[scene.name][0]) for scene in scenes}


@pytest.mark.timeout(300)  # hundreds of processes, each traced
@pytest.mark.parametrize("error", _ERRORS)
@pytest.mark.parametrize("kinds", _GROUPS.values(), ids=_GROUPS.keys())
def test_a_fault_that_passes_changes_where_no_job_ends(
    tmp_path: Path, counted: dict[str, Counter[str]], error: str, kinds: tuple[str, ...]
) -> None:
    """The errors take turns at every other call; in the large run each call fails in each way."""
    found, tried = [], 0
    turn = _ERRORS.index(error)
    for kind in kinds:
        when = max(counts[kind] for counts in counted.values()) + 1
        stride = _STRIDES.get(kind, 1)
        points = [
            Crash(name, kind, nth)
            for at, (name, counts) in enumerate(counted.items())
            for nth in range(1 + at % stride, counts[kind] + 1, stride)
        ]
        if not large_campaigns():
            points = points[turn :: 2 * len(_ERRORS)]
        folder = tmp_path / kind
        lay_out(folder, points)
        inject = ("-e", f"inject={kind}:error={error}:when={when}")
        arguments = [str(folder), str(when)]
        run_attached("tests.spool.passing", arguments, tmp_path / "log", *inject, calls=[kind])
        ended = json.loads((folder / "ends.json").read_text())
        for point in points:
            why = wrong(SCENES[point.transition], folder / point.name / "spool")
            if why or ended[point.name][1] != 0:
                found.append((point, ended[point.name][1], why))
        tried += len(points)
    assert not found, (len(found), tried, found)
    assert tried > 12
