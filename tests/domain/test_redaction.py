"""What is taken out of every text that leaves us, in every form, at a cost that grows with the length."""

from __future__ import annotations

import base64
import html
import json
import re
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

import pytest

from ezrec.domain import redaction
from ezrec.domain.redaction import hide, hide_tokens, redacted

SECRETS = ("canary-Pass/w0rd+?", "p\"a's\\s é€\U0001f511<&>x", "plainCanary77", "v1.MaBbCcDdEeFfGg-hh_ii")


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    redaction.forget()
    yield
    redaction.forget()


def _json(text: str) -> str:
    return json.dumps({"k": text})


FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "address": lambda text: quote(text, safe=""),
    "path": quote,
    "form": quote_plus,
    "address twice": lambda text: quote(quote(text, safe=""), safe=""),
    "json": _json,
    "json with letters": lambda text: json.dumps(text, ensure_ascii=False),
    "json with slashes": lambda text: _json(text).replace("/", "\\/"),
    "json in json": lambda text: _json(_json(text)),
    "json in json in json": lambda text: _json(_json(_json(text))),
    "python": repr,
    "ascii": ascii,
    "bytes": lambda text: repr(text.encode()),
    "page": html.escape,
    "page with numbers": lambda text: re.sub("[^A-Za-z0-9]", lambda c: f"&#{ord(c[0])};", text),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 of a login": lambda text: base64.b64encode(f"me@x.co:{text}".encode()).decode(),
    "base64 of json": lambda text: base64.b64encode(b'{"password": "' + text.encode() + b'"}').decode(),
    "base64 for addresses": lambda text: base64.urlsafe_b64encode(b"ab" + text.encode()).decode().rstrip("="),
    "base64 in json": lambda text: json.dumps(base64.b64encode(b"a" + text.encode()).decode()),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_known_secret_is_taken_out_in_every_form(secret: str, form: str) -> None:
    said = f"the cloud said {FORMS[form](secret)} and more"
    hide(SECRETS)
    left = redacted(said)
    assert "***" in left
    assert left.startswith("the cloud said ")
    assert left.endswith(" and more")
    assert secret not in left
    assert FORMS[form](secret) not in left


def test_what_a_secret_shares_with_a_longer_one_is_no_clue() -> None:
    hide(["canary", "canary-and-more"])
    assert redacted("canary-and-more, canary") == "***, ***"


def test_a_secret_of_three_letters_is_left_to_the_shapes_of_addresses() -> None:
    hide(["pw1"])
    assert redacted("pw1 in rtsp://me:pw1@cam/1") == "pw1 in rtsp://***@cam/1"


@pytest.mark.parametrize("scheme", ["rtsp", "RTSP", "Rtsps", "HTTPS"])
def test_an_address_is_masked_in_whatever_letters_its_scheme_is_written(scheme: str) -> None:
    assert redacted(f"at {scheme}://me:canary-1@cam/1 now") == f"at {scheme}://***@cam/1 now"
    assert "canary" not in redacted(_json(f"{scheme}://me:canary-1@cam/1").replace("/", "\\/"))


@pytest.mark.parametrize("scheme", ["rtsp", "RTSP", "Rtsps"])
def test_a_cameras_address_is_masked_whole_whatever_its_password_holds(scheme: str) -> None:
    said = redacted(f"{scheme}://me:can/ary#1@cam/1?s=canary-2: no frames")
    assert said == f"{scheme}://***@cam/1?***: no frames"


def test_of_tokens_that_are_replaced_the_newest_are_kept() -> None:
    hide(["canary-key"])
    tokens = [f"canary-token-{number:03}" for number in range(100)]
    for token in tokens:
        hide_tokens(token)
    assert redacted(f"{tokens[-1]} {tokens[-2]} canary-key") == "*** *** ***"
    assert len(redaction._hidden) < 20


def test_what_was_redacted_stays_so() -> None:
    hide(SECRETS)
    for form in FORMS.values():
        once = redacted(" ".join(form(secret) for secret in SECRETS))
        assert redacted(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "key: user-1/logo/logo_1.png", "booking b1: 18:00 to 19:00", "rtsp://cam.local:554/stream",
        "https://x.co/pkg@1.2/index.js", "GET https://x.supabase.co/rest/v1/bookings?select=id", "eyJ",
        "a@b.co", "it took 3:07, see http://127.0.0.1:8000/a", 'camera "rtsp://cam/1": no frames', "",
    ],
)  # fmt: skip
def test_plain_lines_stay_as_they_are(text: str) -> None:
    hide(SECRETS)
    assert redacted(text) == text


HOSTILE = {
    "backslashes": "\\",
    "heads of tokens": "eyJ",
    "heads and dots": "eyJa.",
    "schemes": "rtsp://",
    "schemes and colons": "://a:",
    "at signs": "://@",
    "names": "token",
    "names and quotes": 'token="',
    "names and blanks": "token ",
    "escaped quotes": '\\"',
    "keys": "sb_secret_",
    "bearers": "Bearer ",
    "percents": "%25",
    "half of a secret": "canary-Pass/w0rd",
    "the secret": "canary-Pass/w0rd+?",
    "quotes": 'p\\\\\\"',
    "one word": "x",
    "blanks": " ",
    "ampersands": "&#",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_it_costs_no_more_than_its_length(what: str) -> None:
    """Eight times the length: about eight times the time, where a quadratic pattern takes sixty-four."""
    hide(SECRETS)
    piece = HOSTILE[what]

    def took(length: int) -> float:
        text = (piece * (length // len(piece) + 1))[:length]
        best = float("inf")
        for _ in range(3):
            began = time.process_time()
            redacted(text)
            best = min(best, time.process_time() - began)
        return best

    short, long = took(12_000), took(96_000)
    assert long < 24 * short + 0.02
    assert long < 1.0
