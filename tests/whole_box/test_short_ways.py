"""Commands stay easy to follow: whoever reads one from its start to its end has few files to open.

A file counts when one of its functions runs. `domain/` does not count: it takes values and returns values.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ezrec.domain.stages import State
from ezrec.spool.spool import Spool
from tests.support.jobs import laid

MOST = {"status": 20, "spool": 15}  # the status looks at everything, and changes nothing

# Runs one command line and prints, as JSON, the files entered and the modules loaded.
FOLLOW = """
import json, os, sys
import ezrec
from ezrec.cli.main import run
root = os.path.dirname(ezrec.__file__) + "/"
entered = set()
def follow(frame, event, argument):
    code = frame.f_code
    is_function = code.co_flags & 2 and not code.co_qualname.startswith("<")  # not what an import runs
    if event == "call" and code.co_filename.startswith(root) and is_function:
        entered.add(code.co_filename.removeprefix(root))
sys.setprofile(follow)
run(sys.argv[1:])
sys.setprofile(None)
print("\\n" + json.dumps([sorted(entered), sorted(name for name in sys.modules if name.startswith("ezrec"))]))
"""


def followed(home: Path, *words: str) -> tuple[list[str], list[str]]:
    """Files entered outside `domain/`, and modules loaded, by one command."""
    done = subprocess.run(
        [sys.executable, "-c", FOLLOW, *words], capture_output=True, text=True, timeout=60, check=True,
        env={"EZREC_HOME": str(home), "EZREC_ASSUME_CLOCK": "yes", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    entered, loaded = json.loads(done.stdout.splitlines()[-1])
    return [name for name in entered if not name.startswith("domain/")], loaded


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A box with a booking that waits, a video that waits, and a job that failed."""
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    for state, job_id in ((State.INCOMING, "b1"), (State.PROCESSED, "b2"), (State.FAILED, "b3")):
        laid(spool, state, job_id)
    return tmp_path


@pytest.mark.parametrize("words", [("status",), ("spool", "retry", "b3")], ids=" ".join)
def test_a_command_enters_few_files(home: Path, words: tuple[str, ...]) -> None:
    entered, loaded = followed(home, *words)
    assert len(entered) <= MOST[words[0]], entered
    assert [name for name in loaded if name.startswith("ezrec.app")] == []


def test_the_help_loads_almost_nothing(home: Path) -> None:
    entered, loaded = followed(home, "--help")
    assert entered == ["cli/main.py"]
    assert len(loaded) <= 6, loaded
