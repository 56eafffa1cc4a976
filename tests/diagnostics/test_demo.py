"""The demonstration's own parts: its contact sheet, and the folders that it leaves."""

from __future__ import annotations

from pathlib import Path

from ezrec.diagnostics.demo import forget_earlier, make_contact_sheet
from tests.support import media


def test_the_contact_sheet_shows_both_sides_of_a_cut_and_what_is_missing_between(tmp_path: Path) -> None:
    before = media.make_take(tmp_path / "a.mp4", 2, colour="lime")
    sheet = tmp_path / "sheet.png"
    make_contact_sheet(before, sheet, 0.3, 2.0, cut_s=1.0, missing_s=1.5)
    picture = media.picture_at(sheet, 0)
    places = (20, 430 + 20, 860 + 20)
    assert [picture.colour(x, 244 + 20) for x in places] == ["lime", "red", "lime"], "a card in red between"


def test_earlier_folders_go_but_the_newest_and_what_is_not_ours(tmp_path: Path) -> None:
    for name in ("20260101-100000", "20260102-100000", "20260103-100000"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "demo.log").touch()
    for name in ("holiday", "20250101-100000"):
        (tmp_path / name).mkdir()
    assert forget_earlier(tmp_path) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "20250101-100000", "20260103-100000", "holiday",
    ]  # fmt: skip
    assert forget_earlier(tmp_path / "nowhere") == 0
