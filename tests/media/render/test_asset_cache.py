"""The media cache: whole files only, bounded, and indifferent to what kills left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ezrec.media.ffmpeg.probe_cache import ProbeCache
from ezrec.media.render.asset_cache import AssetCache, key_of


def fine(path: Path) -> None:
    """Whatever is there will do."""
    path.stat()


def holding(data: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(data)

    return make


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    cache = AssetCache(tmp_path / "cache")
    path, made = cache.have("a", holding(b"one"), fine)
    assert (path.read_bytes(), made) == (b"one", True)
    assert cache.have("a", holding(b"two"), fine) == (path, False)
    assert path.read_bytes() == b"one"


def test_what_fails_while_it_is_made_is_not_there(tmp_path: Path) -> None:
    cache = AssetCache(tmp_path)

    def half(path: Path) -> None:
        path.write_bytes(b"ha")
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        cache.have("a", half, fine)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_what_a_kill_left_half_made_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "dead.new").write_bytes(b"ha")
    AssetCache(tmp_path).have("a", holding(b"one"), fine)
    assert not (tmp_path / "dead.new").exists()


@pytest.mark.parametrize("bounds", [{"most_files": 3}, {"most_bytes": 350}])
def test_it_forgets_what_was_not_used_for_longest(bounds: dict[str, int], tmp_path: Path) -> None:
    cache = AssetCache(tmp_path, **bounds)
    for key in ("a", "b", "c", "a", "d"):
        cache.have(key, holding(bytes(100)), fine)
    assert sorted(path.stem for path in tmp_path.glob("*.made")) == ["a", "c", "d"]


def test_a_key_follows_the_content_and_the_recipe_but_no_name(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"same")
    two.write_bytes(b"same")
    first, second = ProbeCache().digest(one), ProbeCache().digest(two)
    assert key_of(first, "x") == key_of(second, "x") != key_of(first, "y")
    two.write_bytes(b"other")
    assert key_of(first, "x") != key_of(ProbeCache().digest(two), "x")
