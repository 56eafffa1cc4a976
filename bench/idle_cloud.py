"""What a camera box that has nothing to do costs its uplink and its Supabase project, an hour.

    python -m bench.idle_cloud [--write]

Needs what the tests of the cloud side need (tests/supabase_server/README.md). Each kind of request is made
for real, with a device's own account, and counted on the wire by a proxy; how often each comes in an hour
follows from the default settings. The whole daemon is then watched for two minutes, to see that the sum is
right. Framing that loopback does not have (TLS, TCP/IP) and the length of a hosted project's token are added
as named constants.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench import machine
from ezrec import settings
from ezrec.app import common, periodic
from ezrec.cloud.supabase.backend import SupabaseBackend
from ezrec.cloud.supabase.credentials import Credentials
from ezrec.cloud.supabase.schema import reference
from ezrec.cloud.supabase.state_cache import _TOUCHED_S
from ezrec.domain import heartbeat
from ezrec.media.versions import versions
from ezrec.monitoring.collect import collect
from ezrec.spool.spool import Spool
from tests.fakes.clock import StandingClock
from tests.supabase_server.counting import CountingProxy
from tests.supabase_server.fixture import Account, Front, Project, started, wait_for_the_tables
from tests.supabase_server.front_end import FrontEnd

RESULTS = Path(__file__).with_name("results") / "cloud.md"
GOAL_MB = 1.0
CAMERAS = 10_000
# A request and its answer: two TLS 1.3 records of 22 bytes, four IPv4 packets of 52.
FRAMING = 2 * 22 + 4 * 52
# A hosted project's access token (name, provider, session and the like in it), and its publishable key.
HOSTED_TOKEN, HOSTED_KEY = 870, 46
HANDSHAKE = 5_000  # TCP and TLS 1.3 with two certificates; once per connection
BOOKINGS = 6  # rows within the window: today's, and those of the coming days
_WATCHED_S = 120.0
_WHERE_THEY_EXIST = (
    "is_recording boolean",
    "uptime_seconds bigint",
    "last_error text",
    "details jsonb",
)


@dataclass(frozen=True)
class Kind:
    """One kind of request: how often an hour, and its bytes on the wire, headers and all."""

    name: str
    per_hour: float
    up: int
    down: int

    def row(self) -> str:
        hourly = self.per_hour * (self.up + self.down + FRAMING) / 1e3
        return f"| {self.name} | {self.per_hour:.0f} | {self.up} | {self.down} | {hourly:.0f} |"


def measure(project: Project, front: Front) -> tuple[list[Kind], int]:
    """The kinds of requests, and by how much a hosted project's headers are longer."""
    account, password = project.account(), "a-password"
    email = _enter(project, account, password)
    now, front_end = datetime.now(UTC), FrontEnd(project, account)
    for n in range(BOOKINGS):
        front_end.book(now + timedelta(hours=20 * n + 2), now + timedelta(hours=20 * n + 3))
    project.insert(
        "user_settings", {"user_id": account.user_id, "logo_path": f"{account.user_id}/logo/l.png"}
    )
    project.insert("cameras", {"id": account.camera_id, "user_id": account.user_id, "name": "Court 1"})
    wishes = settings.load({"EZREC_HOME": "/nonexistent", "USER_ID": account.user_id, "TZ": "UTC"})
    with CountingProxy(front.port) as proxy:
        access = Credentials(proxy.url, project.anon_key, email, password)
        cloud = SupabaseBackend(access, account.user_id, account.camera_id, StandingClock())
        gauges, spool, clock = common.gauges(wishes), Spool(wishes.spool), common.clock(wishes)

        known = versions()
        beat, machine = itertools.count(), gauges.read()

        def row() -> dict[str, Any]:
            facts = collect(spool, wishes, clock, machine, versions=known)
            later = timedelta(seconds=wishes.status_interval_s * next(beat))
            facts = replace(facts, at=facts.at + later)
            return heartbeat.row(facts, account.user_id, account.camera_id)

        cloud._camera_row.record({}, there=False)  # counted apart
        for _ in range(2):
            cloud.heartbeat(row())

        def spent(work: Callable[[], object]) -> tuple[int, int]:
            work()
            before = proxy.up, proxy.down
            work()
            return proxy.up - before[0], proxy.down - before[1]

        counted = {
            "bookings": spent(cloud.bookings),
            "branding": spent(cloud.branding),
            "heartbeat": spent(lambda: cloud.heartbeat(row())),
            "heartbeat, whole": spent(lambda: _whole(cloud, row())),
            "camera row": spent(lambda: _touch(cloud, row())),
            "token": spent(lambda: (cloud._cloud.sign_in.renew(), cloud._cloud.sign_in.token())),
        }
        longer = HOSTED_TOKEN - len(cloud._cloud.sign_in.token()) + HOSTED_KEY - len(project.anon_key)
        cloud.close()
    often = {
        "bookings": 3600 / wishes.sync_interval_s,
        "heartbeat": 3600 / wishes.status_interval_s - 3600 / _TOUCHED_S,
        "heartbeat, whole": 3600 / _TOUCHED_S,
        "branding": 3600 / periodic._BRANDING_S,
        "camera row": 3600 / _TOUCHED_S,
        "token": 1.1,
    }
    return [Kind(name, often[name], *counted[name]) for name in counted], longer


