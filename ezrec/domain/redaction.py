"""What nobody may read is taken out of a text here: the one way, used at every edge where text leaves us.

Two kinds: what this process knows to be secret (`hide`), in whatever form it comes back, and what looks like
a secret: keys, tokens, and whatever stands before the `@` of an address. Only what people read is treated so,
never names, states or numbers: a password may be a word that has a meaning in a record.

Linear in the length of the text: a text that came from outside must not cost more than its length. So every
repetition is bounded, or takes what it looked at.
"""

from __future__ import annotations

import base64
import re
from collections import deque
from collections.abc import Iterable, Iterator

HIDDEN = "***"
SHORTEST = 4  # a shorter one would be found in every second word
_SHORTEST_IN_BASE64 = 6
_MOST_PASSING = 12  # tokens that were in use: of a process that lives for weeks the newest count

_ADDRESS = re.compile(r"(:(?:\\{0,15}/){2})([^\s\"'<>]+)")
_OF_A_CAMERA = re.compile(r"rtsps?\Z", re.IGNORECASE)
_BEHIND_HOST = re.compile(r"[/?#\\]")
_JWT = re.compile(r"eyJ[\w-]*(?:\.[\w-]*)*")
_SHORTEST_PARTS = (11, 8)  # of a JWT: its head with `eyJ`, and its claims
_KEY = re.compile(r"sb_(?:secret|publishable)_[\w-]+")
_SIGNED = re.compile(r"((?:[Bb]earer|[Bb]asic|BEARER|BASIC) {1,8})[^\s\"',]+")
_NAMED = re.compile(
    r"((?:password|passwd|pwd|secret|token|api_?key|(?:supabase|role|anon)_key)\\{0,15}[\"']?\s{0,8}[=:]\s{0,8})"
    r"(?:(\\{0,15}[\"'])(?:(?!(?<!\\)\2)[^\n])+|[^&\s\"',;]+)",
    re.IGNORECASE,
)
_PUNCTUATION = re.compile(r"[\])}:;,.]{0,8}\Z")
_IN_PAGES = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}

_hidden: dict[str, tuple[re.Pattern[str], ...]] = {}
_passing: deque[str] = deque()


def hide(secrets: Iterable[str]) -> None:
    """Let these never be read in anything that this process says or writes: neither plain, nor as they stand
    in an address, in JSON, in a page, in a literal of Python, in one of these within another, or in base64.
    """
    for secret in secrets:
        if len(secret) >= SHORTEST and secret not in _hidden:
            _hidden[secret] = tuple(_forms(secret))


def hide_token(token: str) -> None:
    """The same for a token that is replaced by another before long."""
    if len(token) < SHORTEST or token in _hidden:
        return
    hide([token])
    _passing.append(token)
    if len(_passing) > _MOST_PASSING:
        _hidden.pop(_passing.popleft(), None)


def forget() -> None:
    """Nothing is known to be secret any more."""
    _hidden.clear()
    _passing.clear()


def redacted(text: str, also: Iterable[str] = ()) -> str:
    """`text` without what is hidden, and `also` these; without keys, tokens, and passwords in addresses."""
    known = _hidden | {secret: tuple(_forms(secret)) for secret in also if len(secret) >= SHORTEST}
    for secret in sorted(known, key=len, reverse=True):  # the longest first: another may be a part of it
        for form in known[secret]:
            text = form.sub(HIDDEN, text)
    if "/" in text:
        text = _ADDRESS.sub(_without_login, text)
    if "eyJ" in text:
        text = _JWT.sub(_without_jwt, text)
    text = _KEY.sub(HIDDEN, text)
    text = _SIGNED.sub(rf"\1{HIDDEN}", text)
    return _NAMED.sub(lambda found: found[1] + (found[2] or "") + HIDDEN, text)


def _without_login(found: re.Match[str]) -> str:
    """An address without what stands before its host; a camera's also without its query: it may hold a token.

    A password that is written as it is may hold anything, so up to the *last* `@`.
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


def _forms(secret: str) -> Iterator[re.Pattern[str]]:
    yield re.compile("".join(map(_any_form, secret)))
    data = secret.encode("utf-8", "surrogatepass")
    for before in range(3):  # bytes that stand before it in what was encoded
        whole = base64.b64encode(bytes(before) + data).decode()
        core = whole[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]  # what it alone decides
        if len(core) >= _SHORTEST_IN_BASE64:
            yield re.compile("".join(map(_any_alphabet, core)))


def _any_alphabet(char: str) -> str:
    return {"+": r"(?:[+-]|%2[Bb])", "/": r"(?:\\{0,15}/|_|%2[Ff])"}.get(char, char)


def _any_form(char: str) -> str:
    """A pattern for one character, however it is quoted."""
    if char.isascii() and char.isalnum():
        return char
    data = char.encode("utf-8", "surrogatepass")
    in_address = "".join(f"%(?:25){{0,5}}{byte:02x}" for byte in data)
    in_bytes = "".join(rf"\\{{1,15}}x{byte:02x}" for byte in data)
    units = char.encode("utf-16-be", "surrogatepass")
    in_json = "".join(rf"\\{{1,15}}u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
    in_page = f"&#(?:{ord(char)}|x{ord(char):x});" + (f"|&{_IN_PAGES[char]};" if char in _IN_PAGES else "")
    python = rf"\\{{1,15}}(?:x{ord(char):02x}|U{ord(char):08x})"
    plain = re.escape(char)
    plus = r"|\+" if char == " " else ""
    return rf"(?:\\{{1,15}}{plain}|{plain}|(?i:{in_address}|{in_json}|{in_bytes}|{python}|{in_page}){plus})"
