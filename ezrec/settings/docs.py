"""The pages made of the table of settings: `.env.example`, `docs/settings.md`, and a part of the README."""

from __future__ import annotations

import re
from collections.abc import Collection

from ezrec.settings.definitions import DEFAULT_HOME, TABLE

# What people set: the README shows these, `docs/settings.md` all.
COMMON = (
    "EZREC_CAMERA",
    "SUPABASE_URL",
    "SUPABASE_KEY",
    "USER_ID",
    "CAMERA_ID",
    "LOCAL_TIMEZONE",
    "RECORDING_BITRATE",
    "EZREC_AUDIO",
    "EZREC_LOGO_SHOW",
    "EZREC_UPLOAD_WINDOW",
)


def env_example() -> str:
    """The text of `.env.example`."""
    lines = ["# Settings of EZREC. Copy to EZREC_HOME/.env; the process environment wins over it.", ""]
    for item in TABLE:
        meta = item.metadata
        older = f" (also: {', '.join(meta['older'])})" if meta["older"] else ""
        default = (meta["default"] or "").replace("{home}", str(DEFAULT_HOME))
        lines += [f"# {meta['help']}{older}", f"#{meta['name']}={default}", ""]
    return "\n".join(lines)


def table(names: Collection[str] | None = None) -> str:
    """A table of settings: those named, or all."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for item in TABLE:
        meta = item.metadata
        if names is None or meta["name"] in names:
            older = f" (also {', '.join(meta['older'])})" if meta["older"] else ""
            default = (meta["default"] or "–").replace("{home}/", "EZREC_HOME/")
            lines.append(f"| {meta['name']}{older} | {default} | {meta['help']} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The text of `docs/settings.md`."""
    return _HEAD + table()


_HEAD = """# Settings

They stand in `EZREC_HOME/.env`, or in the environment, which wins. `ezrec config` shows what is in force, and
where it comes from. When something is wrong, EZREC lists every fault at once and does not start. This page is
made of `ezrec/settings/definitions.py` by `python -m ezrec.settings write`.

"""
_TABLE = re.compile(r"(<!-- settings: [^\n]*-->\n).*(<!-- end of settings -->)", re.DOTALL)


def refreshed(readme: str) -> str:
    """The README's text with the table as it is now, between its two markers."""
    return _TABLE.sub(lambda found: found[1] + table(COMMON) + found[2], readme)
