"""The piece of an upload that is under way: its size, its age, its fate. Decides by `domain/pieces.py`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from ezrec.domain.pieces import LONGEST_S, Pieces, is_hosted


class Sizes:
    """For one upload. `looks`: who the server is may be told by its answers, and then counts.

    `on_limit` hears the largest piece of a server that has refused a larger one and taken this.
    """

    def __init__(
        self,
        pieces: Pieces,
        *,
        looks: bool = False,
        on_limit: Callable[[int], None] = lambda most: None,
        longest_s: float = LONGEST_S,
    ) -> None:
        self.pieces = pieces
        self._looks, self._on_limit, self._longest_s = looks, on_limit, longest_s
        self._offset = self._length = 0  # of the piece under way; no length: none is
        self._began = 0.0
        self._was_refused = False

    def heard(self, headers: Iterable[str]) -> None:
        if self._looks and is_hosted(headers):
            self.pieces = self.pieces.hosted()

    def begin(self, offset: int, left: int) -> int:
        """The length of the next piece."""
        self._offset, self._length = offset, min(self.pieces.size, left)
        self._began = time.monotonic()
        return self._length

    def is_too_long(self) -> bool:
        """True when a grown piece has had its time. Others have no limit: a line may be that slow."""
        return self.pieces.has_grown(self._length) and time.monotonic() - self._began > self._longest_s

    def taken(self) -> None:
        self.pieces = self.pieces.taken(self._length, time.monotonic() - self._began)
        self._length = 0
        if self._was_refused:
            self._was_refused = False
            self._on_limit(self.pieces.most)

    def refused(self, status: int, *, by_server: bool) -> bool:
        """True when the piece under way was called too large and the next one will be smaller."""
        is_for_size = status == 413
        smaller = self.pieces.refused(self._length) if is_for_size and self._length else None
        if is_for_size or (by_server and status < 500):
            self._length = 0  # whatever else the server has against it, its size is as good as before
        if smaller is None:
            return False
        self.pieces, self._was_refused = smaller, True
        return True

    def resumed(self, offset: int) -> None:
        """The server has named this offset, whatever went before."""
        if self._length:
            self.pieces = self.pieces.cut(self._length, max(0, offset - self._offset))
            self._length = 0
