"""The parts of an installation that need no machine: settings and keys, steps, releases, what is refused."""

from __future__ import annotations

import json
import os
import random
import string
from datetime import timedelta
from pathlib import Path

import pytest
from dotenv import dotenv_values

from ezrec import settings
from ezrec.domain.errors import Refused
from ezrec.domain.stages import State
from ezrec.install import env_file, layout, questions, releases, safe_to_change, system
from ezrec.install.steps import Step, StepFailed, pending, run
from ezrec.settings import definitions, sources
from ezrec.spool.spool import Spool
from ezrec.system.journald import FORMER
from tests.support.campaigns import times
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


AWKWARD = [
    "A='x\\y'\n",
    "A='a\\'\n",
    'A=\'it\\\'s\'\nB="say \\"so\\""\n',
    'A="tab\\tand\\nline"\n',
    'A="two\nlines"\nB=c:\\new\\\n',
    "export A = 'x' # note\r\nB=2\r\n",
    "A=#b\nB=a #c\nC=\n",
    "A='\\\\'\n",
]


@pytest.mark.parametrize(
    "text", ["A=1\nB='two words'\n", 'export A="x=y"\n#B=1\n', "A=1 # note\nA=2\nB=\n", "A=a#b\n"]
)
def test_an_env_file_is_read_as_the_program_reads_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / ".env"
    path.write_text(text)
    wanted = {name: value for name, value in dotenv_values(path, interpolate=False).items() if value}
    assert env_file.read(text) == wanted


def random_passwords(number: int) -> list[str]:
    """As generators and people make them; what is awkward in a file comes more often than by chance."""
    chance = random.Random(7)
    plain, awkward = string.ascii_letters + string.digits, string.punctuation + " \t" + "$#'\"\\`{}" * 3
    odd = "äß€\U0001f3be\x0b\x0c\x1c\x85\xa0\u2028\u3000\ufeff"
    alphabets = (plain + string.punctuation, awkward, "\\'\"", plain + awkward + odd)
    return [
        "".join(chance.choices(alphabets[n % len(alphabets)], k=chance.randint(1, 40))) for n in range(number)
    ]


def test_passwords_of_every_kind_come_through_the_installer_and_every_way_to_the_program(
    tmp_path: Path,
) -> None:
    name, env, key = "EZREC_DEVICE_PASSWORD", tmp_path / ".env", tmp_path / "ezrec_EZREC_DEVICE_PASSWORD"
    before = "# it's mine\nNOTE=\"a 'note'\"\n"
    environ = {"EZREC_HOME": str(tmp_path), "EZREC_BACKEND": "local"}
    lost, problems = [], list[str]()
    for n, password in enumerate(random_passwords(times(400, 4000))):
        answers = questions.with_defaults(questions.merged({}, {name: password}))
        text = env_file.rewritten(before, {**answers, "Z": "it's the 'last'", "Y": '"'})
        env.write_text(text, encoding="utf-8")
        key.write_text(password + "\n", encoding="utf-8")  # as the shape `split` has it
        found = [
            env_file.read(text)[name],
            sources.env_file(env, problems)[name],
            sources.one_a_file(tmp_path, "ezrec_", problems)[name],
        ]
        if n % 20 == 0:
            found.append(settings.load(environ).device_password)
            found.append(settings.load(environ | {"CREDENTIALS_DIRECTORY": str(tmp_path)}).device_password)
        again = env_file.rewritten(text, env_file.read(text))  # a second run of the installer
        if set(found) != {password} or again != text:
            lost.append(password)
    assert lost == []
    assert problems == []


@pytest.mark.parametrize("password", ["two\nlines", "a\rb", "a\0b", "\udcff"])
def test_a_password_that_no_line_can_hold_is_refused_and_not_shown(password: str) -> None:
    with pytest.raises(Refused, match="EZREC_DEVICE_PASSWORD holds a line break") as refused:
        env_file.check(questions.merged({}, {"EZREC_DEVICE_PASSWORD": password}))
    assert password not in str(refused.value)


@pytest.mark.parametrize("text", AWKWARD)
def test_what_python_dotenv_reads_rightly_is_read_as_before(tmp_path: Path, text: str) -> None:
    path = tmp_path / ".env"
    path.write_text(text)
    problems: list[str] = []
    wanted = {name: value for name, value in dotenv_values(path, interpolate=False).items() if value}
    assert sources.env_file(path, problems) == wanted


def test_a_line_that_python_dotenv_cannot_read_does_not_take_the_next_ones_along(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A='#\\\\'\nB='b'\nA=' \\\\' # the last one counts\nC=\"\n D='c\\\\'\n\"\n")
    problems: list[str] = []
    assert sources.env_file(path, problems) == {"A": " \\", "B": "b", "C": "\nD='c\\\\'\n"}
    assert problems == []


def test_what_is_not_ours_stays_as_it_was_and_keys_are_taken_out() -> None:
    assert env_file.read(OLDER) == {"USER_ID": "u2", "SUPABASE_ANON_KEY": "k#1", "OTHER": "1"}
    text = env_file.rewritten(OLDER, {"USER_ID": "u2", "CAMERA_ID": "my court"}, env_file.ALL_SECRETS)
    assert text == "# mine\nUSER_ID=u2\nOTHER=1\nCAMERA_ID='my court'\n"
    assert env_file.rewritten(text, {"USER_ID": "u2", "CAMERA_ID": "my court"}, env_file.ALL_SECRETS) == text
    assert env_file.secrets_of(env_file.read(OLDER)) == {"SUPABASE_KEY": "k#1"}


def test_an_answer_wins_over_what_is_known_and_a_key_whatever_its_name() -> None:
    known = {"SUPABASE_URL": "https://a.test", "SUPABASE_ANON_KEY": "k", "USER_ID": "u1"}
    values = questions.with_defaults(questions.merged(known, {"USER_ID": "u2"}))
    assert (values["USER_ID"], values["CAMERA_ID"], values["EZREC_CAMERA"]) == ("u2", "0", "auto")
    newer = questions.merged(known | {"SUPABASE_KEY": "old"}, {"SUPABASE_ANON_KEY": "new"})
    assert env_file.secrets_of(newer) == {"SUPABASE_KEY": "new"}
    assert "SUPABASE_KEY" not in questions.with_defaults({}), "a box without a cloud needs no key"


def test_the_keys_that_are_set_apart_are_those_that_the_program_reads_there() -> None:
    # The webhook's address is masked wherever settings are shown; it opens nothing of the cloud's.
    assert set(env_file.SECRETS) == set(definitions.CREDENTIALS) >= {*definitions.SECRETS} - {"EZREC_WEBHOOK"}
    for item in definitions.TABLE:
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


def test_package_lists_that_are_not_there_are_older_than_any(tmp_path: Path) -> None:
    (tmp_path / "partial").mkdir()
    assert system.lists_age_s(tmp_path) == float("inf")
    (tmp_path / "deb.debian.org_debian_Packages").touch()
    assert system.lists_age_s(tmp_path) < 60


def test_a_release_that_cannot_be_built_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "APP", tmp_path / "app")
    monkeypatch.setattr(releases, "RELEASES", tmp_path / "app" / "releases")
    monkeypatch.setattr(releases, "PYTHON", "/bin/false")
    with pytest.raises(StepFailed, match="ended with 1"):
        releases.build("1-x", tmp_path)
    assert list(tmp_path.iterdir()) == []


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
