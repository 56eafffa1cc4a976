"""Boxes with a booted systemd, one a test; `run.sh` says whether they can be had."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.appliance import Appliance


@pytest.fixture(scope="session")
def tree() -> Path:
    """What lies in /opt/ezrec: made by `build.sh`, which `run.sh` calls."""
    where = os.environ.get("EZREC_APPLIANCE")
    if not where:
        pytest.fail("these tests are started by `make test-systemd`, which prepares the box")
    return Path(where)


@pytest.fixture
def box(tmp_path: Path, tree: Path) -> Iterator[Appliance]:
    """A box that has booted; nothing of EZREC runs yet."""
    before = os.umask(0o007)
    made = Appliance(tmp_path, tree)
    try:
        made.bed.up()
        made.open()
        yield made
    finally:
        made.bed.cut()
        os.umask(before)
