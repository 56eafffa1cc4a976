"""How large the chunks of an upload are. Values in, values out.

Each chunk costs a round trip and checks, so large ones are faster. But some proxies pass on whole requests
only, and then a broken connection loses the whole chunk. So chunks start at the size that hosted projects ask
for, grow while they are accepted, and fall back at once. Their size follows the speed of the last one, so
that none takes long: the limits of tokens and proxies are in seconds, not in bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

MIB = 1024 * 1024
USUAL = 6 * MIB  # what hosted projects ask for
_LARGEST = 64 * USUAL
_LEAST = 256 * 1024  # a chunk this small is not refused for its size
_LASTS_S = 20.0
LONGEST_S = 60.0  # a grown chunk that takes longer is ended; the bytes that arrived are kept
_HOSTED = (".supabase.co", ".supabase.in")
_GATEWAYS = (
    "sb-project-ref",
    "sb-gateway-version",
    "cf-ray",
)  # in answers; a project may have a name of its own


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """The size of the next chunk in bytes, between `usual` and `most`."""

    most: int = _LARGEST
    usual: int = USUAL
    size: int = 0

    def __post_init__(self) -> None:
        least = min(self.usual, self.most)
        object.__setattr__(self, "size", max(least, min(self.size, self.most)))

    def is_grown(self, length: int) -> bool:
        return length > self.usual

    def accepted(self, length: int, seconds: float) -> ChunkSize:
        """After one of `length` bytes was accepted in `seconds`."""
        by_line = int(length / max(seconds, 0.001) * _LASTS_S)
        return replace(self, size=min(2 * self.size, by_line))

    def cut(self, length: int, kept: int) -> ChunkSize:
        """After one of `length` bytes broke off, of which the server kept `kept`.

        When nothing of a grown one was kept, a proxy in between may pass on none of that size.
        """
        most = max(self.usual, length // 2) if self.is_grown(length) and not kept else self.most
        return replace(self, most=min(most, self.most), size=0)

    def refused(self, length: int) -> ChunkSize | None:
        """After one of `length` bytes was refused as too large; None when size cannot be the reason."""
        if length <= _LEAST:
            return None
        return replace(self, most=max(_LEAST, min(self.most, length) // 2), size=0)

    def hosted(self) -> ChunkSize:
        """Limited to what hosted projects ask for."""
        return replace(self, most=min(self.most, self.usual))


def choose(host: str) -> ChunkSize:
    """The size to start with, by the host."""
    return ChunkSize().hosted() if host.endswith(_HOSTED) else ChunkSize()


def is_hosted(headers: Iterable[str]) -> bool:
    """Whether an answer with these header names (in small letters) came through a hosted gateway."""
    return not set(_GATEWAYS).isdisjoint(headers)