def _whole(cloud: SupabaseBackend, row: dict[str, object]) -> None:
    cloud._heartbeats._whole_at = float("-inf")
    cloud.heartbeat(row)


def _touch(cloud: SupabaseBackend, row: dict[str, object]) -> None:
    cloud._camera_row._again_at = float("-inf")
    cloud._touch_camera(row)


def _enter(project: Project, account: Account, password: str) -> str:
    database, _ = project.local()
    database.sql(reference())
    more = (f"add column if not exists {column}" for column in _WHERE_THEY_EXIST)
    database.sql(f"alter table system_status {', '.join(more)}")  # the dearest table there is
    wait_for_the_tables(project)
    email = f"{account.camera_id}@device.test"
    auth_id = project.sign_up(email, password)
    entered = {"auth_id": auth_id, "user_id": account.user_id, "camera_id": account.camera_id}
    project.insert("devices", entered)
    return email


@contextlib.contextmanager
def _box(project: Project, front: Front) -> Iterator[tuple[CountingProxy, dict[str, str]]]:
    """A box of its own behind a proxy that counts: the proxy, and the environment of its processes."""
    account = project.account()
    email = _enter(project, account, "a-password")
    now, front_end = datetime.now(UTC), FrontEnd(project, account)
    for n in range(BOOKINGS):
        front_end.book(now + timedelta(hours=20 * n + 2), now + timedelta(hours=20 * n + 3))
    with CountingProxy(front.port) as proxy, tempfile.TemporaryDirectory() as home:
        yield proxy, {
            "PATH": os.environ["PATH"], "TZ": "UTC", "EZREC_HOME": home, "EZREC_BACKEND": "supabase",
            "SUPABASE_URL": proxy.url, "SUPABASE_KEY": project.anon_key, "EZREC_DEVICE_EMAIL": email,
            "EZREC_DEVICE_PASSWORD": "a-password", "USER_ID": account.user_id,
            "CAMERA_ID": account.camera_id, "EZREC_ASSUME_CLOCK": "yes",
        }  # fmt: skip


@dataclass(frozen=True)
class PulseCost:
    """One run of a unit that a timer starts: its requests, connections and bytes."""

    name: str
    requests: int
    connections: int
    bytes: int


def timers(project: Project, front: Front) -> list[PulseCost]:
    """The same box in the shape `split`, where each run of a periodic task is a process."""
    found = []
    with _box(project, front) as (proxy, environ):
        for name in ("sync", "tell", "status"):
            for _ in range(2):  # the first signs in, or meets what it has never seen
                before = proxy.requests, proxy.connections, proxy.up + proxy.down
                argv = [sys.executable, "-m", "ezrec", "pulse", name]
                quiet = subprocess.DEVNULL
                subprocess.run(
                    argv, env=environ, stdin=quiet, stdout=quiet, stderr=quiet, timeout=120, check=True
                )
            after = proxy.requests, proxy.connections, proxy.up + proxy.down
            found.append(PulseCost(name, *(now - then for now, then in zip(after, before, strict=True))))
    return found


