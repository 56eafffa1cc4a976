"""Changes are told by one file each, and a release makes CHANGELOG.md of them."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release", ROOT / "changelog" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["release"] = module
    spec.loader.exec_module(module)
    return module


release = load()


def test_every_unreleased_change_is_in_form() -> None:
    for path in sorted((ROOT / "changelog").glob("*/*.md")):
        release.read(path)


@pytest.mark.parametrize(
    "text",
    ["A change\n\nWhy.\n", "Bugfix: a change\nWhy.\n", "Bugfix: a change\n\n", "Bugfix: x\n\nOne.\n\nTwo.\n"],
    ids=["no-kind", "no-empty-line", "no-text", "two-paragraphs"],
)  # fmt: skip
def test_a_change_out_of_form_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.md"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"odd\.md"):
        release.read(path)


def test_a_release_puts_the_changes_before_the_older_ones(tmp_path: Path) -> None:
    for name in ("CHANGELOG.md", "changelog/release.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    waiting = tmp_path / "changelog" / "unreleased"
    waiting.mkdir()
    (waiting / "b.md").write_text("Enhancement: a second thing\n\nIt was missing. It is there.\n")
    (waiting / "a.md").write_text("Bugfix: a first thing.\n\nIt failed,\nand now it does not.\n")
    subprocess.run(
        [sys.executable, "changelog/release.py", "9.8.7"],
        cwd=tmp_path, check=True, timeout=60, capture_output=True,
    )  # fmt: skip
    page = (tmp_path / "CHANGELOG.md").read_text()
    assert page.index("## 9.8.7 (") < page.index(
        "- **Bugfix: a first thing.** It failed, and now it does not."
    )
    second = page.index("- **Enhancement: a second thing.**")
    assert page.index("a first thing") < second < page.index("## 0.2.0")
    assert sorted(path.name for path in (tmp_path / "changelog" / "9.8.7").iterdir()) == ["a.md", "b.md"]
    assert list(waiting.iterdir()) == []
