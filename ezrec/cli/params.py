"""Values that a person types as an option: lengths of time, sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ezrec.cli.formatting import parse_size
from ezrec.domain.durations import parse_duration


class ParsedParam(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since click 8.5
    """A value that `parse` makes of the text; its `ValueError` is shown as wrong usage."""

    parse: Callable[[str], Any]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self.parse(value) if isinstance(value, str) else value
        except (ValueError, OverflowError) as fault:
            return self.fail(str(fault), param, ctx)


class DurationParam(ParsedParam):
    """A length of time such as 90s, 30m, 1h30m, 2d: a `timedelta`."""

    name = "time"
    parse = staticmethod(parse_duration)


class SizeParam(ParsedParam):
    """A number of bytes such as 500MB, 20GB."""

    name = "size"
    parse = staticmethod(parse_size)
