"""`ezrec install`, `upgrade`, `uninstall`, and `python3 -m ezrec.install …` from a clone: the arguments."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ezrec.domain.errors import Refused
from ezrec.domain.installed import installed_home
from ezrec.install import answers, layout, plan, releases, safe_to_change, system
from ezrec.install.steps import NoNetwork, StepFailed, pending, run
from ezrec.install.upgrade import uninstall, upgrade

OK, USAGE, REFUSED, TEMPORARY = 0, 1, 3, 75


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    if os.geteuid() != 0 and not options.dry_run:
        return _say(REFUSED, "this changes the machine: run it with sudo (or try it first with --dry-run)")
    try:
        doing = {"install": _install, "upgrade": _upgrade, "uninstall": _uninstall}[options.command]
        changed = doing(options)
    except Refused as fault:
        return _say(REFUSED, f"{fault} – {fault.remedy}" if fault.remedy else str(fault))
    except NoNetwork as fault:
        return _say(TEMPORARY, str(fault))
    except StepFailed as fault:
        return _say(USAGE, str(fault))
    except (EOFError, KeyboardInterrupt):
        return _say(130, "ended; no answer was kept. The same command begins again")
    if options.dry_run:
        print(f"Nothing was changed; {changed} steps would change something.")
    else:
        print(f"{changed} steps changed something." if changed else "Nothing had to be changed.")
        if options.command == "install" and not options.release:
            answers.show_last_screen(_home(options))
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
    install.add_argument("--operator", metavar="USER", help="who may use ezrec without sudo: the group ezrec")
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
    given = options.home or os.environ.get("EZREC_HOME")
    if given:
        return Path(given).absolute()
    conf = layout.TMPFILES.read_text() if layout.TMPFILES.is_file() else ""
    return installed_home(conf) or layout.HOME


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
    if options.operator and not system.is_user(options.operator):
        raise Refused(f"there is no user {options.operator}", "name one that can log in: --operator USER")
    safe_to_change.refuse_if_older_records(home)
    shape = options.shape or plan.shape() or "one"
    target = plan.Installation(shape, release, source, home, operator=options.operator or "")
    is_in_use = in_use is not None and not options.release
    asks = not (options.yes or options.answers or options.dry_run) and sys.stdin.isatty()
    first = plan.fetch(target)
    if is_in_use and (asks or pending(first)):
        safe_to_change.refuse_if_busy(home, "change the installation")
    changed = run(first, print, dry=options.dry_run)
    target = answers.complete(target, options, asks=asks)
    steps = plan.install(target)
    if is_in_use and pending(steps):
        safe_to_change.refuse_if_busy(home, "change the installation")
    try:
        return changed + run(steps, print, dry=options.dry_run)
    except StepFailed:
        if source is not None:
            releases.forget(release)
        raise


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