def watch(project: Project, front: Front, seconds: float) -> tuple[float, int, int]:
    """The whole daemon at rest: bytes an hour as counted, requests an hour, connections made."""
    with _box(project, front) as (proxy, environ):
        argv = [
            sys.executable,
            "-m",
            "ezrec",
            "run",
            "--only",
            "record,process,upload,retry,sync,tell,status",
        ]
        quiet = subprocess.DEVNULL
        daemon = subprocess.Popen(argv, env=environ, stdin=quiet, stdout=quiet, stderr=quiet)
        try:
            time.sleep(20)  # it signs in, and fetches what it has never seen
            before = proxy.up + proxy.down, proxy.requests
            time.sleep(seconds)
            bytes_, requests = proxy.up + proxy.down - before[0], proxy.requests - before[1]
            return bytes_ * 3600 / seconds, round(requests * 3600 / seconds), proxy.connections
        finally:
            daemon.terminate()
            daemon.wait(60)


def page(
    packed: list[Kind],
    plain: list[Kind],
    longer: int,
    watched: tuple[float, int, int],
    split: list[PulseCost],
) -> str:
    requests, hosted = sum(kind.per_hour for kind in packed), _as_hosted(packed, longer)
    met = "met" if hosted <= GOAL_MB * 1e6 else "**missed**"
    seen_bytes, seen_requests, connections = watched
    said = [
        "# What an idle camera costs the cloud",
        "",
        *machine.facts(),
        "",
        "Made by `python -m bench.idle_cloud --write`. Default settings (a look for bookings and a heartbeat",
        f"every 15 s), a device with an account of its own, {BOOKINGS} bookings in the window, one kept",
        "connection, answers packed by gzip as the network in front of a hosted project does it.",
        "",
        "| request | an hour | bytes up | bytes down | kB an hour, framed |",
        "|---|---|---|---|---|",
        *(kind.row() for kind in packed),
        "",
        f"As hosted: **{hosted / 1e6:.2f} MB an hour**; goal ≤ {GOAL_MB:g} MB: {met}. Each request has",
        f"{FRAMING} bytes of TLS and TCP/IP, its token has {HOSTED_TOKEN} bytes and its publishable key",
        f"{HOSTED_KEY} ({longer:+d} bytes beside the test project's), and there is one handshake an hour.",
        f"Without gzip it is {_as_hosted(plain, longer) / 1e6:.2f} MB. Every 100 bytes that a gateway adds",
        f"to its answers are {requests / 1e4:.2f} MB more; that is not measured here.",
        "",
        f"Counted, without framing: {_counted(packed) / 1e6:.2f} MB an hour in {requests:.0f} requests.",
        f"The whole daemon, watched for {_WATCHED_S:.0f} s: {seen_bytes / 1e6:.2f} MB and {seen_requests}",
        f"requests an hour, over {connections} connections.",
        "",
        f"{CAMERAS:,} cameras: {CAMERAS * requests / 3600:,.0f} requests a second, "
        f"{CAMERAS * hosted / 1e9:.1f} GB an hour, {CAMERAS * hosted * 720 / 1e12:.1f} TB a month.",
        "",
        "In the shape `split` a timer starts a process for each of these every 15 s, with a new connection:",
        "",
        "| `ezrec pulse` | requests | connections | bytes | kB a run, as hosted |",
        "|---|---|---|---|---|",
        *(
            f"| {cost.name} | {cost.requests} | {cost.connections} | {cost.bytes} "
            f"| {_hosted_run(cost, longer) / 1e3:.1f} |"
            for cost in split
        ),
        "",
        f"That is {sum(240 * _hosted_run(cost, longer) for cost in split) / 1e6:.1f} MB an hour, most of it "
        "handshakes: the goal is met by",
        "the single service alone. No run signs in while the kept session lives.",
        "",
    ]
    return "\n".join(said)


def _cost(kind: Kind, longer: int) -> float:
    return kind.up + kind.down + FRAMING + longer


def _hosted_run(cost: PulseCost, longer: int) -> float:
    return cost.bytes + cost.requests * (FRAMING + longer) + cost.connections * HANDSHAKE


def _as_hosted(kinds: list[Kind], longer: int) -> float:
    return sum(kind.per_hour * _cost(kind, longer) for kind in kinds) + HANDSHAKE


def _counted(kinds: list[Kind]) -> float:
    return sum(kind.per_hour * (kind.up + kind.down) for kind in kinds)


def main() -> None:
    with started() as project, project.another_front(GZIP="1") as front:
        packed, longer = measure(project, front)
        plain, _ = measure(project, project.local()[1])
        text = page(packed, plain, longer, watch(project, front, _WATCHED_S), timers(project, front))
    print(text)
    if "--write" in sys.argv:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
