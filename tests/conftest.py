"""Fixtures that more than one file of tests needs."""

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

from ezrec.domain import redaction
from tests.supabase_server.fixture import project
from tests.support import media, order

__all__ = ["no_secrets_of_others", "project"]


@pytest.fixture(autouse=True)
def no_secrets_of_others() -> Iterator[None]:
    """What a test's settings and accounts hold is no secret in the next one."""
    yield
    redaction.forget()


def pytest_configure(config: pytest.Config) -> None:
    """All workers share what one of them has made; they inherit the place."""
    if media.STORE not in os.environ:
        folder = os.environ[media.STORE] = tempfile.mkdtemp(prefix="ezrec-media-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    items[:] = order.dealt(items, [order.rank(item.nodeid) for item in items], workers)
