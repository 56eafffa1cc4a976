"""`ezrec install`, `upgrade`, `uninstall`, and `python3 -m ezrec.install …` from a clone: the arguments."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ezrec.domain.errors import Refused
from ezrec.install import env_file, layout, plan, releases, safe_to_change
from ezrec.install.steps import StepFailed, pending, run
from ezrec.install.upgrade import uninstall, upgrade

OK, USAGE, REFUSED = 0, 1, 3


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    if os.geteuid() != 0 and not options.dry_run:
        return _say(REFUSED, "this changes the machine: run it with sudo (or try it first with --dry-run)")
    try:
        doing = {"install": _install, "upgrade": _upgrade, "uninstall": _uninstall}[options.command]
        changed = doing(options)
    except Refused as fault:
        return _say(REFUSED, f"{fault} – {fault.remedy}" if fault.remedy else str(fault))
    except StepFailed as fault:
        return _say(USAGE, str(fault))
    except (EOFError, KeyboardInterrupt):
        return _say(130, "nothing was changed")
    if options.dry_run:
        print(f"Nothing was changed; {changed} steps would change something.")
    else:
        print(f"{changed} steps changed something." if changed else "Nothing had to be changed.")
    return OK


def _say(code: int, text: str) -> int:
    print(f"ezrec: {text}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ezrec", description="Install, upgrade or remove EZREC.")
    commands = parser.add_subparsers(dest="command", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--dry-run", action="store_true", help="print every step, and change nothing")
    shared.add_argument("--home", type=Path, default=None, help=f"state and spool; default: {layout.HOME}")
    install = commands.add_parser("install", parents=[shared], help="install, repair, or change the shape")
    install.add_argument(
        "--shape", choices=layout.SHAPES, help="one unit, or a unit for each part; default: one"
    )
    install.add_argument("--answers", type=Path, help="a file like .env with the answers")
    install.add_argument("--yes", action="store_true", help="ask nothing: use the environment and defaults")
    install.add_argument("--from", dest="source", type=Path, help="a clone or a wheel; default: this clone")
    install.add_argument("--release", help=argparse.SUPPRESS)
    change = commands.add_parser("upgrade", parents=[shared], help="install a newer version")
    change.add_argument("source", type=Path, nargs="?", help="a clone or a wheel")
    change.add_argument("--back", action="store_true", help="return to the version before")
    commands.add_parser(
        "uninstall", parents=[shared], help="remove EZREC; spool, footage, settings and keys stay"
    )
    return parser


def _home(options: argparse.Namespace) -> Path:
    """The directory given, else the one that this machine's units use."""
    if options.home is not None:
        return Path(options.home).absolute()
    if layout.TMPFILES.is_file():
        for line in layout.TMPFILES.read_text().splitlines():
            if line.startswith("d ") and line.split()[1].endswith("/spool"):
                return Path(line.split()[1]).parent
    return layout.HOME


def _install(options: argparse.Namespace) -> int:
    home = _home(options)
    source = options.source or layout.clone()
    release = options.release or (releases.name_of(source) if source else releases.current())
    if options.release:
        source = None
    if release is None:
        raise Refused("there is nothing to install", "name a clone or a wheel: --from")
    in_use = releases.current()
    if in_use not in (None, release) and not options.release:
        raise Refused(f"release {in_use} is installed", f"install this one with: ezrec upgrade {source}")
    safe_to_change.refuse_if_older_records(home)
    shape = options.shape or plan.shape() or "one"
    target = plan.Installation(shape, release, source, home, _values(options, home))
    steps = plan.install(target)
    if in_use is not None and not options.release and pending(steps):
        safe_to_change.refuse_if_busy(home, "change the installation")
    return run(steps, print, dry=options.dry_run)


def _values(options: argparse.Namespace, home: Path) -> dict[str, str]:
    known = plan.known(home)
    given: dict[str, str] = {}
    if options.answers:
        try:
            given = env_file.read(options.answers.read_text(encoding="utf-8"))
        except OSError as fault:
            raise Refused(f"{options.answers}: {fault.strerror}") from None
    names = {question.name for question in env_file.questions("")}
    around = {name: os.environ[name] for name in names if os.environ.get(name)}
    asks = not (options.yes or options.answers or options.dry_run) and sys.stdin.isatty()
    return env_file.answered({**around, **known}, given, plan.camera(), _ask if asks else None)


def _ask(question: env_file.Question) -> str:
    default = f" [{question.default}]" if question.default else ""
    text = f"{question.name}: {question.text}{default}\n> "
    return getpass.getpass(text) if question.secret else input(text)


def _upgrade(options: argparse.Namespace) -> int:
    home = _home(options)
    if options.back == (options.source is not None):
        raise Refused("name a clone or a wheel, or say --back")
    source = None if options.back else options.source.absolute()
    release = releases.name_of(source) if source else releases.previous()
    if release is None:
        raise Refused("there is no version before this one")
    safe_to_change.refuse_if_busy(home, "upgrade")
    return upgrade(source, home, release, print, dry=options.dry_run)


def _uninstall(options: argparse.Namespace) -> int:
    home = _home(options)
    safe_to_change.refuse_if_busy(home, "uninstall")
    return run(uninstall(home), print, dry=options.dry_run)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
