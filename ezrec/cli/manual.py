"""`ezrec manual`: the page of `man ezrec`, made of the commands' own help; `ezrec completion`: for shells."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from ezrec import __version__
from ezrec.cli import main
from ezrec.settings.definitions import TABLE

_VERBATIM = "\b\n"  # click: what follows is not to be wrapped
_FILES = (
    ("/opt/ezrec-backend/.env", "the settings; ezrec config set changes one"),
    ("/opt/ezrec-backend/spool", "jobs and footage"),
    ("/opt/ezrec-backend/hooks", "programs of the owner's, called when something happens"),
    ("/opt/ezrec-backend/logs", "a log file for each service; ezrec logs shows them"),
    ("/etc/ezrec/credentials", "keys, one file each, where each part has a unit of its own"),
    ("/opt/ezrec/share/systemd/README.md", "the units, their limits and their hardening"),
)


@click.command()
def manual() -> None:
    """Print the manual page, as man ezrec shows it."""
    click.echo(page(), nl=False)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script with which a shell completes what is typed after ezrec."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main.ezrec, {}, "ezrec", "_EZREC_COMPLETE").source())


def page() -> str:
    """The manual page, in the language of man(7)."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    root = click.Context(main.ezrec, info_name="ezrec")
    yield f'.TH EZREC 1 "" "ezrec {__version__}" "EZREC"'
    yield from _section(
        "NAME", [rf"ezrec \- {_plain('court recorder: bookings in, branded match videos out')}"]
    )
    yield from _section("SYNOPSIS", [".B ezrec", _plain("COMMAND [OPTIONS] [ARGUMENTS]")])
    yield from _section("DESCRIPTION", _text(main.ezrec.help or ""))
    yield ".SH COMMANDS"
    for name, (_, summary) in main.COMMANDS.items():
        yield from _command(name, main.ezrec.get_command(root, name), root, summary)
    yield from _section("NOTES", _text(main.ezrec.epilog or ""))
    yield ".SH SETTINGS"
    for item in TABLE:
        meta = item.metadata
        yield from _entry(meta["name"], meta["help"].replace("`", ""))
    yield ".SH FILES"
    for path, what in _FILES:
        yield from _entry(path, what)
    yield from _section("SEE ALSO", [".BR systemctl (1), ", ".BR journalctl (1)"])


def _command(name: str, command: click.Command | None, parent: click.Context, summary: str) -> Iterator[str]:
    assert command is not None
    ctx = click.Context(command, info_name=name, parent=parent)
    yield f".SS {_plain(ctx.command_path)} {_plain(' '.join(command.collect_usage_pieces(ctx)))}".rstrip()
    yield from _text(command.help or summary)
    if command.context_settings.get("help_option_names") == []:  # it is handed on
        yield from _text(f"Options: {ctx.command_path} --help")
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
        if record and "--help" not in parameter.opts:
            yield from _entry(*record)
    if isinstance(command, click.Group):
        for each in command.list_commands(ctx):
            below = command.get_command(ctx, each)
            if below is not None and not below.hidden:
                yield from _command(each, below, ctx, "")


def _section(title: str, lines: Iterator[str] | list[str]) -> Iterator[str]:
    yield f".SH {title}"
    yield from lines


def _entry(term: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield rf"\fB{_plain(term)}\fR"
    yield _plain(" ".join(text.split())) or r"\&"


def _text(help_text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(help_text.partition("\f")[0])):
        yield ".PP"
        if paragraph.startswith(_VERBATIM):
            yield ".nf"
            yield from map(_plain, paragraph.removeprefix(_VERBATIM).splitlines())
            yield ".fi"
        else:
            yield _plain(" ".join(paragraph.split()))


def _plain(text: str) -> str:
    """A text that troff prints as it is."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped
