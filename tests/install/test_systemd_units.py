"""The unit files: accepted by systemd, and saying what the code relies on."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ezrec.app.periodic import TASKS
from ezrec.domain.stages import STAGES
from ezrec.install import layout
from ezrec.runtime.supervised_process import _END_LIMIT_S, CONFIGURATION
from ezrec.settings import DEFAULT_HOME
from ezrec.system import child_process
from ezrec.system.journald import FORMER
from ezrec.system.journald import UNITS as JOURNALS

UNITS = Path(__file__).parents[2] / "systemd"
EXECUTABLE = "/opt/ezrec/.venv/bin/ezrec"
KINDS = (".service", ".path", ".timer", ".target")
FILES = sorted(path for path in UNITS.iterdir() if path.suffix in KINDS)
HARDENING = UNITS / "ezrec-.service.d" / "hardening.conf"
SERVICES = [path for path in FILES if path.suffix == ".service"]
NOTIFYING = ("ezrec.service", "recorder.service")


def values(path: Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", path.read_text(), re.MULTILINE)


def value(name: str, key: str) -> str:
    (found,) = values(UNITS / name, key)
    return found


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is missing: no systemd here")
def test_systemd_accepts_every_unit_without_a_word(tmp_path: Path) -> None:
    copies = []
    for path in FILES:  # the product is not installed here: any program takes its place
        copy = tmp_path / path.name
        copy.write_text(path.read_text().replace(EXECUTABLE, "/bin/true"))
        copies.append(str(copy))
    for folder in UNITS.glob("*.service.d"):
        shutil.copytree(folder, tmp_path / folder.name, symlinks=True)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *copies],
        capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )  # fmt: skip
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("name", NOTIFYING)
def test_a_service_that_stays_is_watched_restarted_and_never_given_up(name: str) -> None:
    said = {
        key: value(name, key)
        for key in ("Type", "NotifyAccess", "Restart", "StartLimitIntervalSec", "KillMode", "OOMPolicy")
    }
    assert said == {
        "Type": "notify",
        "NotifyAccess": "main",
        "Restart": "always",
        "StartLimitIntervalSec": "0",
        "KillMode": "mixed",
        "OOMPolicy": "continue",
    }
    assert int(value(name, "WatchdogSec")) >= 20
    assert int(value(name, "RestartPreventExitStatus")) == CONFIGURATION
    assert int(value(name, "OOMScoreAdjust")) < 0


@pytest.mark.parametrize("name", NOTIFYING)
def test_stopping_leaves_time_to_close_a_recording(name: str) -> None:
    assert int(value(name, "TimeoutStopSec")) >= 2 * _END_LIMIT_S


@pytest.mark.parametrize(
    "path", [path for path in SERVICES if path.stem != "ezrec-sweep"], ids=lambda path: path.name
)
def test_every_command_in_a_unit_is_one_that_exists(path: Path) -> None:
    known = {
        "run", "run --only record",
        *(f"run-stage {stage} --once" for stage in STAGES),
        *(f"run-stage {stage} --once --patient" for stage in STAGES),
        *(f"pulse {pulse}" for pulse in TASKS),
    }  # fmt: skip
    ours = [line for line in values(path, "ExecStart") if EXECUTABLE in line]
    assert ours
    assert {line.partition(EXECUTABLE + " ")[2] for line in ours} <= known


@pytest.mark.parametrize("stage", ["process", "upload"])
def test_a_path_unit_watches_the_directory_its_stage_takes_from(stage: str) -> None:
    watched = values(UNITS / f"ezrec-{stage}.path", "DirectoryNotEmpty")
    places = {DEFAULT_HOME / "spool" / place for place in (STAGES[stage].takes_from, STAGES[stage].works_in)}
    assert {Path(each) for each in watched} == places
    (service,) = values(UNITS / f"ezrec-{stage}.path", "Unit") or [f"ezrec-{stage}.service"]
    assert value(service, "Type") == "oneshot"
    assert value(service, "StartLimitIntervalSec") == "0"
    assert value(service, "ExecStopPost").startswith("/bin/sleep ")
    assert value(service, "SuccessExitStatus").split() == ["4", "SIGTERM"]
    assert (value(service, "Restart"), value(service, "RestartPreventExitStatus")) == ("on-failure", "78")
    assert value(service, "ExecStart").endswith(" --patient"), "the path unit would start it at once again"


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.stem not in ("ezrec",)], ids=lambda path: path.name
)
def test_every_part_stops_with_the_target(path: Path) -> None:
    assert values(path, "PartOf") == ["ezrec.target"]
    assert path.suffix != ".timer" or values(path, "WantedBy") == ["ezrec.target"]


def _bytes(limit: str) -> float:
    """Of a limit as it works on the smallest machine that there is, one of 512 MB."""
    number = int(limit.rstrip("%M"))
    return 512e6 * number / 100 if limit.endswith("%") else number * 2**20


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_no_service_can_take_all_memory_and_none_dies_with_a_child_that_wanted_it(path: Path) -> None:
    most = _bytes(value(path.name, "MemoryMax"))
    assert most < 512e6
    assert value(path.name, "OOMPolicy") == "continue"
    if path.name in NOTIFYING:
        assert values(path, "MemoryHigh") == [], "it would hold up the camera"
    else:
        assert _bytes(value(path.name, "MemoryHigh")) < most


def test_where_memory_is_short_the_recorder_goes_last_and_who_encodes_first() -> None:
    scores = {path.stem: int(value(path.name, "OOMScoreAdjust")) for path in SERVICES}
    order = sorted(scores, key=lambda name: scores[name])
    assert set(order[:2]) == {"ezrec", "recorder"}
    assert order[-2:] == ["video_worker", "ezrec-ahead"]
    assert child_process.LAST == scores["recorder"] == scores["ezrec"]
    assert scores["video_worker"] == child_process.FIRST


def test_what_runs_hooks_can_in_the_one_unit() -> None:
    path = UNITS / "ezrec.service"
    for key in ("PrivateDevices", "MemoryDenyWriteExecute", "ExecPaths"):
        assert values(path, key) == [], key
    assert values(path, "ReadWritePaths") == [str(DEFAULT_HOME)]
    assert values(path, "User") == ["ezrec"]


@pytest.mark.parametrize("name", NOTIFYING)
def test_a_camera_whose_driver_comes_after_the_start_is_not_shut_out(name: str) -> None:
    """systemd looks up the number of a named driver once, when the unit starts."""
    assert values(UNITS / name, "DevicePolicy") == ["closed"]
    assert values(UNITS / name, "DeviceAllow") == ["char-* rw"]


@pytest.mark.parametrize(
    "path", [path for path in SERVICES if path.name != "ezrec.service"], ids=lambda path: path.name
)
def test_the_hardening_reaches_every_part_by_the_name_that_nobody_can_disable(path: Path) -> None:
    """An alias goes with `systemctl disable`, and what was laid over the alias goes with it."""
    own = UNITS / f"{path.name}.d" / HARDENING.name
    if path.name.startswith("ezrec-"):
        assert not own.exists(), "it has the prefix's"
    else:
        assert own.is_symlink(), "one text, and no copy of it"
        assert own.resolve() == HARDENING


def test_no_unit_undoes_what_all_share() -> None:
    """A drop-in is read after its unit: a key in both would be the drop-in's, and the unit would mislead."""
    shared = set(re.findall(r"^(\w+)=", HARDENING.read_text(), re.MULTILINE))
    for path in SERVICES:
        if path.name != "ezrec.service":
            assert not shared & set(re.findall(r"^(\w+)=", path.read_text(), re.MULTILINE)), path.name


@pytest.mark.parametrize("path", [*SERVICES, UNITS / "ezrec.target"], ids=lambda path: path.name)
def test_what_a_unit_names_as_its_documentation_is_installed(path: Path) -> None:
    installed = {f"file:{layout.SHARE / page.name}" for page in UNITS.glob("*.md")}
    installed |= {f"man:{page.stem}(1)" for page in layout.PAGES if page.parent.name == "man1"}
    (named,) = values(path, "Documentation")
    assert named.split()
    assert set(named.split()) <= installed


def test_no_secret_can_be_read_from_a_unit() -> None:
    """`systemctl show` tells every user what stands in Environment=."""
    for path in [*FILES, HARDENING]:
        assert not re.search(r"^Environment=.*(KEY|PASSWORD|TOKEN)", path.read_text(), re.MULTILINE), (
            path.name
        )


def test_the_log_collector_asks_for_the_journal_of_every_service() -> None:
    asked = set(JOURNALS)
    assert {path.stem for path in SERVICES} == asked
    aliases = {path.stem: values(path, "Alias") for path in SERVICES if values(path, "Alias")}
    assert {name: [f"{former}.service"] for name, former in FORMER.items()} == aliases
