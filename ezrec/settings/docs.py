"""The pages that are generated from the settings' table: `.env.example` and the README's table."""

from __future__ import annotations

import re
from dataclasses import fields

from ezrec.settings.definitions import DEFAULT_HOME, Settings


def env_example() -> str:
    """The text of `.env.example`."""
    lines = ["# Settings of EZREC. Copy to EZREC_HOME/.env; the process environment wins over it.", ""]
    for item in fields(Settings):
        meta = item.metadata
        older = f" (also: {', '.join(meta['older'])})" if meta["older"] else ""
        default = (meta["default"] or "").replace("{home}", str(DEFAULT_HOME))
        lines += [f"# {meta['help']}{older}", f"#{meta['name']}={default}", ""]
    return "\n".join(lines)


def table() -> str:
    """The README's table of settings."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for item in fields(Settings):
        meta = item.metadata
        older = f" (also {', '.join(meta['older'])})" if meta["older"] else ""
        default = (meta["default"] or "–").replace("{home}/", "EZREC_HOME/")
        lines.append(f"| {meta['name']}{older} | {default} | {meta['help']} |")
    return "\n".join(lines) + "\n"


_TABLE = re.compile(r"(<!-- settings: [^\n]*-->\n).*(<!-- end of settings -->)", re.DOTALL)


def refreshed(readme: str) -> str:
    """The README's text with the table as it is now, between its two markers."""
    return _TABLE.sub(lambda found: found[1] + table() + found[2], readme)
