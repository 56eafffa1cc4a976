"""The parts of an installation that need no machine: settings and keys, steps, releases, what is refused."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest
from dotenv import dotenv_values

from ezrec.domain.errors import Refused
from ezrec.domain.stages import State
from ezrec.install import env_file, layout, releases, safe_to_change
from ezrec.install.steps import Step, StepFailed, pending, run
from ezrec.settings import definitions
from ezrec.spool.spool import Spool
from ezrec.system.journald import FORMER
from tests.support.jobs import NOW, booking, ezrec, laid

UNITS = Path(__file__).parents[2] / "systemd"
OLDER = "# mine\nexport USER_ID=u1\nSUPABASE_ANON_KEY='k#1' # note\nOTHER=1\nUSER_ID=u2\n"


def noted(done: list[str], name: str, *, works: bool = True) -> Step:
    def do() -> None:
        if works:
            done.append(name)

    return Step(name, "why", do, lambda: name in done)


def test_a_dry_run_names_what_a_run_does_and_does_none_of_it() -> None:
    done, said = ["a"], list[str]()
    plan = [noted(done, "a"), noted(done, "b")]
    assert run(plan, said.append, dry=True) == 1
    assert done == ["a"]
    assert [line.split()[:2] for line in said] == [["done", "a"], ["would", "do"]]
    assert run(plan, said.append) == 1
    assert done == ["a", "b"]
    assert not pending(plan)


def test_a_step_that_says_it_worked_is_asked_again() -> None:
    done: list[str] = []
    with pytest.raises(StepFailed, match="a: it was tried, and is still not so"):
        run([noted(done, "a", works=False), noted(done, "b")], lambda _: None)
    assert done == []


@pytest.mark.parametrize(
    "text", ["A=1\nB='two words'\n", 'export A="x=y"\n#B=1\n', "A=1 # note\nA=2\nB=\n", "A=a#b\n"]
)
def test_an_env_file_is_read_as_the_program_reads_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / ".env"
    path.write_text(text)
    wanted = {name: value for name, value in dotenv_values(path, interpolate=False).items() if value}
    assert env_file.read(text) == wanted


def test_what_is_not_ours_stays_as_it_was_and_keys_are_taken_out() -> None:
    assert env_file.read(OLDER) == {"USER_ID": "u2", "SUPABASE_ANON_KEY": "k#1", "OTHER": "1"}
    text = env_file.rewritten(OLDER, {"USER_ID": "u2", "CAMERA_ID": "my court"}, env_file.ALL_SECRETS)
    assert text == "# mine\nUSER_ID=u2\nOTHER=1\nCAMERA_ID='my court'\n"
    assert env_file.rewritten(text, {"USER_ID": "u2", "CAMERA_ID": "my court"}, env_file.ALL_SECRETS) == text
    assert env_file.secrets_of(env_file.read(OLDER)) == {"SUPABASE_KEY": "k#1"}


def test_an_answer_wins_over_what_is_known_and_only_what_is_missing_is_asked() -> None:
    asked: list[str] = []

    def ask(question: env_file.Question) -> str:
        asked.append(question.name)
        return "court-1" if question.name == "CAMERA_ID" else ""

    known = {"SUPABASE_URL": "https://a.test", "SUPABASE_ANON_KEY": "k", "USER_ID": "u1"}
    values = env_file.answered(known, {"USER_ID": "u2"}, "auto", ask)
    assert (values["USER_ID"], values["CAMERA_ID"], values["EZREC_CAMERA"]) == ("u2", "court-1", "auto")
    assert asked == ["EZREC_DEVICE_EMAIL", "EZREC_DEVICE_PASSWORD", "CAMERA_ID", "EZREC_CAMERA"]
    newer = env_file.answered(known | {"SUPABASE_KEY": "old"}, {"SUPABASE_ANON_KEY": "new"}, "auto", None)
    assert env_file.secrets_of(newer) == {"SUPABASE_KEY": "new"}
    assert "SUPABASE_KEY" not in env_file.answered({}, {}, "auto", None), "a box without a cloud needs no key"


def test_the_keys_that_are_set_apart_are_those_that_the_program_reads_there() -> None:
    assert set(env_file.SECRETS) == set(definitions.CREDENTIALS) >= set(definitions.SECRETS)
    for item in fields(definitions.Settings):
        if item.metadata["name"] in env_file.SECRETS:
            names = (item.metadata["name"], *item.metadata["older"])
            assert env_file.SECRETS[item.metadata["name"]] == names


def test_the_shapes_name_the_units_that_there_are_and_another_home_is_written_into_all() -> None:
    named = {unit for shape in layout.SHAPES.values() for unit in shape}
    there = {
        path.name for path in UNITS.iterdir() if path.suffix in (".service", ".timer", ".path", ".target")
    }
    assert named <= there
    enabled = {path.name for path in UNITS.iterdir() if path.is_file() and "[Install]" in path.read_text()}
    assert named == enabled
    files = layout.unit_files(UNITS, Path("/srv/courts"))
    assert {path.name for path in files if path.parent == layout.UNITS} == there
    over = {path.parent.name for path in files if path.parent != layout.UNITS}
    assert over == {"ezrec-.service.d", *(f"{name}.service.d" for name in FORMER)}
    assert {path.name for path in files if path.parent != layout.UNITS} == {"hardening.conf"}
    assert not any(str(layout.HOME) in text for text in files.values())


def test_a_release_is_named_after_its_content(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    (clone / "ezrec").mkdir(parents=True)
    (clone / "pyproject.toml").touch()
    (clone / "ezrec" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    first = releases.name_of(clone)
    assert first.startswith("1.2.3-")
    (clone / "ezrec" / "__pycache__").mkdir()
    (clone / "ezrec" / "__pycache__" / "x.pyc").touch()
    assert releases.name_of(clone) == first
    (clone / "ezrec" / "new.py").touch()
    assert releases.name_of(clone) != first
    for wrong in (tmp_path, tmp_path / "other-1.0-py3-none-any.whl"):
        wrong.touch()
        with pytest.raises(Refused):
            releases.name_of(wrong)


@pytest.mark.parametrize(
    ("minutes", "is_refused"), [(11, False), (9, True), (-30, True), (-61, False)],
    ids=["soon enough over", "in 9 minutes", "under way", "over"],
)  # fmt: skip
def test_nothing_is_changed_within_ten_minutes_before_a_booking(
    tmp_path: Path, minutes: float, is_refused: bool
) -> None:
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    laid(spool, State.INCOMING, "b1", booking=booking("b1", NOW + timedelta(minutes=minutes), 60))
    (spool.root / "incoming" / "broken").mkdir()
    (spool.root / "incoming" / "broken" / "job.json").write_text(json.dumps([1]))
    if is_refused:
        with pytest.raises(Refused, match="b1"):
            safe_to_change.refuse_if_busy(tmp_path, "upgrade", now=NOW)
    else:
        safe_to_change.refuse_if_busy(tmp_path, "upgrade", now=NOW)


def test_no_odd_record_keeps_the_installer_from_its_answer(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    for name in ("fifo", "first", "last"):
        (spool.root / "incoming" / name).mkdir()
    os.mkfifo(spool.root / "incoming" / "fifo" / "job.json")
    for name, year in (("first", "0001-01-01"), ("last", "9999-12-31")):
        odd = {"booking": {"id": name, "start": f"{year}T00:00:00Z", "end": f"{year}T23:00:00Z"}}
        (spool.root / "incoming" / name / "job.json").write_text(json.dumps(odd))
    safe_to_change.refuse_if_busy(tmp_path, "upgrade", now=NOW)


def test_a_spool_that_is_set_apart_is_looked_at_where_it_is(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "elsewhere")
    spool.prepare()
    (tmp_path / ".env").write_text(f"EZREC_SPOOL={spool.root}\n")
    (spool.root / "recording" / "b2").mkdir()
    with pytest.raises(Refused, match="b2 is being recorded"):
        safe_to_change.refuse_if_busy(tmp_path, "upgrade", now=NOW)


def test_help_and_wrong_words_are_answered_without_a_change(tmp_path: Path) -> None:
    helped = ezrec(tmp_path, "install", "--help")
    assert (helped.returncode, "--dry-run" in helped.stdout) == (0, True)
    assert ezrec(tmp_path, "install", "--colour").returncode == 1
    assert ezrec(tmp_path, "upgrade").returncode == 3
