"""Removes secrets from texts. Used wherever a text leaves the program.

Secrets are what this process knows (`hide`), in every encoding, and what looks like one: keys, tokens, and
what is before the `@` of an address. Only texts for people are treated, never names, states or numbers: a
password may be a word that has a meaning in a record.

The time is linear in the length of the text, which may come from outside: so every repetition in a pattern is
bounded, or consumes what it looked at.
"""

from __future__ import annotations

import base64
import html
import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass, replace
from functools import cache, lru_cache
from typing import Any, TypeVar, cast, get_args, get_type_hints
from urllib.parse import quote, quote_plus

T = TypeVar("T")

HIDDEN = "***"
SHORTEST = 4  # shorter ones would be found in ordinary words
_SHORTEST_IN_BASE64 = 6
_LONGEST = 4096  # characters; of a longer secret a part could remain where a text is cut
_MOST_PASSING = 12  # short-lived tokens to remember, the newest

_ADDRESS = re.compile(r"(:(?:\\{0,15}/){2})([^\s\"'<>]+)")
_OF_A_CAMERA = re.compile(r"rtsps?\Z", re.IGNORECASE)
_BEHIND_HOST = re.compile(r"[/?#\\]")
_JWT = re.compile(r"eyJ[\w-]*(?:\.[\w-]*)*")
_SHORTEST_PARTS = (11, 8)  # of a JWT: its head with `eyJ`, and its claims
_KEY = re.compile(r"sb_(?:secret|publishable)_[\w-]+")
_SIGNED = re.compile(r"([Bb](?:earer|asic|EARER|ASIC) {1,8})[^\s\"',]+")
# By first letters: four times as fast as ignoring case everywhere.
_NAMES = {
    "p": "assword|asswd|wd", "s": "ecret|upabase_key", "t": "oken", "a": "pi[_-]?key|non_key", "r": "ole_key",
}  # fmt: skip
_NAME = "|".join(f"{first}(?i:{rest})" for at, rest in _NAMES.items() for first in (at, at.upper()))
_NAMED = re.compile(
    rf"((?:{_NAME})\\{{0,15}}[\"']?\s{{0,8}}[=:]\s{{0,8}})"
    r"(?:(\\{0,15}[\"'])(?:(?!(?<!\\)\2)[^\n])+|[^&\s\"',;]+)"
)
_PUNCTUATION = re.compile(r"[\])}:;,.]{0,8}\Z")

# The fields of records that hold texts. `_FIXED` are values that the program reads there.
WORDS = frozenset({
    "alarm", "cloud_fault", "cure", "ended_by", "evidence", "held", "last_error", "message", "notes",
    "reason", "remedy", "said", "why",
})  # fmt: skip
_FIXED = frozenset({"still open", "found"})

_hidden: set[str] = set()
_passing: deque[str] = deque()
_guard = threading.Lock()


def hide(secrets: Iterable[str]) -> None:
    """Remove these from every text from now on: plain, and as encoded in a URL, JSON, HTML, a Python literal,
    one of these within another, or base64. Secrets of fewer than 4 characters are ignored.
    """
    with _guard:
        _hidden.update(secret for secret in secrets if len(secret) >= SHORTEST)


def hide_tokens(*tokens: str) -> None:
    """The same for tokens that are soon replaced: only the newest are remembered."""
    with _guard:
        for token in tokens:
            if len(token) >= SHORTEST and token not in _hidden:
                _hidden.add(token)
                _passing.append(token)
        while len(_passing) > _MOST_PASSING:
            _hidden.discard(_passing.popleft())


def forget() -> None:
    """Forget all secrets."""
    with _guard:
        _hidden.clear()
        _passing.clear()


def redacted(text: str, also: Iterable[str] = ()) -> str:
    """`text` without known secrets, those in `also`, keys, tokens, and passwords in addresses."""
    if not text:
        return text
    with _guard:
        known = _hidden | {secret for secret in also if len(secret) >= SHORTEST}
    for secret in sorted(known, key=len, reverse=True):  # the longest first: it may contain another
        for form in _forms(secret):
            text = form.sub(HIDDEN, text)
    if "/" in text:
        text = _ADDRESS.sub(_without_login, text)
    if "eyJ" in text:
        text = _JWT.sub(_without_jwt, text)
    text = _KEY.sub(HIDDEN, text)
    text = _SIGNED.sub(rf"\1{HIDDEN}", text)
    return _NAMED.sub(lambda found: found[1] + (found[2] or "") + HIDDEN, text)


def head(text: str, most: int) -> str:
    """The first `most` characters of the redacted text, without half a secret at the end."""
    if len(text) <= most:
        return redacted(text)
    left = redacted(text[: most + _LONGEST])
    return left[: min(most, max(0, len(left) - _LONGEST))]


