"""What the doctor says of the owner's hooks."""

from __future__ import annotations

from pathlib import Path

from ezrec import settings
from ezrec.diagnostics.hook_checks import hooks


def put(root: Path, name: str, mode: int) -> Path:
    path = root / "hooks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def found(root: Path) -> list[tuple[str, str, str]]:
    made = settings.load({"EZREC_HOME": str(root)})
    return [(finding.verdict, finding.evidence, finding.remedy) for finding in hooks(made)]


def test_hooks_are_listed_and_those_that_never_run_are_told(tmp_path: Path) -> None:
    assert found(tmp_path) == []
    put(tmp_path, "done/10-index", 0o755)
    silent = put(tmp_path, "alert/10-mail", 0o644)
    put(tmp_path, "finished/10-mail", 0o755)
    put(tmp_path, "done/.hidden", 0o644)
    put(tmp_path, "samples/done", 0o644)
    unknown = [
        one for one in found(tmp_path) if one[1] == "finished/10-mail never runs: its directory is not known"
    ]
    assert [one[2][:35] for one in unknown] == ["no event is called so: one of incom"]
    assert [one for one in found(tmp_path) if one not in unknown] == [
        ("ok", "done/10-index", ""),
        ("warning", "alert/10-mail never runs: it is not executable", f"sudo chmod +x {silent}"),
    ]
