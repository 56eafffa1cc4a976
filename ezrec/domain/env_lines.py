"""How a line of `.env` is written and read: `NAME=value`, quoted as python-dotenv reads it.

python-dotenv cannot do two things that are done here: quote a value so that it comes back whole, and read a
quoted value that ends with a backslash, as in `'it\\\\'`. It reads on to the next quote anywhere in the file,
so `set_apart` takes such values out first.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*)")
_PLAIN = re.compile(r"[\w./:@%+,=-]*")
_COMMENT = re.compile(
    r"(?<!\s)\s+#.*"
)  # without the look behind, a line of blanks is read once for each of them
_REST = r"\s*(?:#.*)?"
_SINGLE = re.compile(rf"'((?:[^'\\]|\\.)*)'{_REST}")
_DOUBLE = re.compile(rf'"((?:[^"\\]|\\.)*)"{_REST}')
_LOOSE = re.compile(rf"""(['"])(.*)\1{_REST}""")
_SINGLE_ESCAPES = re.compile(r"\\[\\']")
_DOUBLE_ESCAPES = re.compile(r"\\[\\'\"abfnrtv]")
_ENDS_OPEN = re.compile(rf"'(?:[^'\\]|\\.)*\\\\'{_REST}")
_NEVER = ("\n", "\r", "\0")


def lines(text: str) -> list[str]:
    """The lines of a text. Not `splitlines`, which also splits at characters that a password may hold."""
    parts = re.split(r"\r\n|\n|\r", text)
    return parts if parts[-1] else parts[:-1]


def setting(line: str) -> tuple[str, str] | None:
    """The name that a line sets, and the text right of `=`; None for any other line."""
    found = _LINE.fullmatch(line.strip())
    return (found[1], found[2]) if found else None


def is_writable(value: str) -> bool:
    """False for what a line cannot hold: line breaks, NUL, and lone surrogates."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return not any(char in value for char in _NEVER)


def quoted(value: str) -> str:
    """A value in the form that goes right of `=`."""
    if _PLAIN.fullmatch(value) or (value.endswith("\\") and _is_whole_without_quotes(value)):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def line(name: str, value: str) -> str:
    return f"{name}={quoted(value)}"


def rewritten(text: str, sets: Mapping[str, str], drops: Collection[str] = frozenset()) -> str:
    """The text with `sets` set and `drops` removed; every comment, and every other line, as it was."""
    left, kept = dict(sets), []
    for each in lines(text):
        one = setting(each)
        name = one[0] if one else ""
        if name in drops:
            continue
        if one and name in sets:
            if name in left:
                new = line(name, left[name]) + _comment(one[1])
                kept.append(each if value_of(one[1]) == left[name] else new)
                del left[name]
            continue
        kept.append(each)
    kept += [line(name, value) for name, value in left.items()]
    return "\n".join(kept) + "\n"


def _comment(right: str) -> str:
    """What stands behind a value, to be put behind another."""
    for pattern in (_SINGLE, _DOUBLE, _LOOSE):
        if whole := pattern.fullmatch(right):
            return right[whole.end(pattern.groups) + 1 :]
    found = _COMMENT.search(right)
    return found[0] if found else ""


def _is_whole_without_quotes(value: str) -> bool:
    return value == value.strip() and value[0] not in "'\"" and not _COMMENT.search(value)


def value_of(right: str) -> str:
    """Reads the text right of `=` as python-dotenv does, and also what that cannot read."""
    for pattern, escapes in ((_SINGLE, _SINGLE_ESCAPES), (_DOUBLE, _DOUBLE_ESCAPES)):
        if whole := pattern.fullmatch(right):
            return escapes.sub(_unescaped, whole[1])
    if loose := _LOOSE.fullmatch(right):
        escapes = _SINGLE_ESCAPES if loose[1] == "'" else _DOUBLE_ESCAPES
        return escapes.sub(_unescaped, loose[2])
    return _COMMENT.split(right)[0]


def _unescaped(escape: re.Match[str]) -> str:
    return codecs.decode(escape[0], "unicode-escape")


@dataclass(frozen=True, slots=True)
class Apart:
    """A text that python-dotenv reads correctly, and the texts that `put_back` restores in its values."""

    text: str
    rights: tuple[str, ...]

    def put_back(self, values: Mapping[str, str | None]) -> dict[str, str]:
        found = {name: value for name, value in values.items() if value}
        for number, right in enumerate(self.rights):
            for name, value in found.items():
                mark = _mark(number)
                found[name] = value_of(right) if value == mark else value.replace(mark, right)
        return found


def set_apart(text: str) -> Apart:
    """Replace each value that python-dotenv cannot read by a mark."""
    kept: list[str] = []
    rights: list[str] = []
    for line in lines(text):
        found = setting(line)
        if found and _ENDS_OPEN.fullmatch(found[1]):
            kept.append(f"{found[0]}={_mark(len(rights))}")
            rights.append(found[1])
        else:
            kept.append(line)
    return Apart("\n".join(kept) + "\n", tuple(rights))


def _mark(number: int) -> str:
    return f"\ue000{number}\ue000"  # private-use characters: in nobody's settings
