"""The documents tell the truth: tables are fresh, links lead somewhere, what is to be typed exists."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ezrec.cli.alerts import alerts
from ezrec.cli.camera import camera
from ezrec.cli.config import config
from ezrec.cli.local import local
from ezrec.cli.main import COMMANDS, OK, run
from ezrec.cli.spool import spool

ROOT = Path(__file__).parents[2]
GROUPS = {"alerts": alerts, "camera": camera, "config": config, "spool": spool, "local": local}
NOT_OURS = {"demo", "dist", "build", "node_modules", "__pycache__"}
README = (ROOT / "README.md").read_text()


def ours() -> Iterator[Path]:
    """Every text file of the project, whether or not this is a clone."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = any(part.startswith(".") and part not in (".ci", ".env.example") for part in parts)
        if path.is_file() and not hidden and not NOT_OURS & {*parts} and ".egg-info" not in str(path):
            yield path


def read(path: Path) -> str | None:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return None  # a picture, say


DOCUMENTS = [path for path in ours() if path.suffix == ".md"]
by_name = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@by_name
def test_every_link_leads_to_a_file_or_a_heading(path: Path) -> None:
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        name, _, heading = target.partition("#")
        if "://" in target:
            continue
        found = (path.parent / name).resolve() if name else path
        if not found.exists() or (heading and heading not in headings(found)):
            lost.append(target)
    assert lost == []


def headings(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def commands_in(text: str) -> set[tuple[str, ...]]:
    """What is typed: `ezrec …` in code, as the words before its options and arguments."""
    code = re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL)
    lines = [line for piece in code for line in piece.strip("`").splitlines()]
    found = set()
    for line in lines:
        for words in re.findall(r"(?:^|[ /])ezrec ((?:[a-z][a-z-]* ?)+)", line.replace("-u ezrec ", "")):
            found.add(tuple(words.split()))
    return found


@by_name
def test_every_command_named_exists(path: Path) -> None:
    unknown = []
    for first, *rest in commands_in(path.read_text()):
        if first not in COMMANDS:
            unknown.append(first)
        elif first in GROUPS and rest and rest[0] not in GROUPS[first].commands:
            unknown.append(f"{first} {rest[0]}")
    assert unknown == []


@by_name
def test_every_option_named_is_an_option_of_its_command(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = []
    for piece in re.findall(r"`[^`\n]*\bezrec [^`\n]*`", path.read_text()):
        words = piece.strip("`").partition("ezrec ")[2].split()
        given = [word for word in words if word.startswith("--")]
        if not given or words[0] not in COMMANDS:
            continue
        command = words[:2] if words[0] in GROUPS else words[:1]
        assert run([*command, "--help"]) == OK
        helped = capsys.readouterr().out
        unknown += [(piece, option) for option in given if option not in helped]
    assert unknown == []


def test_the_readme_names_the_commands_a_person_needs() -> None:
    named = commands_in(README)
    for wanted in (("run",), ("config",), ("spool", "ls"), ("spool", "show"), ("spool", "wait")):
        assert any(words[: len(wanted)] == wanted for words in named), wanted


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for path in DOCUMENTS for target in re.findall(r"`make ([a-z0-9-]+)", path.read_text())}
    assert {"demo", "test"} <= named <= targets


def test_the_exit_codes_are_those_of_the_program() -> None:
    from ezrec.cli import main

    table = README.partition("### Exit codes")[2].partition("## ")[0]
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    names = (
        "OK",
        "USAGE",
        "NO_SUCH_JOB",
        "REFUSED",
        "BUSY",
        "WARNED",
        "ALARMED",
        "TEMPORARY",
        "CONFIGURATION",
        "INTERRUPTED",
    )
    assert told == {getattr(main, name) for name in names}


def packages() -> set[str]:
    return {path.parent.name for path in (ROOT / "ezrec").glob("*/__init__.py")}


def test_the_floors_told_are_the_floors_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["name"] == "eight floors")
    checked = [set(re.findall(r"\w+", layer)) for layer in layers]
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| (\d) \| \[`(\w+)`\]", text, re.MULTILINE)
    assert {name for _, name in rows} == packages(), "docs/architecture.md has one row a package"
    floors = {name: int(floor) for floor, name in rows}
    for above, below in itertools.pairwise(checked):
        assert min(floors[name] for name in above) >= max(floors[name] for name in below), (above, below)


def test_every_package_says_what_lives_there_in_twenty_lines() -> None:
    for package in [path.parent for path in (ROOT / "ezrec").rglob("__init__.py")][:]:
        if package == ROOT / "ezrec":
            continue
        lines = (package / "README.md").read_text().splitlines()
        assert len(lines) <= 20, package
        for word in ("**Here.**", "**Not here.**", "**Begin with**"):
            assert any(line.startswith(word) for line in lines), (package, word)
        named = re.findall(r"`((?:[a-z_0-9]+/)*[a-z_0-9]+\.(?:py|sql))`", "\n".join(lines))
        places = (package, ROOT / "ezrec", ROOT)
        assert [name for name in named if not any((place / name).exists() for place in places)] == [], package


def test_no_module_and_no_test_lies_loose() -> None:
    loose = {path.name for path in (ROOT / "ezrec").glob("*.py")}
    assert loose == {"__init__.py", "__main__.py"}
    assert list((ROOT / "tests").glob("test_*.py")) == []


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


@by_name
def test_every_module_named_exists(path: Path) -> None:
    text = path.read_text()
    named = set(re.findall(r"`(?:ezrec/)?((?:[a-z_0-9]+/)*[a-z_0-9]+\.py)`", text))
    places = [ROOT, ROOT / "ezrec", path.parent]
    assert [name for name in sorted(named) if not any((place / name).exists() for place in places)] == []


def test_no_file_speaks_of_the_machine_it_was_written_on() -> None:
    forbidden = [re.escape(word) for word in ("/wo" "rk/", "/tmp/" "ez", "TO" "DO")]  # fmt: skip
    pattern = re.compile("|".join(forbidden))
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in ours()
        for number, line in enumerate((read(path) or "").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []
