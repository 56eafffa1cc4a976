"""How large the chunks of an upload are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ezrec.domain.chunk_size import USUAL, ChunkSize, choose, is_hosted

FAST = 0.01  # seconds: the line bounds nothing


def test_pieces_double_on_a_line_that_takes_them_up_to_a_bound() -> None:
    sizes, now = [], ChunkSize(most=4 * USUAL)
    for _ in range(4):
        sizes.append(now.size)
        now = now.accepted(now.size, FAST)
    assert sizes == [USUAL, 2 * USUAL, 4 * USUAL, 4 * USUAL]


def test_no_chunk_is_larger_than_the_line_carries_in_a_moment() -> None:
    now = ChunkSize()
    for _ in range(9):
        now = now.accepted(now.size, now.size / 1e6)
    assert now.size == 20_000_000
    assert now.accepted(now.size, now.size / 1000).size == USUAL, "the line became slow"


def test_after_a_cut_pieces_are_small_again_and_may_grow_again() -> None:
    grown = ChunkSize(size=16 * USUAL)
    after = grown.cut(16 * USUAL, kept=1)
    assert (after.size, after.most) == (USUAL, grown.most)


def test_a_large_chunk_of_which_nothing_was_kept_does_not_come_again() -> None:
    assert ChunkSize(size=8 * USUAL).cut(8 * USUAL, kept=0).most == 4 * USUAL
    assert ChunkSize().cut(USUAL, kept=0) == ChunkSize(), "that says nothing of sizes"


def test_what_is_called_too_large_is_halved_until_the_size_cannot_be_it() -> None:
    now: ChunkSize | None = ChunkSize(size=2 * USUAL)
    seen = []
    while now is not None:
        seen.append(now.size)
        now = now.refused(now.size)
    assert seen[:4] == [2 * USUAL, USUAL, USUAL // 2, USUAL // 4]
    assert seen[-1] == 256 * 1024


@given(
    some.integers(1, 1 << 40),
    some.lists(some.tuples(some.sampled_from(["taken", "cut", "refused"]), some.floats(0, 1e4)), max_size=30),
)
def test_whatever_happens_a_chunk_has_bytes_and_keeps_within_its_bounds(
    most: int, met: list[tuple[str, float]]
) -> None:
    now = ChunkSize(most=most)
    for what, number in met:
        match what:
            case "taken":
                now = now.accepted(now.size, number)
            case "cut":
                now = now.cut(now.size, int(number))
            case _:
                now = now.refused(now.size) or now
        assert 0 < now.size <= now.most <= most or now.most == 256 * 1024


@pytest.mark.parametrize(
    ("host", "most"),
    [
        ("abcdefgh.supabase.co", USUAL),
        ("abcdefgh.storage.supabase.co", USUAL),
        ("abcdefgh.supabase.in", USUAL),
        ("supabase.club.example", 64 * USUAL),
        ("evil-supabase.co", 64 * USUAL),
    ],
)
def test_hosted_projects_get_what_they_ask_for(host: str, most: int) -> None:
    found = choose(host)
    assert (found.most, found.size) == (most, min(USUAL, most))


def test_a_hosted_gateway_is_known_by_its_answers() -> None:
    assert is_hosted(["content-length", "cf-ray"])
    assert not is_hosted(["content-length", "x-ray"])
