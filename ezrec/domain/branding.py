"""When the logo is to be seen: always, at the beginning, or every so often."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_SPAN = r"(\d+(?:\.\d+)?)([smh])"
_FORM = re.compile(rf"always|first:{_SPAN}|every:{_SPAN}/{_SPAN}")
_MOST_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class LogoShow:
    """`shown_s` seconds of every `every_s`, from the first whistle on; both infinite: always."""

    shown_s: float = math.inf
    every_s: float = math.inf

    def __str__(self) -> str:
        if self.is_always:
            return "always"
        if math.isinf(self.every_s):
            return f"first:{self.shown_s:g}s"
        return f"every:{self.every_s:g}s/{self.shown_s:g}s"

    @property
    def is_always(self) -> bool:
        return math.isinf(self.shown_s)

    def spans(self, length_s: float) -> Iterator[tuple[float, float]]:
        """From when to when, in a film of that length."""
        begin = 0.0
        while begin < length_s:
            yield begin, min(length_s, begin + self.shown_s)
            begin += self.every_s


ALWAYS = LogoShow()


def read_logo_show(text: str) -> LogoShow:
    """Reads `always`, `first:10s` or `every:5m/10s`. Raises `ValueError` with what it should look like."""
    match = _FORM.fullmatch(text)
    if not match:
        raise ValueError("must look like always, first:10s or every:5m/10s")
    if text == "always":
        return ALWAYS
    numbers = [
        float(n) * _UNITS[unit]
        for n, unit in zip(match.groups()[::2], match.groups()[1::2], strict=True)
        if n
    ]
    every_s, shown_s = numbers if len(numbers) == 2 else (math.inf, numbers[0])
    if not 1 <= shown_s < min(every_s, _MOST_S):
        raise ValueError("the logo must be shown for a second at least, and for less than the time between")
    return LogoShow(shown_s, every_s)
