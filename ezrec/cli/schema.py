"""`ezrec schema`: the SQL that a Supabase project needs."""

from __future__ import annotations

import click


@click.command()
def schema() -> None:
    """Print the reference SQL: tables, indexes and narrow policies for device accounts.

    Safe to apply more than once: paste it into the project's SQL editor.
    """
    from ezrec.cloud.supabase.schema import reference

    click.echo(reference(), nl=False)
