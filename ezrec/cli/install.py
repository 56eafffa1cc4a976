"""`ezrec install`, `upgrade`, `uninstall`: passed on as typed; a clone has them without click."""

from __future__ import annotations

import click

_WHOLE = {"ignore_unknown_options": True, "help_option_names": []}


def _handed_on(name: str) -> click.Command:
    @click.command(name, context_settings=_WHOLE, add_help_option=False)
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    @click.pass_context
    def command(ctx: click.Context, words: tuple[str, ...]) -> None:
        from ezrec.install.__main__ import main

        try:
            code = main([name, *words])
        except SystemExit as ended:  # argparse has printed help, or what is wrong
            code = 1 if ended.code else 0
        ctx.exit(code)

    return command


install, upgrade, uninstall = (_handed_on(name) for name in ("install", "upgrade", "uninstall"))
