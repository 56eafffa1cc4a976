"""Fixtures that more than one file of tests needs."""

from tests.supabase_server.fixture import project

__all__ = ["project"]
