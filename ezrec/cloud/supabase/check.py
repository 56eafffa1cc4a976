"""Checks a Supabase project for the doctor: tables, columns, buckets, policies. Changes nothing.

It sees what this device's key may see. What row-level security hides looks as if it did not exist; the
findings say so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ezrec.cloud.supabase.connection import Connection
from ezrec.cloud.supabase.credentials import Credentials
from ezrec.cloud.supabase.errors import CloudError
from ezrec.cloud.supabase.objects import upload_limit
from ezrec.domain.cloud_state import TOO_LARGE_REMEDY
from ezrec.domain.errors import Reject, Retry
from ezrec.domain.findings import Finding, Findings, fault, ok, warning
from ezrec.settings import Settings

_SCHEMA = "apply what `ezrec schema` prints, in the project's SQL editor"


@dataclass(frozen=True, slots=True)
class Columns:
    """Of one table: those without which nothing works, those that are left out where they are missing, and
    those that a table need not have: some do, and then they are written."""

    needed: tuple[str, ...]
    wanted: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.needed, *self.wanted, *self.extra)


# Every column that docs/contract.md names.
TABLES: Mapping[str, Columns] = {
    "bookings": Columns(("id", "user_id", "camera_id", "date", "start_time", "end_time", "status")),
    "videos": Columns(
        ("filename", "storage_path", "user_id"),
        (
            "file_url", "file_size", "created_at", "upload_timestamp", "duration_seconds", "booking_id",
            "camera_id", "recording_date", "recording_start_time", "recording_end_time",
        ),
    ),
    "user_settings": Columns(
        ("user_id", "intro_video_path", "logo_path"),
        ("sponsor_logo1_path", "sponsor_logo2_path", "sponsor_logo3_path"),
    ),
    "system_status": Columns(
        ("user_id", "camera_id", "last_heartbeat"),
        (
            "pi_active", "cpu_usage_percent", "memory_usage_percent", "disk_usage_percent",
            "temperature_celsius", "memory_total_gb", "memory_available_gb", "disk_total_gb", "disk_free_gb",
            "updated_at",
        ),
        ("is_recording", "uptime_seconds", "last_error", "details"),
    ),
    "cameras": Columns((), (), ("id", "user_id", "name", "is_recording", "last_seen", "status")),
}  # fmt: skip
_NO_COLUMN, _NO_TABLE = "42703", ("PGRST205", "42P01")
_MATCH_S = 5400  # a bucket has to take a match of 90 minutes
_SHOWN = 3


def check(settings: Settings) -> Findings:
    """Every check that the key allows; stops when the cloud does not answer."""
    cloud = Connection(Credentials.from_settings(settings), connect_s=5, silence_s=10)
    try:
        for table in TABLES:
            yield _table(cloud, table)
        yield from _cameras(cloud, settings)
        yield _limit(cloud, settings)
        for bucket in ("videos", "usermedia", settings.log_bucket):
            yield _bucket(cloud, bucket, settings)
        if not cloud.credentials.bypasses_policies:
            yield _policies(settings)
    except Retry as wrong:
        cure = wrong.remedy or "the other checks were not made: try again later"
        yield warning("cloud", wrong.reason, cure)
    except Reject as wrong:
        yield fault("cloud", wrong.reason, wrong.remedy)
    finally:
        cloud.close()


def _rest(cloud: Connection, table: str, **params: str) -> list[dict[str, Any]]:
    found = cloud.http.get(f"{cloud.credentials.url}/rest/v1/{table}", params=params).json()
    return found if isinstance(found, list) else []


def _table(cloud: Connection, table: str) -> Finding:
    columns = TABLES[table]
    missing = cloud.call(f"looking at the table {table}", lambda: _missing(cloud, table, columns.all))
    if missing is None and not columns.needed:
        return ok("tables", f"there is no table {table}: it need not be")
    if missing is None:
        return fault("tables", f"there is no table {table}", _SCHEMA)
    if lost := [name for name in columns.needed if name in missing]:
        return fault("tables", f"{table} lacks {', '.join(lost)}", _SCHEMA)
    if lost := [name for name in columns.wanted if name in missing]:
        return warning("tables", f"{table} lacks {', '.join(lost)}: rows are written without", _SCHEMA)
    without = f" but {', '.join(missing)}, which it need not have" if missing else ""
    return ok("tables", f"{table}, with every column of the contract{without}")


def _missing(cloud: Connection, table: str, columns: tuple[str, ...]) -> list[str] | None:
    """The columns that a table lacks; None: there is no such table. Each response names one column."""
    left, missing = list(columns), []
    while left:
        try:
            _rest(cloud, table, select=",".join(left), limit="0")
            break
        except CloudError as error:
            if error.code in _NO_TABLE:
                return None
            named = re.search(r"column (?:[\w\"]+\.)?\"?(\w+)\"? does not exist", error.message)
            if error.code != _NO_COLUMN or named is None or named[1] not in left:
                raise
            left.remove(named[1])
            missing.append(named[1])
    return missing


def _cameras(cloud: Connection, settings: Settings) -> Findings:
    """The most frequent mistake: there are bookings, but for another camera."""

    def work() -> list[dict[str, Any]]:
        return _rest(cloud, "bookings", select="camera_id", user_id=f"eq.{settings.user_id}", limit="1000")

    rows = cloud.call("counting the account's bookings", work)
    count = Counter(str(row.get("camera_id") or "0") for row in rows)
    own = count.pop(settings.camera_id, 0)
    found = f"{own} bookings for camera {settings.camera_id}, {sum(count.values())} on others"
    others = ", ".join(f"{name}: {number}" for name, number in count.most_common(_SHOWN))
    if not own and count and not (settings.unassigned and set(count) == {"0"}):
        yield warning("bookings", f"{found} ({others})", "set CAMERA_ID to the camera's id in `cameras`")
    else:
        yield ok("bookings", found)


def _limit(cloud: Connection, settings: Settings) -> Finding:
    """The project's limit; a bucket's own may be smaller, and a device's key does not see it."""
    most = cloud.call("asking for the largest upload", lambda: upload_limit(cloud))
    match = settings.bitrate / 8 * _MATCH_S
    if not most:
        return ok("uploads", "the project does not say how large a file it takes")
    if most < match:
        return warning(
            "uploads",
            f"the project takes files of up to {most / 1e6:.0f} MB; a match has {match / 1e6:.0f} MB",
            TOO_LARGE_REMEDY,
        )
    return ok("uploads", f"up to {most / 1e6:.0f} MB a file")


