"""Makes a section of CHANGELOG.md of the files in `changelog/unreleased/`.

`python changelog/release.py 0.3.0`. The standard library alone: it runs before anything is installed. Changes
nothing when one file is not in form.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

KINDS = ("Security", "Bugfix", "Change", "Enhancement")  # the order in which people read them
HERE = Path(__file__).parent
PAGE = HERE.parent / "CHANGELOG.md"
_FIRST = re.compile(rf"({'|'.join(KINDS)}): (\S.*[^.\s])\.?")


@dataclass(frozen=True, slots=True)
class Entry:
    """One change: its kind, what happens now in one sentence, and the paragraph that explains it."""

    kind: str
    title: str
    text: str


def read(path: Path) -> Entry:
    """Raises `ValueError` that names the file and what its form must be."""
    first, _, rest = path.read_text(encoding="utf-8").partition("\n")
    found = _FIRST.fullmatch(first)
    if not found:
        raise ValueError(f"{path.name}: line 1 must be `{'`, `'.join(KINDS)}`, a colon, and a sentence")
    if not rest.startswith("\n") or not rest.strip() or "\n\n" in rest.strip():
        raise ValueError(f"{path.name}: an empty line must follow line 1, and then one paragraph")
    return Entry(found[1], found[2], " ".join(rest.split()))


def unreleased(folder: Path = HERE / "unreleased") -> list[Entry]:
    """The changes since the last release, by kind. Raises `ValueError`."""
    entries = [read(path) for path in sorted(folder.glob("*.md"))]
    return sorted(entries, key=lambda entry: KINDS.index(entry.kind))


def section(version: str, day: str, entries: list[Entry]) -> str:
    """The text of one release, from its heading to an empty line."""
    lines = [f"## {version} ({day})", ""]
    lines += [f"- **{entry.kind}: {entry.title}.** {entry.text}" for entry in entries]
    return "\n".join([*lines, "", ""])


def with_section(page: str, made: str) -> str:
    """The page with the new release before the older ones."""
    head, mark, older = page.partition("\n## ")
    return head + "\n" + made + mark.removeprefix("\n") + older


def main(version: str) -> int:
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        print(f"release: {version!r} is not a version such as 0.3.0", file=sys.stderr)
        return 1
    try:
        entries = unreleased()
    except ValueError as fault:
        print(f"release: {fault}", file=sys.stderr)
        return 1
    if not entries:
        print("release: nothing is in changelog/unreleased/", file=sys.stderr)
        return 1
    made = section(version, f"{datetime.now(UTC):%Y-%m-%d}", entries)
    PAGE.write_text(with_section(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")
    kept = HERE / version
    kept.mkdir()
    for path in sorted((HERE / "unreleased").glob("*.md")):
        path.rename(kept / path.name)
    print(f"release: {len(entries)} changes stand in CHANGELOG.md; now set the version in ezrec/__init__.py")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) == 2 else ""))
