"""A camera's clock against arrival: what is a jump, what a drift, and what only looks like one."""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from ezrec.camera.device_clock import MARK_S, CameraClock
from ezrec.camera.ring_buffer import BufferedFragment
from ezrec.media.mp4.fragments import BadStream, Fragment, FragmentReader, retimed, with_durations
from tests.fakes.camera import FPS, footage, header
from tests.support.media import box

SCALE = header().timescale
Seconds = Callable[[float], float]


def punctual(real_s: float) -> float:
    return real_s


def stream(seconds: float, *, stamp: Seconds = punctual, late: Seconds = lambda t: 0.0) -> Iterator[Fragment]:
    """15 pictures a second as a muxer cuts them, of a camera whose clock shows `stamp(t)` at the real time t.

    A step that no muxer could carry comes as FFmpeg is told to give it. `late` is how long the picture of the
    real time t is on its way; nothing overtakes.
    """
    base, steps, arrived, key = 0, list[int](), 0.0, True
    for n in range(round(seconds * FPS)):
        real = (n + 1) / FPS  # of the next picture: its arrival completes this one's fragment
        step = stamp(real) - stamp(n / FPS)
        steps.append(round((step if 0 < step <= 3 else MARK_S) * SCALE))
        arrived = max(arrived, 1000 + real + late(real))
        if sum(steps) >= 0.2 * SCALE or (n + 1) % FPS == 0:
            yield muxed(base, steps, key, arrived)
            base, steps, key = base + sum(steps), [], (n + 1) % FPS == 0


def muxed(base: int, steps: Sequence[int], key: bool, arrived: float, late: Sequence[int] = ()) -> Fragment:
    """A fragment as FFmpeg writes it; `late`: how far each picture is shown behind its turn."""
    flags, columns = 0x305, [steps, [10] * len(steps)]
    if late:
        flags, columns = flags | 0x800, [*columns, late]
    table = [value for row in zip(*columns, strict=True) for value in row]
    first = 0x0200_0000 if key else 0x0101_0000
    trun = box(b"trun", struct.pack(f">4I{len(table)}I", flags, len(steps), 0, first, *table))
    tfdt = box(b"tfdt", struct.pack(">IQ", 1 << 24, base))
    traf = box(b"traf", box(b"tfhd", struct.pack(">II", 0x2_0000, 1)) + tfdt + trun)
    data = box(b"moof", box(b"mfhd", bytes(8)) + traf) + box(b"mdat", bytes(10 * len(steps)))
    return FragmentReader().feed(header().data + data, arrived)[0]


def placed(fragments: Iterator[Fragment], told: list[str] | None = None) -> list[BufferedFragment]:
    clock = CameraClock(([] if told is None else told).append)
    return [clock.place(fragment) for fragment in fragments]


def are_seamless(pieces: list[BufferedFragment]) -> bool:
    """Each begins where the one before ends; so read from the bytes that a take writes."""
    reader = FragmentReader()
    data = header().data + b"".join(
        retimed(piece.fragment, n, pieces[0].fragment.base_time) for n, piece in enumerate(pieces, 1)
    )
    read = reader.feed(data, 0.0)
    assert [one.durations for one in read] == [piece.fragment.durations for piece in pieces]
    return all(later.base_time == earlier.end_time for earlier, later in itertools.pairwise(read))


def lasts(pieces: list[BufferedFragment]) -> float:
    """What a take of all of it would say."""
    first, last = pieces[0].fragment, pieces[-1].fragment
    return (last.end_time - first.base_time) / last.timescale


def strays(pieces: list[BufferedFragment]) -> float:
    """How far a picture's place in the take is from the moment at which it was really taken, at the most."""
    begins = itertools.accumulate(
        (ticks for piece in pieces for ticks in piece.fragment.durations), initial=0
    )
    return max(abs(at / SCALE - n / FPS) for n, at in enumerate(begins))


def jumping(at: float, by: float) -> Seconds:
    return lambda t: t + by * (t >= at)


def one_in_75(wrong: float) -> Seconds:
    return lambda t: t + wrong * (round(t * FPS) % 75 == 40)


@pytest.mark.parametrize("by", [3600.0, -3600.0, -40.0, 1e9, -1e9, 30.0, 2.0, 0.8, -0.5, -0.07])
def test_a_jump_of_the_cameras_clock_is_closed_up_and_told(by: float) -> None:
    told: list[str] = []
    pieces = placed(stream(40, stamp=jumping(20, by)), told)
    assert strays(pieces) < 0.15
    assert are_seamless(pieces)
    assert pieces[-1].ended == pytest.approx(1040, abs=0.2)
    assert len(told) == 1
    assert "clock jumped" in told[0]


def test_a_jump_within_the_first_seconds_is_closed_up_too() -> None:
    assert strays(placed(stream(20, stamp=jumping(1.5, -3600)))) < 0.15
    assert strays(placed(stream(20, stamp=jumping(0.2, 3600)))) < 0.5


def test_many_jumps_leave_no_trace_of_their_sum() -> None:
    pieces = placed(stream(120, stamp=lambda t: t + 1000 * (int(t / 9) % 3)))
    assert strays(pieces) < 0.2
    assert are_seamless(pieces)


def test_a_single_frame_that_is_stamped_wrong_moves_no_other() -> None:
    for wrong in (30.0, -30.0, 0.6):
        assert strays(placed(stream(60, stamp=one_in_75(wrong)))) < 0.7


