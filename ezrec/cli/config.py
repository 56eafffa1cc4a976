"""`ezrec config`: the settings in force, secrets masked, and where each one comes from; and change one."""

from __future__ import annotations

import os
import sys

import click

from ezrec.cli.drawing import columns
from ezrec.cli.formatting import printable
from ezrec.cli.main import Context
from ezrec.settings import DEFAULT_HOME, Settings
from ezrec.settings.definitions import SECRETS, TABLE
from ezrec.settings.load import defaults
from ezrec.settings.sources import KEPT, credentials, env_file, one_a_file


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For machines: name → value.")
@click.option("--changed", is_flag=True, help="Only what differs from the defaults.")
@click.pass_context
def config(ctx: click.Context, as_json: bool, changed: bool) -> None:
    """Show the settings in force, secrets masked, and where each one comes from."""
    if ctx.invoked_subcommand:
        return
    settings: Settings = ctx.obj.settings
    shown = settings.shown()
    if changed:
        usual = defaults(settings).shown()
        shown = {name: value for name, value in shown.items() if value != usual[name]}
    for note in settings.notes():
        click.echo(note, err=True)
    if as_json:
        import json

        click.echo(json.dumps(shown, indent=1))
        return
    origin = _origins(settings)
    for line in columns([(name, printable(value) or "–", origin[name]) for name, value in shown.items()]):
        click.echo(line)


@config.command("set", context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("value", required=False)
@click.pass_obj
def set_one(obj: Context, name: str, value: str | None) -> None:
    """Write one setting into .env, after a check that EZREC would still start with it.

    An empty VALUE brings back the default. Without VALUE it is asked for, or read from standard input: so a
    password stays out of the shell's history.
    """
    from ezrec.settings import change

    change.known(name)  # first, so that nobody types a value for nothing
    made = change.prepared(name, _typed(name) if value is None else value)
    if made.before == made.after:
        click.echo(f"{made.name} is set so already, in {made.path}")
        return
    made.write()
    click.echo(f"{made.name} is changed in {made.path}")
    if made.name in os.environ:
        click.echo(f"but the environment sets {made.name} too, and wins", err=True)
    click.echo(_in_force(made.name))


def _typed(name: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    text: str = click.prompt(name, hide_input=name in SECRETS, default="", show_default=False)
    return text


def _in_force(name: str) -> str:
    """What to type so that the services read their settings again."""
    from ezrec.install.layout import STARTS, UNITS

    wanted = UNITS / "multi-user.target.wants"
    shape = next((shape for shape, unit in STARTS.items() if (wanted / unit).is_symlink()), None)
    if shape is None:
        return "it counts from the next start of EZREC"
    command = f"systemctl restart {STARTS[shape]}"
    if shape == "split" and name == "EZREC_CAMERA":
        command = "ezrec install --yes"  # which also opens or shuts the recorder's network
    return f"it counts after: sudo {command} – while nothing is recorded (ezrec status)"


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