def cleaned(value: T) -> T:
    """A dataclass with its text fields (`WORDS`) redacted, and all else as it is."""
    if isinstance(value, tuple):
        return cast("T", tuple(map(cleaned, value)))
    changes: dict[str, Any] = {}
    for name, is_said in _worth_a_look(cast("Any", type(value))):
        before = getattr(value, name)
        after = _without(before) if is_said else cleaned(before)
        if after != before:
            changes[name] = after
    return replace(cast("Any", value), **changes) if changes else value


def _without(said: object) -> object:
    if isinstance(said, tuple):
        return tuple(map(_without, said))
    return redacted(said) if isinstance(said, str) and said not in _FIXED else said


@cache
def _worth_a_look(kind: type) -> tuple[tuple[str, bool], ...]:
    """The fields that are texts (True) or contain some (False)."""
    if not is_dataclass(kind):
        return ()
    hints = get_type_hints(kind)
    found = [(item.name, item.name in WORDS) for item in fields(kind)]
    return tuple((name, is_said) for name, is_said in found if is_said or _holds_words(hints[name]))


def _holds_words(hint: Any) -> bool:
    return bool(isinstance(hint, type) and _worth_a_look(hint)) or any(map(_holds_words, get_args(hint)))


def _without_login(found: re.Match[str]) -> str:
    """An address without user and password; a camera's also without its query, which may hold a token.

    An unescaped password may hold any character, so everything up to the last `@` goes.
    """
    before, rest = found[1], found[2]
    is_camera = _OF_A_CAMERA.search(found.string[max(0, found.start() - 5) : found.start()]) is not None
    at = rest.rfind("@")
    authority = _BEHIND_HOST.split(rest, maxsplit=1)[0]
    if at >= 0 and (is_camera or "@" in authority or ":" in authority):
        rest = HIDDEN + rest[at:]
    where, asked, query = rest.partition("?")
    if is_camera and query:
        end = _PUNCTUATION.search(query)
        rest = f"{where}{asked}{HIDDEN}{end[0] if end else ''}"
    return before + rest


def _without_jwt(found: re.Match[str]) -> str:
    parts = found[0].split(".")
    at = 0
    for part, following in zip(parts, (*parts[1:], ""), strict=True):
        begin = part.find("eyJ")
        if begin >= 0 and len(part) - begin >= _SHORTEST_PARTS[0] and len(following) >= _SHORTEST_PARTS[1]:
            return found[0][: at + begin] + HIDDEN
        at += len(part) + 1
    return found[0]


# ---- the forms of a known secret

_DEEP = 3  # one quoting within another: JSON in JSON in an address


def _in_bytes(text: str) -> str:
    return repr(text.encode("utf-8", "surrogatepass"))[2:-1]


def _in_numbers(text: str) -> str:
    return "".join(char if char.isalnum() and char.isascii() else f"&#{ord(char)};" for char in text)


# How texts are quoted, each as it does it to a part of one.
_QUOTINGS: tuple[Callable[[str], str], ...] = (
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    lambda text: quote(text, safe="", errors="surrogatepass"),
    lambda text: quote(text, errors="surrogatepass"),
    lambda text: quote_plus(text, errors="surrogatepass"),
    html.escape,
    _in_numbers,
    lambda text: repr(text)[1:-1],
    lambda text: ascii(text)[1:-1].replace("'", "\\'"),
    _in_bytes,
)


@lru_cache(maxsize=64)
def _forms(secret: str) -> tuple[re.Pattern[str], ...]:
    """Made when the first text is looked at: that takes milliseconds, and most commands need none of it."""
    found = ["".join(map(_any_form, secret))]
    texts = {secret, *(quoting(secret) for quoting in _QUOTINGS[:4])}
    for data in (text.encode("utf-8", "surrogatepass") for text in sorted(texts)):
        for before in range(3):  # bytes that stand before it in what was encoded
            whole = base64.b64encode(bytes(before) + data).decode()
            core = whole[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]  # what it alone decides
            if len(core) >= _SHORTEST_IN_BASE64:
                found.append("".join(map(_any_alphabet, core)))
    return tuple(map(re.compile, found))


def _any_alphabet(char: str) -> str:
    return {"+": r"(?:[+-]|%2[Bb])", "/": r"(?:\\{0,15}/|_|%2[Ff])"}.get(char, char)


@cache
def _any_form(char: str) -> str:
    """A pattern for one character, however it is quoted."""
    if char.isascii() and char.isalnum():
        return char
    forms = newest = {char}
    for _ in range(_DEEP):
        newest = {quoting(form) for form in newest for quoting in _QUOTINGS} - forms
        forms = forms | newest
    return f"(?i:{'|'.join(map(re.escape, sorted(forms, key=len, reverse=True)))})"
