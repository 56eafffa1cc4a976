"""How the cloud treats this box, as it stands in `cloud.json`. Values only.

Whoever shows it (the doctor, the alerts, a person) need not ask the cloud: when it matters most, the cloud
cannot be asked, or says no.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from ezrec.domain.booking import Instant

FILE = "cloud.json"  # in EZREC_STATE


class Access(StrEnum):
    """What became of the newest request."""

    GOOD = "good"
    AWAY = "away"  # no connection, or somebody else answers: passes by itself
    REFUSED = "refused"  # the key or the sign-in: everything pauses, and a person has to see to it


@dataclass(frozen=True, slots=True)
class Cloud:
    """`hidden`: bookings were known, and the cloud shows none without a witness that this is true.

    `said` is what the cloud answered when it was not good, secrets left out.
    """

    access: Access
    since: Instant
    said: str = ""
    hidden: bool = False
    v: int = 1

    @property
    def alarm(self) -> tuple[str, str] | None:
        """What is wrong and what a person can do; None where nothing is, or where it passes by itself."""
        if self.access is Access.REFUSED:
            return (
                f"the cloud refuses this device's key or sign-in: {self.said}",
                "correct SUPABASE_KEY, EZREC_DEVICE_EMAIL and EZREC_DEVICE_PASSWORD, or the account in "
                "Supabase; it is tried again every five minutes",
            )
        if self.hidden:
            return (
                "the cloud shows no booking any more, nothing shows that it would, and the known are kept",
                "apply the policies that `ezrec schema` prints and enter this device in `devices`",
            )
        return None


def encode(cloud: Cloud) -> bytes:
    """The bytes of `cloud.json`, indented for the person who opens it."""
    return msgspec.json.format(msgspec.json.encode(cloud), indent=1) + b"\n"


def decode(data: bytes) -> Cloud:
    """Read a `cloud.json`; raises `ValueError` (msgspec's) for anything else."""
    return msgspec.json.decode(data, type=Cloud)
