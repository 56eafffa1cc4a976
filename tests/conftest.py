"""Fixtures that more than one file of tests needs."""

from collections.abc import Iterator

import pytest

from ezrec.domain import redaction
from tests.supabase_server.fixture import project

__all__ = ["no_secrets_of_others", "project"]


@pytest.fixture(autouse=True)
def no_secrets_of_others() -> Iterator[None]:
    """What a test's settings and accounts hold is no secret in the next one."""
    yield
    redaction.forget()
