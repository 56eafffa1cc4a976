"""The dialogue of an installation: what is asked, in which order, and that nothing wrong is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ezrec.install.questions import Checked, Conversation, Question, questions, system_zone
from ezrec.settings.definitions import TABLE

CLOUD = ("https://a.test", "key", "box@club", "secret", "club-1")
LOCAL = ("-", "court-1", "auto", "Europe/Madrid")


class Person:
    """Types `answers` in turn; `wrong` are (setting, answer) with what becomes of them."""

    def __init__(
        self, answers: tuple[str, ...], wrong: Mapping[tuple[str, str], Checked] | None = None
    ) -> None:
        self._left, self._wrong = list(answers), wrong or {}
        self.asked: list[str] = []
        self.offered: dict[str, str] = {}
        self.read: list[str] = []

    def answer(self, question: Question, offered: str) -> str:
        self.asked.append(question.name)
        self.offered[question.name] = offered
        return self._left.pop(0)

    def check(self, name: str, values: Mapping[str, str]) -> Checked:
        return self._wrong.get((name, values.get(name, "")), Checked(note="seen"))

    def talk(self, known: Mapping[str, str] | None = None) -> Conversation:
        made = Conversation(known or {}, self.answer, self.check, self.read.append)
        made.go_through(questions("Etc/UTC"))
        assert self._left == []
        return made


def test_the_cloud_comes_first_then_the_camera_then_the_time_zone() -> None:
    person = Person((*CLOUD, "court-1", "auto", "Europe/Madrid"))
    talk = person.talk()
    assert person.asked == [question.name for question in questions()]
    assert talk.values["EZREC_DEVICE_PASSWORD"] == "secret"
    assert person.offered["LOCAL_TIMEZONE"] == "Etc/UTC"


def test_without_a_cloud_nothing_of_a_cloud_is_asked() -> None:
    person = Person(LOCAL)
    person.talk()
    assert person.asked == ["SUPABASE_URL", "CAMERA_ID", "EZREC_CAMERA", "LOCAL_TIMEZONE"]


def test_a_wrong_answer_is_named_asked_again_and_never_kept() -> None:
    wrong = {
        ("SUPABASE_URL", "http://typo"): Checked("no such host", "copy it"),
        ("LOCAL_TIMEZONE", "Madrid"): Checked("no time zone"),
    }
    person = Person(("http://typo", *CLOUD, "0", "auto", "Madrid", "Europe/Madrid"), wrong)
    values = person.talk().values
    assert (values["SUPABASE_URL"], values["LOCAL_TIMEZONE"]) == ("https://a.test", "Europe/Madrid")
    assert "  no: no such host – copy it" in person.read


def test_after_a_refused_sign_in_the_account_is_asked_again_as_well() -> None:
    wrong = {("EZREC_DEVICE_PASSWORD", "guess"): Checked("signing in is refused")}
    answers = ("https://a.test", "key", "b0x@club", "guess", "box@club", "secret", "club-1", "0", "auto", "")
    talk = Person(answers, wrong).talk()
    assert (talk.values["EZREC_DEVICE_EMAIL"], talk.values["EZREC_DEVICE_PASSWORD"]) == ("box@club", "secret")


def test_what_may_be_right_all_the_same_is_taken_when_it_is_typed_twice_and_not_before() -> None:
    doubtful = {("EZREC_CAMERA", "software"): Checked("a test picture", doubtful=True)}
    person = Person(("", "0", "software", "software", ""), doubtful)
    assert person.talk().values["EZREC_CAMERA"] == "software"
    assert person.asked.count("EZREC_CAMERA") == 2
    other = Person(("", "0", "software", "auto", ""), doubtful)
    assert other.talk().values["EZREC_CAMERA"] == "auto"


def test_typed_again_it_offers_what_is_set_and_enter_keeps_it() -> None:
    known = {"SUPABASE_URL": "https://a.test", "SUPABASE_KEY": "key", "USER_ID": "u", "CAMERA_ID": "7",
             "EZREC_CAMERA": "v4l2:/dev/video2", "LOCAL_TIMEZONE": "Europe/Madrid"}  # fmt: skip
    person = Person(("", "", "", "", "8", "", ""))
    talk = person.talk(known)
    assert person.offered["EZREC_CAMERA"] == "v4l2:/dev/video2"
    assert talk.values == known | {"CAMERA_ID": "8"}
    assert talk.cleared == set()


def test_a_box_that_leaves_the_cloud_keeps_no_key_of_it() -> None:
    known = {
        "SUPABASE_URL": "https://a.test",
        "SUPABASE_KEY": "key",
        "EZREC_DEVICE_EMAIL": "a@b",
        "USER_ID": "u",
    }
    talk = Person(LOCAL).talk(known)
    assert talk.cleared == {"SUPABASE_URL", "SUPABASE_KEY", "EZREC_DEVICE_EMAIL"}
    assert not talk.cleared & set(talk.values)


def test_back_returns_to_the_question_before() -> None:
    person = Person(("https://a.test", "back", "https://b.test", "key", "-", "club-1", "0", "auto", ""))
    assert person.talk().values["SUPABASE_URL"] == "https://b.test"
    assert person.asked[:4] == ["SUPABASE_URL", "SUPABASE_KEY", "SUPABASE_URL", "SUPABASE_KEY"]


@pytest.mark.parametrize(
    ("target", "text", "zone"),
    [("/usr/share/zoneinfo/Europe/Madrid", "", "Europe/Madrid"), (None, "Europe/Paris\n", "Europe/Paris"),
     (None, None, "")],
    ids=["a link", "a file", "none"],
)  # fmt: skip
def test_the_machine_s_own_time_zone_is_offered(
    tmp_path: Path, target: str | None, text: str | None, zone: str
) -> None:
    if target:
        (tmp_path / "localtime").symlink_to(target)
    if text is not None:
        (tmp_path / "timezone").write_text(text)
    assert system_zone(tmp_path / "localtime", tmp_path / "timezone") == zone


def test_what_is_asked_for_is_a_setting() -> None:
    assert {question.name for question in questions()} <= {item.metadata["name"] for item in TABLE}
