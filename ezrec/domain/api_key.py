"""Reads what a Supabase key says about itself. Its signature is not checked: nothing may rely on this."""

from __future__ import annotations

import base64
import json
import re
from typing import Any


def claims(key: str) -> dict[str, Any] | None:
    """The claims of a JWT; None for anything else."""
    match = re.fullmatch(r"[\w-]+\.([\w-]+)\.[\w-]+", key)
    if match is None:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4)))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def role(key: str) -> str:
    """`service_role`, `anon`, another role, or `unknown`."""
    if key.startswith("sb_secret_"):
        return "service_role"
    if key.startswith("sb_publishable_"):
        return "anon"
    return str((claims(key) or {}).get("role", "unknown"))
