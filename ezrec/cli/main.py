"""`ezrec`: the root of the command line. Finds the command, and turns what it raises into an exit code.

A command's module is imported only when that command runs; so its line of `ezrec --help` stands in the table
below.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import stat
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ezrec import __version__
from ezrec.domain import errors
from ezrec.domain.redaction import hide, redacted

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType

    from click.shell_completion import CompletionItem

    from ezrec.cloud.local.backend import LocalBackend
    from ezrec.domain.ports import Clock
    from ezrec.settings import Settings
    from ezrec.spool.spool import Spool

COMMANDS = {
    "run": ("ezrec.cli.run:run", "record, process and upload until stopped"),
    "status": ("ezrec.cli.status:status", "show whether all is well, what is stuck, and what to type"),
    "explain": ("ezrec.cli.explain:explain", "say why there is a video, or none, and what happens next"),
    "alerts": ("ezrec.cli.alerts:alerts", "list what is wrong; put away what you have seen"),
    "logs": ("ezrec.cli.logs:logs", "show what the services wrote, and follow it"),
    "spool": ("ezrec.cli.spool:spool", "list the jobs; add, retry, hold, remove"),
    "doctor": ("ezrec.cli.doctor:doctor", "check this machine: what is wrong, and how to fix it"),
    "camera": ("ezrec.cli.camera:camera", "list the cameras, test one, take a picture"),
    "demo": ("ezrec.cli.demo:demo", "watch one booking go from camera to video, in 40 s"),
    "local": ("ezrec.cli.local:local", "book, and list videos, on the local backend"),
    "config": ("ezrec.cli.config:config", "show the settings in force; change one"),
    "schema": ("ezrec.cli.schema:schema", "print the SQL that a Supabase project needs"),
    "install": ("ezrec.cli.install:install", "install EZREC on this machine (root)"),
    "upgrade": ("ezrec.cli.install:upgrade", "go to a newer version, or back to the last (root)"),
    "import-legacy": ("ezrec.cli.legacy:import_legacy", "copy in the recordings that the older EZREC left"),
    "uninstall": (
        "ezrec.cli.install:uninstall",
        "remove EZREC; spool, footage, settings and keys stay (root)",
    ),
    "completion": ("ezrec.cli.manual:completion", "print what completes commands in bash, zsh or fish"),
    "manual": ("ezrec.cli.manual:manual", "print the page of `man ezrec`"),
    "run-stage": ("ezrec.cli.run:run_stage", "do the work that is due in one stage, then end"),
    "pulse": ("ezrec.cli.run:pulse", "run a periodic task once: sync, status, logs and others"),
}

_SECTIONS = {
    "Every day": ("status", "alerts", "explain", "spool", "local", "logs", "camera"),
    "Set up and repair": (
        "doctor", "config", "demo", "install", "upgrade", "uninstall", "import-legacy", "schema",
        "manual", "completion",
    ),
    "What the services call": ("run", "run-stage", "pulse"),
}  # fmt: skip
# Asked by the installer, and shown to nobody.
HIDDEN = {"setup": ("ezrec.cli.setup:setup", "what the installer asks of the program")}

OK, USAGE, NO_SUCH_JOB, REFUSED, BUSY, TEMPORARY, CONFIGURATION = 0, 1, 2, 3, 4, 75, 78
WARNED, ALARMED = 5, 6  # of `ezrec status`; of `ezrec doctor` the second
INTERRUPTED = 130
_CODES: dict[type[Exception], int] = {
    errors.NoSuchJob: NO_SUCH_JOB,
    errors.Refused: REFUSED,
    errors.Reject: REFUSED,
    errors.Busy: BUSY,
    errors.Retry: TEMPORARY,
    errors.Stopped: INTERRUPTED,
}
_EPILOG = """\b
Name a job by its id or the beginning of it. No command needs EZREC to be running.
\b
Exit codes: 0 done · 1 wrong usage · 2 no such job · 3 refused, or the job failed
4 another process has it · 5 a warning (status), 6 an alarm or a fault (status, doctor)
75 try again later · 78 the settings are wrong"""


class Context:
    """What the commands share: each part is made when it is first used."""

    def __init__(self) -> None:
        self._settings: Settings | None = None
        self._spool: Spool | None = None

    @property
    def settings(self) -> Settings:
        if self._settings is None:
            from ezrec import settings

            self._settings = settings.load()
            hide(self._settings.secrets())
            _share(self._settings.home)
        return self._settings

    @property
    def spool(self) -> Spool:
        """The spool, with its directories in place."""
        if self._spool is None:
            from ezrec.spool.spool import Spool

            spool = Spool(self.settings.spool)
            _share(spool.root)
            try:
                spool.prepare()
            except OSError as fault:
                raise errors.ConfigError(
                    [f"the spool {spool.root} cannot be used: {fault.strerror} (EZREC_HOME, EZREC_SPOOL)"]
                ) from None
            self._spool = spool
        return self._spool

    @property
    def clock(self) -> Clock:
        from ezrec.system.clock import SystemClock

        return SystemClock(assume=self.settings.assume_clock)

    @property
    def now(self) -> datetime:
        return self.clock.now()

    @property
    def lead_s(self) -> float:
        """Seconds before its start at which a booking is claimed: the camera is armed before it records."""
        return self.settings.arm_s + self.settings.pre_roll_s

    def local(self) -> LocalBackend:
        """The local backend, whatever EZREC_BACKEND says."""
        from ezrec.app.publishing import local_backend

        return local_backend(self.settings)


def _share(place: Path) -> None:
    """Where several users work, each must be able to move and change what root, or a member, makes."""
    with contextlib.suppress(OSError):
        if place.stat().st_mode & stat.S_ISGID:
            os.umask(0o007)


class Lazy(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        known = COMMANDS | HIDDEN
        if cmd_name not in known:
            return None
        module, _, attribute = known[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """From the table, so that a key press loads no command."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=text)
            for name, (_, text) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What a person types every day first, and what services and programs call last."""
        widest = max(map(len, COMMANDS)) + 2
        for heading, names in _SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), COMMANDS[name][1]) for name in names])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            found = super().invoke(ctx)
            sys.stdout.flush()
            return found
        except BrokenPipeError:  # the reader (`| head`) has ended: no error
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(OK) from None


@click.group(
    cls=Lazy,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="ezrec", message="%(prog)s %(version)s")
@click.pass_context
def ezrec(ctx: click.Context) -> None:
    """EZREC records booked matches on a court camera and publishes them."""
    ctx.obj = Context()


def run(arguments: Sequence[str], program: click.Command = ezrec) -> int:
    """Run one command line and return its exit code. Every problem is one line on stderr."""
    try:
        code = program.main(args=list(arguments), prog_name="ezrec", standalone_mode=False)
        return code if isinstance(code, int) else OK
    except click.ClickException as fault:
        fault.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except errors.ConfigError as fault:
        return report_config_error(fault)
    except tuple(_CODES) as fault:
        return report(fault)
    except OSError as fault:
        where = f": {fault.filename}" if fault.filename else ""
        code = CONFIGURATION if fault.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else TEMPORARY
        said = f"{fault.strerror or fault}{where}"
        if isinstance(fault, PermissionError) and os.geteuid():
            said += f" – {errors.NEEDS_RIGHTS}"
        return _say(code, said)


def report_config_error(fault: errors.ConfigError) -> int:
    """Print everything that is wrong with the settings on stderr; returns the exit code."""
    return _say(CONFIGURATION, *fault.problems)


def report(fault: Exception) -> int:
    """Print on stderr what went wrong and what to do; returns the exit code."""
    remedy = getattr(fault, "remedy", "")
    code = next(code for kind, code in _CODES.items() if isinstance(fault, kind))
    return _say(code, f"{fault} – {remedy}" if remedy else str(fault))


def _say(code: int, *problems: str) -> int:
    from ezrec.cli.formatting import printable
    from ezrec.system.journal_stream import for_stream

    for problem in problems:
        click.echo(for_stream(f"ezrec: {printable(redacted(problem))}", sys.stderr), err=True)
    return code


def main() -> NoReturn:
    """The entry point of the program `ezrec`."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character must not end the command.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    sys.excepthook = _report_bug
    threading.excepthook = lambda bug: _report_bug(bug.exc_type, bug.exc_value, bug.exc_traceback)
    sys.exit(run(sys.argv[1:]))


def _report_bug(kind: type[BaseException], fault: BaseException | None, at: TracebackType | None) -> None:
    """Print the traceback as Python does, with secrets masked: an exception may quote one."""
    import traceback

    from ezrec.system.journal_stream import for_stream

    text = redacted("".join(traceback.format_exception(kind, fault, at)))
    sys.stderr.write(for_stream(text, sys.stderr))
