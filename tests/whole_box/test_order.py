"""The order in which the tests run: all of them, the longest first in each worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.order import LONGEST, dealt

ROOT = Path(__file__).parents[2]
NO = len(LONGEST)


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 7, 40])
@pytest.mark.parametrize("count", [0, 1, 3, 20, 101])
def test_no_test_is_lost_or_doubled(workers: int, count: int) -> None:
    for ranks in ([NO] * count, [0] * count, [n % (NO + 1) for n in range(count)]):
        assert sorted(dealt(list(range(count)), ranks, workers)) == list(range(count))


def test_each_worker_begins_with_its_share_of_the_longest() -> None:
    ranks = [NO] * 8 + [1, 0, 2]
    assert dealt(list("abcdefghYXZ"), ranks, 3) == ["X", "a", "b", "Y", "c", "d", "e", "Z", "f", "g", "h"]


@pytest.mark.parametrize("name", LONGEST)
def test_whatever_is_named_as_long_is_there(name: str) -> None:
    file, _, test = name.partition("::")
    assert f"def {test}" in (ROOT / file).read_text()