def _bucket(cloud: Connection, bucket: str, settings: Settings) -> Finding:
    def work() -> dict[str, Any] | None:
        try:
            found = cloud.http.get(f"{cloud.credentials.url}/storage/v1/bucket/{bucket}").json()
        except CloudError as error:
            if error.status in (400, 404):
                return None
            raise
        return found if isinstance(found, dict) else None

    found = cloud.call(f"looking at the bucket {bucket}", work)
    if found is None:
        if not cloud.credentials.bypasses_policies:
            return ok(
                "buckets", f"a device's key cannot see {bucket}; the first upload will show if it is there"
            )
        return fault("buckets", f"there is no bucket {bucket}", _SCHEMA)
    limit, match = found.get("file_size_limit"), settings.bitrate / 8 * _MATCH_S
    if bucket == "videos" and limit and int(limit) < match:
        return warning(
            "buckets",
            f"{bucket} takes files of up to {int(limit) / 1e6:.0f} MB; a match has {match / 1e6:.0f} MB",
            "raise its file size limit in the dashboard, or lower RECORDING_BITRATE",
        )
    if found.get("public") and bucket != "logs":
        return warning(
            "buckets", f"{bucket} is public: whoever knows a file's name can see it", "make it private"
        )
    return ok(
        "buckets", f"{bucket}, up to {int(limit) / 1e6:.0f} MB a file" if limit else f"{bucket} is there"
    )


def _policies(settings: Settings) -> Finding:
    """Ask for bookings without the device's sign-in, as anybody with the public key could."""
    anybody = Connection(Credentials(settings.supabase_url, settings.supabase_key), connect_s=5, silence_s=10)
    try:
        rows = anybody.call("asking as anybody", lambda: _rest(anybody, "bookings", select="id", limit="1"))
    except Reject:
        rows = []
    finally:
        anybody.close()
    if rows:
        return warning(
            "policies",
            "anybody who has the public key can read bookings: row-level security is off or lets all in",
            _SCHEMA,
        )
    return ok("policies", "without this device's sign-in the public key shows no bookings")
