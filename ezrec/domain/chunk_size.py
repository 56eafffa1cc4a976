"""How large the pieces of an upload are. Values in, values out.

Each piece costs the server its checks and the line a round trip, so large ones are faster; a line that
breaks off loses more of them where something in between passes on whole requests only. So pieces begin at
what hosted projects ask for, grow on a line that takes them, and fall back at once. None lasts long by the
speed of the one before it: tokens, proxies and whoever wants the line back have limits in time, not in bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

MIB = 1024 * 1024
USUAL = 6 * MIB  # what hosted projects ask for
_LARGEST = 64 * USUAL
_LEAST = 256 * 1024  # what is refused at this size is not refused for its size
_LASTS_S = 20.0
LONGEST_S = 60.0  # a grown piece that takes so long is ended, and what has arrived of it counts
_HOSTED = (".supabase.co", ".supabase.in")
_GATEWAYS = (
    "sb-project-ref",
    "sb-gateway-version",
    "cf-ray",
)  # in answers; a project may have a name of its own


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """The size of the next piece, between `usual` and `most`."""

    most: int = _LARGEST
    usual: int = USUAL
    size: int = 0

    def __post_init__(self) -> None:
        least = min(self.usual, self.most)
        object.__setattr__(self, "size", max(least, min(self.size, self.most)))

    def has_grown(self, length: int) -> bool:
        return length > self.usual

    def taken(self, length: int, seconds: float) -> ChunkSize:
        """After one of `length` bytes was taken in that time."""
        by_line = int(length / max(seconds, 0.001) * _LASTS_S)
        return replace(self, size=min(2 * self.size, by_line))

    def cut(self, length: int, kept: int) -> ChunkSize:
        """After one of `length` bytes broke off, of which the server kept `kept`.

        When nothing is kept of a large one, something in between may take none of its size.
        """
        most = max(self.usual, length // 2) if self.has_grown(length) and not kept else self.most
        return replace(self, most=min(most, self.most), size=0)

    def refused(self, length: int) -> ChunkSize | None:
        """After one of `length` bytes was called too large; None when it cannot be for that."""
        if length <= _LEAST:
            return None
        return replace(self, most=max(_LEAST, min(self.most, length) // 2), size=0)

    def hosted(self) -> ChunkSize:
        """As hosted projects ask for them."""
        return replace(self, most=min(self.most, self.usual))


def pieces(host: str) -> ChunkSize:
    """What to begin with, by who the host is."""
    return ChunkSize().hosted() if host.endswith(_HOSTED) else ChunkSize()


def is_hosted(headers: Iterable[str]) -> bool:
    """Whether an answer with these headers (their names, small letters) came through a hosted gateway."""
    return not set(_GATEWAYS).isdisjoint(headers)
