"""`ezrec config`: the settings in force, secrets masked, and where each one comes from."""

from __future__ import annotations

import os

import click

from ezrec.cli.drawing import columns
from ezrec.cli.formatting import printable
from ezrec.cli.main import Context
from ezrec.settings import DEFAULT_HOME, Settings
from ezrec.settings.definitions import TABLE
from ezrec.settings.sources import KEPT, credentials, env_file, one_a_file


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For machines: name → value.")
@click.pass_obj
def config(obj: Context, as_json: bool) -> None:
    """Show the settings in force, secrets masked, and where each one comes from."""
    settings = obj.settings
    shown = settings.shown()
    for note in settings.retired_notes():
        click.echo(note, err=True)
    if as_json:
        import json

        click.echo(json.dumps(shown, indent=1))
        return
    origin = _origins(settings)
    click.echo(
        "\n".join(columns([(name, printable(value) or "–", origin[name]) for name, value in shown.items()]))
    )


def _origins(settings: Settings) -> dict[str, str]:
    """By setting: the variable and the place it was read from, in the order in which they win."""
    file = env_file(settings.home / ".env", [])
    secret = {one for found in credentials(os.environ, file, []) for one in found}
    if settings.home == DEFAULT_HOME:
        secret |= set(one_a_file(KEPT, "", []))
    origins = {}
    for item in TABLE:
        name, older = item.metadata["name"], item.metadata["older"]
        origins[name] = "default"
        for variable in (name, *older):
            as_what = "" if variable == name else f" as {variable}"
            if os.environ.get(variable):
                origins[name] = f"environment{as_what}"
                break
            if variable in secret:
                origins[name] = f"credential{as_what}"
                break
            if variable in file and name != "EZREC_HOME":  # which says where the file is
                origins[name] = f".env{as_what}"
                break
    return origins
