"""Plain lines for a terminal: cells in columns, and text folded to a width. Pure."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Collection, Sequence

GAP = "  "  # between two columns


def column_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column: that of its widest cell."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def columns(
    rows: Sequence[Sequence[str]], widths: Sequence[int] | None = None, right: Collection[int] = ()
) -> list[str]:
    """One line a row, all cells of a column equally wide; `right`: the columns of numbers."""
    widths = column_widths(rows) if widths is None else widths
    shapes = [f"{{:{'>' if n in right else '<'}{width}}}" for n, width in enumerate(widths)]
    shape = GAP.join(shapes).format
    return [shape(*row).rstrip() for row in rows]


@functools.cache
def folded(
    text: str, width: int | None, more: str = "", indent: int = 0, *, whole_words: bool = False
) -> list[str]:
    """`text` in lines of at most `width` (None: one line), at least one line.

    `more` indents the lines that follow the first. `whole_words`: a path or a command longer than a line
    stays whole, to be copied.
    """
    margin = " " * indent
    if width is None or len(text) + indent <= width:
        return [margin + text]
    return textwrap.wrap(
        text, max(width, 30), initial_indent=margin, subsequent_indent=margin + more,
        break_long_words=not whole_words, break_on_hyphens=False,
    )  # fmt: skip
