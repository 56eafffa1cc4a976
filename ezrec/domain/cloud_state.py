"""How the cloud treats this box: the content of `cloud.json`. Values only.

The doctor and the alerts read it in place of asking the cloud, which may be away or refuse. Whether there is
a network is not in it: that passes by itself, and is in `state/reach/`, where its end is a file event
(`cloud/connectivity.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from ezrec.domain import json_decode
from ezrec.domain.booking import Instant
from ezrec.domain.redaction import cleaned

FILE = "cloud.json"  # in EZREC_STATE
REFUSED_REMEDY = (
    "correct SUPABASE_KEY, EZREC_DEVICE_EMAIL and EZREC_DEVICE_PASSWORD, or the account in Supabase; it is "
    "tried again every five minutes"
)
SILENT_REMEDY = (
    "open the project in Supabase's dashboard; if it is paused, restore it there (a free project pauses "
    "after a week without use); known bookings are recorded meanwhile, and videos wait"
)
QUOTA_REMEDY = (
    "in Supabase's dashboard: look at the organisation's usage, then take a larger plan, or wait for the "
    "next billing month; known bookings are recorded meanwhile, and videos wait"
)
HIDDEN_REMEDY = "apply the policies that `ezrec schema` prints and enter this device in `devices`"

TOO_LARGE_REMEDY = (
    "raise the upload size limit in the project's storage settings (free plans allow 50 MB), or lower "
    "RECORDING_BITRATE"
)


class Access(StrEnum):
    """Whether the cloud let this device in when it last answered."""

    GOOD = "good"
    REFUSED = "refused"  # the key or the sign-in: everything pauses, and a person has to see to it
    QUOTA = "quota"  # the project is over what its plan allows: the same, for another reason
    SILENT = "silent"  # its gateway answers, and nothing behind it: paused, or in trouble


PAUSING = (Access.REFUSED, Access.QUOTA)  # nobody knocks again for a while


@dataclass(frozen=True, slots=True)
class Cloud:
    """`hidden`: bookings were known, the cloud shows none, and nothing shows that it would.

    `said`: what the cloud answered when it refused, without secrets; `refused_at`: when it last did; `who`: a
    digest of the key and the sign-in that it refused. `most_bytes`: the largest file that it takes (0:
    unknown).
    """

    access: Access
    since: Instant
    said: str = ""
    hidden: bool = False
    refused_at: Instant | None = None
    who: str = ""
    most_bytes: int = 0
    v: int = 1

    def rests_s(self, now: Instant, who: str, refused_s: float) -> float:
        """For how long nobody should knock again, whichever process was refused."""
        if self.access not in PAUSING or self.refused_at is None or self.who != who:
            return 0.0
        since_s = (now - self.refused_at).total_seconds()
        return refused_s - since_s if 0 <= since_s < refused_s else 0.0

    @property
    def refusal(self) -> str:
        """What is wrong with the key or the sign-in; empty when nothing is."""
        if self.access is not Access.REFUSED:
            return ""
        return f"the cloud refuses this device's key or sign-in: {self.said}"

    @property
    def quota(self) -> str:
        """That the project has used up what it may; empty when it has not."""
        return f"the project is over its quota: {self.said}" if self.access is Access.QUOTA else ""

    @property
    def silence(self) -> str:
        """That nothing answers behind the cloud's gateway; empty when something does."""
        return f"the cloud does not answer: {self.said}" if self.access is Access.SILENT else ""

    @property
    def shutting_out(self) -> str:
        """What is wrong with the bookings that it shows; empty when nothing is."""
        if not self.hidden:
            return ""
        return "the cloud shows no bookings any more, perhaps because it hides them; the known ones are kept"

    @property
    def in_short(self) -> str:
        """What is wrong, in some words; empty when nothing is."""
        said = {
            Access.REFUSED: "REFUSES this device", Access.QUOTA: "IS OVER ITS QUOTA",
            Access.SILENT: "DOES NOT ANSWER",
        }  # fmt: skip
        return said.get(self.access) or ("SHOWS NO BOOKING any more" if self.hidden else "")

    @property
    def alarms(self) -> list[tuple[str, str]]:
        """Each thing that is wrong, and what a person can do."""
        found = (
            (self.refusal, REFUSED_REMEDY), (self.quota, QUOTA_REMEDY), (self.silence, SILENT_REMEDY),
            (self.shutting_out, HIDDEN_REMEDY),
        )  # fmt: skip
        return [(message, remedy) for message, remedy in found if message]


def encode(cloud: Cloud) -> bytes:
    """The bytes of `cloud.json`, indented for the person who opens it."""
    return msgspec.json.format(msgspec.json.encode(cleaned(cloud)), indent=1) + b"\n"


def decode(data: bytes) -> Cloud:
    """Read a `cloud.json`; raises `ValueError` (msgspec's) for anything else."""
    return json_decode.decode(data, Cloud)
