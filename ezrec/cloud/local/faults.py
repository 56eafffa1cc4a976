"""Turns errors of SQLite and the disk into `Retry` and `Reject`."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator

from ezrec.domain.errors import Busy, Reject, Retry
from ezrec.domain.names import InvalidKey

# The database is damaged; waiting does not help, and writing more could destroy what is left.
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# Busy, the disk is full or failing, the folder is (still) missing or read-only: it may pass.
_PASSING = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
)
# The name is at fault, and stays so however often it is tried.
_NAMELY = (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST, errno.ELOOP)


@contextlib.contextmanager
def table_faults(path: object) -> Iterator[None]:
    """Turn what goes wrong with the database at `path` into `Retry` or `Reject`."""
    try:
        yield
    except sqlite3.Error as fault:
        code = getattr(fault, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _PASSING:
            raise Retry(f"{path}: {fault}") from fault
        if code in _DAMAGED:
            raise Reject(
                f"the database {path} is damaged: {fault}",
                f"stop EZREC, keep a copy of {path}*, then either restore a backup or run "
                f"`sqlite3 {path} .recover | sqlite3 new.db` and put new.db in its place; "
                "the videos in buckets/ are not affected",
            ) from fault
        raise Reject(f"{path} does not take this row: {fault}", "correct the row, then try again") from fault
    except Busy as fault:
        raise Retry(str(fault)) from fault
    except OSError as fault:
        raise Retry(f"{path}: {fault.strerror or fault}") from fault


@contextlib.contextmanager
def bucket_faults(what: str) -> Iterator[None]:
    """Turn what goes wrong while doing `what` in a bucket into `Retry` or `Reject`."""
    try:
        yield
    except InvalidKey as fault:
        raise Reject(str(fault), "give the object a plain name") from fault
    except OSError as fault:
        message = f"{what}: {fault.strerror or fault}" + (f" ({fault.filename})" if fault.filename else "")
        if fault.errno in _NAMELY:
            raise Reject(
                message, "another object or folder is in the way: give the object another name"
            ) from fault
        raise Retry(message) from fault
