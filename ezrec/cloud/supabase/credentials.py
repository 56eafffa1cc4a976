"""Where the Supabase project is, and who this device is there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ezrec.domain import api_key
from ezrec.domain.errors import ConfigError
from ezrec.settings import Settings


@dataclass(frozen=True, slots=True)
class Credentials:
    """Secrets stay out of `repr`. Without `email` the key alone is sent."""

    url: str
    key: str = field(repr=False)
    email: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> Credentials:
        return cls(
            settings.supabase_url, settings.supabase_key, settings.device_email, settings.device_password
        )

    @property
    def mark(self) -> str:
        """Two bytes of a digest: changes when anything is corrected, and reveals no secret."""
        text = "\0".join((self.url, self.key, self.email, self.password))
        return hashlib.sha256(text.encode()).hexdigest()[:4]

    @property
    def bypasses_policies(self) -> bool:
        """True when row-level security does not bind this device: a row that it does not see is not there."""
        return not self.email and api_key.role(self.key) == "service_role"


def check_key(credentials: Credentials) -> list[str]:
    """Warnings about the key, for every start. Raises `ConfigError` for a key that cannot work."""
    key = credentials.key
    if key.startswith("sb_publishable_"):
        return []
    if key.startswith("sb_secret_"):
        return [_too_strong("a secret key")]
    claims = api_key.claims(key)
    if claims is None:
        raise ConfigError(
            ["SUPABASE_KEY is no key of Supabase: it begins with eyJ, sb_publishable_ or sb_secret_"]
        )
    project, host = claims.get("ref"), urlsplit(credentials.url).hostname or ""
    if isinstance(project, str) and host.endswith(".supabase.co") and not host.startswith(f"{project}."):
        raise ConfigError([f"SUPABASE_KEY belongs to the project {project}, and SUPABASE_URL names {host}"])
    if claims.get("role") == "service_role":
        return [_too_strong("a service-role key")]
    if claims.get("role") == "anon" and not credentials.email:
        return ["SUPABASE_KEY is an anon key and no device signs in: policies must let everybody in"]
    return []


def _too_strong(what: str) -> str:
    return (
        f"SUPABASE_KEY is {what}: whoever takes this box can read and change everything in the project. "
        "Give the device an account of its own: apply `ezrec schema`, then set the anon or publishable key, "
        "EZREC_DEVICE_EMAIL and EZREC_DEVICE_PASSWORD"
    )
