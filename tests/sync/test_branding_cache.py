"""Several logos: where they stand, and that every way of making a video shows them there."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from ezrec.domain.branding import LogoLayout, LogoPosition, around, arrange, read_logo_show
from ezrec.domain.ports import RenderOptions, RenderPlan
from ezrec.media.render.renderer import FfmpegTranscoder
from tests.support import media, videos
from tests.support.rendering import deaf

FRAME = (320, 180)
APART = LogoLayout(sponsor_corner="top-left")


@pytest.mark.parametrize(
    ("logo", "sponsors", "layout", "places"),
    [
        ((64, 32), [], LogoLayout(), [LogoPosition(246, 138, 64, 32)]),
        ((400, 300), [], LogoLayout(), [LogoPosition(250, 125, 60, 45)]),
        (
            (64, 32), [(40, 20), (20, 20)], LogoLayout(),
            [LogoPosition(246, 138, 64, 32), LogoPosition(196, 150, 40, 20), LogoPosition(166, 150, 20, 20)],
        ),
        (
            (64, 32), [(40, 20), (20, 20)], APART,
            [LogoPosition(246, 138, 64, 32), LogoPosition(10, 10, 40, 20), LogoPosition(60, 10, 20, 20)],
        ),
        (None, [(40, 20)], LogoLayout(), [LogoPosition(270, 150, 40, 20)]),
        (None, [(480, 20)], LogoLayout(sponsor_size=10), [LogoPosition(278, 169, 32, 1)]),
    ],
)  # fmt: skip
def test_logos_stand_in_rows_from_their_corners(
    logo: tuple[int, int] | None,
    sponsors: list[tuple[int, int]],
    layout: LogoLayout,
    places: list[LogoPosition],
) -> None:
    assert arrange(FRAME, logo, sponsors, layout) == places


def test_a_row_that_is_too_wide_is_made_smaller_as_a_whole() -> None:
    places = arrange((320, 180), (200, 20), [(200, 20)] * 3, LogoLayout(size=50, sponsor_size=50))
    assert all(place.x >= 0 and place.width > 0 for place in places)
    ends = sorted((place.x, place.x + place.width) for place in places)
    assert all(left[1] < right[0] for left, right in pairwise(ends))


def test_what_holds_them_all_lies_on_even_pixels() -> None:
    assert around([LogoPosition(11, 7, 4, 4), LogoPosition(20, 9, 3, 6)]) == LogoPosition(10, 6, 14, 10)


@pytest.mark.parametrize(("show", "rung"), [("always", "encode"), ("always", "parts"), ("first:1s", "smart")])
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_all_logos_are_shown_where_they_belong(show: str, rung: str, ending: str, tmp_path: Path) -> None:
    take = media.make_take(tmp_path / "t.mp4", seconds=4, filters=videos.NOISE)
    plan = RenderPlan(
        takes=[take], output=tmp_path / "out.mp4", log=tmp_path / "l.log",
        logo=media.make_logo(tmp_path / f"l.{ending}"),
        options=RenderOptions(cache=tmp_path / "cache", logo_show=read_logo_show(show)),
        parts=tmp_path / "parts" if rung == "parts" else None,
        sponsors=[
            media.make_logo(tmp_path / f"s1.{ending}", (40, 20), "yellow"),
            media.make_logo(tmp_path / "s2.png", (20, 20), "white", alpha=0.0),
        ],
    )  # fmt: skip
    FfmpegTranscoder(bitrate=2_000_000, preset="ultrafast").render(plan, deaf, deaf)
    assert json.loads((tmp_path / "processing.json").read_bytes())["rung"] == rung
    picture = media.picture_at(plan.output, 0.5)
    assert picture.colour(250, 142) == picture.colour(306, 166) == "lime"
    assert picture.colour(200, 154) == picture.colour(232, 166) == "yellow"
    assert picture.colour(176, 160) == "blue"  # a sponsor's logo that is transparent
    assert picture.colour(241, 160) == picture.colour(215, 140) == picture.colour(9, 9) == "blue"
    assert media.picture_at(plan.output, 3.5).colour(250, 142) == ("lime" if show == "always" else "blue")
