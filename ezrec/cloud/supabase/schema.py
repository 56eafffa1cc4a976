"""The reference SQL for a Supabase project: what `ezrec schema` prints."""

from __future__ import annotations

from importlib.resources import files


def reference() -> str:
    """Tables, indexes and row-level security; safe to apply more than once."""
    return files(__package__).joinpath("schema.sql").read_text(encoding="utf-8")
