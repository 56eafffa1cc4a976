"""The tables of the local backend: one SQLite file, its schema, and how it is opened.

Several processes use it at once: record, process, upload, sync, and a person's commands. So every
operation opens a connection of its own: nothing is held across a fork, a thread or an idle hour, and between
operations the one file is complete.

WAL with synchronous=FULL: in power cuts WAL with NORMAL kept 0 of 50 commits, with FULL all of them.
Must not know what a status or a booking means.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ezrec.cloud.local.faults import table_faults
from ezrec.domain.errors import Reject
from ezrec.system import durable
from ezrec.system.locks import Lock

# A write takes milliseconds, or seconds on a slow SD card; after this wait the caller tries again later.
BUSY_S = 20.0
_SETTLES_S = 2.0  # two changes in one tick of the file system's clock have the same stamp

# One script a version, never edited once released: the file's user_version says which have been run.
MIGRATIONS = (
    """
    CREATE TABLE bookings (
        id TEXT PRIMARY KEY NOT NULL, user_id TEXT NOT NULL, camera_id TEXT DEFAULT '0',
        date TEXT, start_time TEXT, end_time TEXT, status TEXT DEFAULT 'confirmed',
        created_at TEXT, updated_at TEXT
    ) STRICT;
    CREATE INDEX bookings_of_user ON bookings (user_id, date);
    CREATE TABLE videos (
        id INTEGER PRIMARY KEY, filename TEXT NOT NULL, storage_path TEXT, user_id TEXT NOT NULL,
        file_url TEXT, file_size INTEGER, created_at TEXT, upload_timestamp TEXT, duration_seconds REAL,
        booking_id TEXT, camera_id TEXT, recording_date TEXT, recording_start_time TEXT,
        recording_end_time TEXT,
        UNIQUE (user_id, filename)
    ) STRICT;
    CREATE TABLE user_settings (
        user_id TEXT PRIMARY KEY NOT NULL, intro_video_path TEXT, logo_path TEXT,
        sponsor_logo1_path TEXT, sponsor_logo2_path TEXT, sponsor_logo3_path TEXT, updated_at TEXT
    ) STRICT;
    CREATE TABLE system_status (
        user_id TEXT NOT NULL, camera_id TEXT NOT NULL, pi_active INTEGER, last_heartbeat TEXT,
        cpu_usage_percent REAL, memory_usage_percent REAL, disk_usage_percent REAL,
        temperature_celsius REAL, memory_total_gb REAL, memory_available_gb REAL, disk_total_gb REAL,
        disk_free_gb REAL, is_recording INTEGER, uptime_seconds REAL, last_error TEXT, updated_at TEXT,
        PRIMARY KEY (user_id, camera_id)
    ) STRICT;
    CREATE TABLE cameras (
        id TEXT NOT NULL, user_id TEXT NOT NULL, name TEXT, is_recording INTEGER, last_seen TEXT,
        status TEXT,
        PRIMARY KEY (user_id, id)
    ) STRICT;
    """,
    "ALTER TABLE system_status ADD COLUMN details TEXT;",
)


class Tables:
    """The database file; created when it is first needed, never deleted."""

    def __init__(self, path: Path, busy_s: float = BUSY_S) -> None:
        self.path = path
        self.busy_s = busy_s
        self._known: dict[tuple[str, tuple[Any, ...]], tuple[tuple[int, ...], list[dict[str, Any]]]] = {}

    @contextlib.contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """A connection in autocommit mode: each statement is a transaction, durable when it returns."""
        with table_faults(self.path), contextlib.closing(self._connect()) as db:
            yield db

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The rows of one SELECT: one statement sees one state of the table, whole."""
        with self.open() as db:
            return [dict(row) for row in db.execute(query, values)]

    def rows_again(self, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """As `rows`, for callers every few seconds: opens nothing while the file is unchanged.

        SQLite makes and removes two files at each opening, which cost a memory card 300 MB a day.
        """
        stamp = self._stamp()
        known = self._known.get((query, tuple(values)))
        if stamp is not None and known is not None and known[0] == stamp:
            return [dict(row) for row in known[1]]
        found = self.rows(query, values)
        if stamp is not None:
            self._known[query, tuple(values)] = (stamp, [dict(row) for row in found])
        return found

    def _stamp(self) -> tuple[int, ...] | None:
        """What changes with the file; None while it is being written, or was a moment ago."""
        try:
            info = os.stat(self.path)
        except OSError:
            return None
        if (
            self.path.with_name(f"{self.path.name}-wal").exists()
            or abs(time.time() - info.st_mtime) < _SETTLES_S
        ):
            return None
        return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns

    def change(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run one writing statement; returns how many rows it changed."""
        with self.open() as db:
            return db.execute(statement, [cell(value) for value in values]).rowcount

    def put(self, table: str, row: Mapping[str, Any], unique: tuple[str, ...]) -> list[str]:
        """Insert a row, or update the one with the same `unique` columns, in one statement.

        Columns that the table does not have are left out and returned: schemas drift.
        """
        with self.open() as db:
            return put(db, table, row, unique)

    def _connect(self) -> sqlite3.Connection:
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite would make it 0644: the services share it as users of one group.
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o660))
        db = sqlite3.connect(self.path, timeout=self.busy_s, isolation_level=None)
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            if _version(db) != len(MIGRATIONS):
                self._migrate(db)
        except BaseException:
            db.close()
            raise
        return db

    def _migrate(self, db: sqlite3.Connection) -> None:
        # SQLite does not wait for anybody while it changes to WAL, whatever the timeout: an flock does.
        with Lock(self.path.with_suffix(".lock")).held(self.busy_s, "bringing the tables up to date"):
            version = _version(db)
            if version > len(MIGRATIONS):
                raise Reject(
                    f"{self.path} was written by a newer EZREC (version {version} of the tables)",
                    "install that version again",
                )
            mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise Reject(
                    f"{self.path} cannot be kept durable there (journal mode {mode})",
                    f"make {self.path.parent} a link to a folder on a local disk, or put EZREC_HOME on one",
                )
            for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
                db.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
            durable.sync_directory(self.path.parent)
            durable.sync_directory(self.path.parent.parent)


def put(db: sqlite3.Connection, table: str, row: Mapping[str, Any], unique: tuple[str, ...]) -> list[str]:
    """See `Tables.put`; for use within a transaction."""
    # Only the table's own column names become part of a statement: the row's are not trusted.
    columns = [found["name"] for found in db.execute("SELECT name FROM pragma_table_info(?)", (table,))]
    names = [name for name in columns if name in row]
    changing = [f"{name} = excluded.{name}" for name in names if name not in unique]
    db.execute(
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
        f"ON CONFLICT ({', '.join(unique)}) DO "
        + (f"UPDATE SET {', '.join(changing)}" if changing else "NOTHING"),
        [cell(row[name]) for name in names],
    )
    return [name for name in row if name not in columns]


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Several statements as one. IMMEDIATE: a lock that is upgraded half-way cannot be waited for."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(
            sqlite3.Error
        ):  # SQLite may have rolled back by itself: the first fault counts
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def cell(value: Any) -> str | int | float | None:
    """A value as SQLite keeps it; raises `Reject` for what no column can hold."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).isoformat()
    if value is None or isinstance(value, (int, float)):
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise Reject("a number in the row has more than 64 bits", "correct the row, then try again")
        return value
    if isinstance(value, str):
        # Lone surrogates, as a file name may bring them, are not text to SQLite.
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return json.dumps(value)
    raise Reject(
        f"a row cannot hold a {type(value).__name__}",
        "rows hold text, numbers, times with a zone, or nothing",
    )


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])
