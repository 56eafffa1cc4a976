"""The last seconds in memory: where fragments lie on the clock, where a take begins, what is forgotten."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from ezrec.camera.ring_buffer import BufferedFragment, RingBuffer, Timeline
from tests.fakes.camera import GOP_S, footage

MANY = 1 << 30


def pieces(count: int, began: float = 100.0) -> list[BufferedFragment]:
    return [BufferedFragment(f, began + f.pts_s) for f in itertools.islice(footage(began), count)]


def filled(seconds: float, most_bytes: int, count: int) -> RingBuffer:
    ring = RingBuffer(seconds, most_bytes)
    for piece in pieces(count):
        ring.add(piece)
    return ring


@pytest.mark.parametrize(
    ("moment", "begins"),
    [(102.5, 102.0), (102.0, 102.0), (101.99, 101.0), (500.0, 103.0), (90.0, 100.0)],
)
def test_a_take_begins_at_the_last_key_frame_at_or_before_the_moment(moment: float, begins: float) -> None:
    found = filled(60, MANY, 20).since(moment)
    assert found[0].began == pytest.approx(begins)
    assert found[0].fragment.starts_with_key
    assert found[-1].ended == pytest.approx(104.0, abs=0.01)


def test_a_moment_that_is_forgotten_begins_at_the_first_key_frame_still_there() -> None:
    found = filled(2.5, MANY, 40).since(100.0)
    assert found[0].began == pytest.approx(105.0)


def test_without_a_key_frame_there_is_nothing_to_begin_with() -> None:
    ring = RingBuffer(10, MANY)
    assert ring.since(0) == []
    ring.add(pieces(3)[1])
    assert ring.since(0) == []


@pytest.mark.parametrize(("seconds", "most_bytes"), [(1.5, MANY), (60, 20_000)])
def test_the_ring_stays_within_its_bounds(seconds: float, most_bytes: int) -> None:
    ring = RingBuffer(seconds, most_bytes)
    for piece in pieces(100):
        ring.add(piece)
        kept = ring.since(0)
        assert kept[-1] is piece
        assert kept[-1].ended - kept[0].began <= seconds + 2 * GOP_S
        assert sum(len(p.fragment.data) for p in kept) <= most_bytes


def one_key(count: int) -> list[BufferedFragment]:
    """Pieces of a camera that sends a single key frame, and then none."""
    first, *rest = pieces(count)
    return [first, *(replace(p, fragment=replace(p.fragment, starts_with_key=False)) for p in rest)]


def test_the_newest_key_frame_is_kept_however_long_ago_it_came() -> None:
    ring, sent = RingBuffer(10, MANY), one_key(400)
    for piece in sent:
        ring.add(piece)
    assert ring.since(float("inf")) == sent
    assert ring.rate() == pytest.approx(15)


def test_the_key_frame_before_a_moment_is_kept_while_the_moment_is_within_the_rings_time() -> None:
    ring, gop = RingBuffer(10, MANY), one_key(200)  # 40 s
    following = [replace(p, began=p.began + 40) for p in gop]
    for piece in [*gop, *following[:25]]:  # the second key frame came 5 s ago
        ring.add(piece)
    assert ring.since(138)[0] is gop[0]
    for piece in following[25:60]:
        ring.add(piece)
    assert ring.since(138)[0] is following[0]


def test_a_key_frame_with_more_behind_it_than_memory_has_room_for_goes_as_a_whole() -> None:
    sent = one_key(100)
    bound = sum(len(piece.fragment.data) for piece in sent[:50])
    ring = RingBuffer(10, bound)
    for n, piece in enumerate(sent):
        ring.add(piece)
        assert sum(len(p.fragment.data) for p in ring.since(0)) <= bound
        assert ring.has_key == (n < 50)
    (key,) = pieces(1)
    ring.add(replace(key, began=300.0))
    assert [piece.began for piece in ring.since(0)] == [300.0]


def test_one_piece_larger_than_the_ring_is_still_kept() -> None:
    ring = RingBuffer(10, 1)
    ring.add(pieces(1)[0])
    assert len(ring.since(0)) == 1


def test_the_rate_is_counted_over_what_is_in_memory() -> None:
    assert filled(10, MANY, 2).rate() is None
    assert filled(10, MANY, 30).rate() == pytest.approx(15)


def test_how_late_a_fragment_comes_does_not_move_its_frames() -> None:
    timeline, late = Timeline(), itertools.cycle([0.0, 0.3, 1.7, 0.01])
    for fragment in itertools.islice(footage(50.0), 200):
        placed = timeline.place(replace(fragment, arrived=fragment.arrived + next(late)))
        assert placed.began == pytest.approx(50.0 + fragment.pts_s)


def test_a_camera_whose_clock_runs_slower_or_faster_is_followed() -> None:
    for pace in (0.999, 1.001):
        timeline = Timeline()
        for fragment in itertools.islice(footage(0.0), 3000):
            ended = (fragment.pts_s + fragment.duration_s) * pace
            placed = timeline.place(replace(fragment, arrived=ended))
        assert placed.ended == pytest.approx(ended, abs=0.1)