def test_a_pause_of_a_camera_that_sets_its_clock_stays_a_pause() -> None:
    sent, is_set = list[Fragment](), False
    for fragment in stream(40, stamp=jumping(20, 3600)):
        is_set = is_set or fragment.last_duration == MARK_S * SCALE
        sent.append(replace(fragment, arrived=fragment.arrived + 2 * is_set))
    assert lasts(placed(iter(sent))) == pytest.approx(42, abs=0.3)


LATE: dict[str, Seconds] = {
    "jitter": lambda t: random.Random(int(t * 1000)).random() * 0.4,
    "a burst at the start": lambda t: max(0.0, 6 - t),
    "stalls of 2.5 s, flushed at once": lambda t: max(0.0, 2.5 - t % 20) if t > 15 else 0.0,
    "a stall that is worked off slowly": lambda t: max(0.0, 3 - (t - 20) / 4) if t > 20 else 0.0,
    "a slow line for half a minute": lambda t: 1.5 * (20 < t < 50),
}


@pytest.mark.parametrize("late", LATE.values(), ids=list(LATE))
def test_pictures_that_come_late_keep_their_stamps_to_the_tick(late: Seconds) -> None:
    told: list[str] = []
    sent = list(stream(70, late=late))
    pieces = placed(iter(sent), told)
    assert [piece.fragment for piece in pieces] == sent  # not a byte is touched
    assert told == []
    assert max(abs(piece.began - 1000 - piece.fragment.pts_s) for piece in pieces[60:]) < 0.1


def test_a_jump_is_seen_through_the_jitter_of_a_network() -> None:
    for by in (3600.0, -40.0, 1.5):
        assert strays(placed(stream(60, stamp=jumping(30, by), late=LATE["jitter"]))) < 0.6


def test_a_camera_that_leaves_out_pictures_is_no_camera_whose_clock_jumps() -> None:
    told: list[str] = []
    sent, base = list[Fragment](), 0
    for n, fragment in enumerate(stream(60)):
        steps = [*fragment.durations[:-1], fragment.last_duration + (SCALE if n % 40 == 30 else 0)]
        sent.append(muxed(base, steps, fragment.starts_with_key, 1000 + (base + sum(steps)) / SCALE))
        base += sum(steps)
    assert [piece.fragment for piece in placed(iter(sent), told)] == sent
    assert told == []


@pytest.mark.parametrize("rate", [1.001, 0.999, 1.02, 0.98, 1.1, 0.9, 2.0, 0.5])
def test_a_clock_that_runs_fast_or_slow_is_re_timed_and_told(rate: float) -> None:
    told: list[str] = []
    clock = CameraClock(told.append)
    pieces = [clock.place(fragment) for fragment in stream(600, stamp=lambda t: t * rate)]
    later = [piece for piece in pieces if piece.began > 1015]  # behind the settling
    assert lasts(later) == pytest.approx(585, abs=1.2)
    assert later[-1].ended == pytest.approx(1600, abs=0.3)
    assert are_seamless(pieces)
    assert len(told) == 1
    assert ("fast" if rate > 1 else "slow") in told[0]
    assert clock.fault.startswith("its clock runs")


def test_two_crystals_that_differ_as_they_do_are_left_alone_for_an_hour() -> None:
    sent = list(stream(3600, stamp=lambda t: t * 1.00005))
    told: list[str] = []
    assert [piece.fragment for piece in placed(iter(sent), told)] == sent
    assert told == []


def test_a_clock_that_stands_still_is_replaced_by_the_arrival() -> None:
    told: list[str] = []
    pieces = placed(stream(60, stamp=lambda t: 5.0), told)
    assert lasts(pieces) == pytest.approx(60, abs=0.5)
    assert are_seamless(pieces)


def test_stamps_that_go_to_and_fro_end_the_stream_and_only_after_it_was_good() -> None:
    def scrambled(t: float) -> float:
        return t if t < 20 else t - 40 * (int(t * 15) % 2)

    with pytest.raises(BadStream, match="to and fro"):
        placed(stream(40, stamp=scrambled))
    assert placed(stream(10, stamp=lambda t: t - 40 * (int(t * 15) % 2)))


def test_pictures_shown_out_of_their_order_keep_it_when_they_are_re_timed() -> None:
    steps, late = [1024] * 6, [1024, 3072, 0, 0, 3072, 0]
    halved = with_durations(muxed(0, steps, True, 0.0, late), [512] * 6)
    run = halved.data.index(b"trun")
    rows = struct.unpack_from(">18I", halved.data, run + 20)
    assert rows == tuple(value for delay in late for value in (512, 10, delay // 2))
    assert halved.data.endswith(bytes(60))
    (data_at,) = struct.unpack_from(">I", halved.data, run + 12)
    assert data_at == 0  # the muxer of this test says nothing of it; a real one is read in the test below


def test_a_real_fragment_finds_its_media_data_when_its_table_has_grown() -> None:
    first = next(footage())
    run = first.data.index(b"trun")
    (flags,) = struct.unpack_from(">I", first.data, run + 4)
    made = with_durations(first, [ticks + n for n, ticks in enumerate(first.durations)])
    places = [struct.unpack_from(">I", one.data, run + 12)[0] for one in (first, made)]
    grown = 0 if flags & 0x100 else 4 * first.frames
    assert places[1] == places[0] + grown
    assert made.data[places[1] :] == first.data[places[0] :]
    (again,) = FragmentReader().feed(header().data + made.data, first.arrived)
    assert again == made
