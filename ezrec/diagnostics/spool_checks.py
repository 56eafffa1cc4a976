"""The doctor's checks of the spool: its file system, access and room, who works in it, and what is stuck.

Takes no lock and moves nothing; creates one hidden file for a moment, outside every watched directory.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path

from ezrec.app import common
from ezrec.domain.disk_policy import FreeRoom, OtherDisk
from ezrec.domain.findings import Finding, Findings, fault, ok, warning
from ezrec.domain.names import shown
from ezrec.domain.stages import STAGES, Stage, State
from ezrec.monitoring.collect import other_disks
from ezrec.monitoring.state_files import read_status_file, recording_rate
from ezrec.runtime.file_events import DirectoryWatcher, Unwatchable
from ezrec.settings import Settings
from ezrec.spool.spool import Spool
from ezrec.system import disk_reserve, host

# File systems that cannot hold a spool, and why. NTFS and exFAT sticks appear as fuseblk.
_NETWORK = "over a network a lock or a rename may not be what it seems, and recording stops with the network"
_FOREIGN = "it keeps no owners, and a power cut can take the whole directory"
_UNFIT = {
    **dict.fromkeys(("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "fuse.sshfs"), _NETWORK),
    **dict.fromkeys(("vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk"), _FOREIGN),
}
_IN_MEMORY = ("tmpfs", "ramfs")
_ENOUGH_INSTANCES, _ENOUGH_WATCHES = 32, 64
_OVERDUE = timedelta(minutes=3)  # a rescan comes every minute
_NAMED = 3


def placement(settings: Settings) -> Findings:
    """What must be right before anything is written; the spool may not exist yet."""
    root = settings.spool
    yield file_system(host.mount_of(host.nearest(root)))
    if not root.is_dir():
        above = host.nearest(root)
        if os.path.lexists(root) or not os.access(above, os.W_OK | os.X_OK):
            yield fault(
                "spool", f"{root} cannot be made in {above}", "set EZREC_HOME to a directory you may write"
            )
        else:
            yield warning("spool", f"{root} does not exist yet", "it is made at the first start: ezrec run")
        return
    spool = Spool(root)
    yield from _directories(spool)
    yield _access(spool)


def room(settings: Settings) -> Findings:
    """What changes from day to day: free space, the reserve, other disks, file events."""
    if not settings.spool.is_dir():
        return
    spool = Spool(settings.spool)
    yield _write_test(spool)
    free = shutil.disk_usage(spool.root).free
    yield space(FreeRoom(free, recording_rate(settings)))
    yield reserve(spool.root, settings.reserve_mb * 1_000_000, free, has_run=_has_run(settings))
    yield from map(other_disk, other_disks(settings))
    yield _watch(spool)


def file_system(mount: host.Mount | None) -> Finding:
    """Whether a spool can be kept whole there."""
    if mount is None:
        return warning("file system", "the kernel does not say what it is", "is /proc mounted?")
    where = f"{mount.type}, mounted at {mount.point}"
    elsewhere = "move the spool to a local disk: set EZREC_SPOOL"
    if mount.read_only:
        return fault("file system", f"{where}, is read-only", f"sudo mount -o remount,rw {mount.point}")
    if mount.type in _UNFIT:
        return fault("file system", f"{where}: {_UNFIT[mount.type]}", elsewhere)
    if mount.type in _IN_MEMORY:
        return warning("file system", f"{where}: a power cut takes every recording with it", elsewhere)
    return ok("file system", where)


def _directories(spool: Spool) -> Findings:
    missing = [path for path in spool.foreign() if not os.path.lexists(path)]
    foreign = [path for path in spool.foreign() if os.path.lexists(path)]
    for path in foreign:
        yield fault(
            "spool",
            f"{path} is a link, a file, or on another file system: no job can be moved there in one step",
            "put a plain directory in its place; to use another disk, set EZREC_SPOOL for the whole spool",
        )
    if missing:
        names = ", ".join(f"{path.name}/" for path in missing)
        yield warning(
            "spool", f"missing in {spool.root}: {names}", "they are made at the next start: ezrec run"
        )
    if not missing and not foreign:
        yield ok("spool", f"{spool.root}, all directories on one file system")


def _access(spool: Spool) -> Finding:
    closed = [
        path for path in spool.places() if path.is_dir() and not os.access(path, os.R_OK | os.W_OK | os.X_OK)
    ]
    if closed:
        names = ", ".join(f"{path.name}/" for path in closed[:_NAMED])
        return fault(
            "access",
            f"{_owner_by(os.geteuid())} may not work in {names} of {spool.root}",
            f"run EZREC as {_owner(spool.root)}, or sudo chown -R USER {spool.root}",
        )
    there = [path for path in (spool.root, *spool.places()) if path.is_dir()]
    owners = {_owner(path) for path in there}
    if len(owners) > 1 and _is_shared(there):
        return ok("access", f"allowed; shared by the group {_group(spool.root)}")
    if len(owners) > 1:
        return warning(
            "access",
            f"the directories belong to different users: {', '.join(sorted(owners))}",
            f"sudo chown -R USER {spool.root}, with the user that runs EZREC",
        )
    return ok("access", f"allowed; the directories belong to {owners.pop()}")


def _is_shared(directories: list[Path]) -> bool:
    """True when one group may work in all, and owns whatever is made there."""
    found = [path.stat() for path in directories]
    return len({info.st_gid for info in found}) == 1 and all(
        info.st_mode & 0o2070 == 0o2070 for info in found
    )


def _group(path: Path) -> str:
    import grp

    try:
        return grp.getgrgid(path.stat().st_gid).gr_name
    except KeyError:
        return str(path.stat().st_gid)


def _owner(path: Path) -> str:
    return _owner_by(path.stat().st_uid)


def _owner_by(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _write_test(spool: Spool) -> Finding:
    """Write, sync and delete one page: a disk may refuse what permissions allow."""
    locks = spool.root / ".locks"
    try:
        with tempfile.TemporaryFile(prefix=".doctor-", dir=locks if locks.is_dir() else spool.root) as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as wrong:
        return fault(
            "writing", f"a first page cannot be written: {wrong.strerror}", "see what fills the disk: df -h"
        )
    return ok("writing", "a page was written and made durable")


def space(room: FreeRoom) -> Finding:
    """Free space, in hours of recording."""
    said = room.words
    cure = "see what waits: ezrec spool ls; what fills the disk: sudo du -xh --threshold=100M /"
    if room.is_nothing:
        return fault("space", said, cure)
    return warning("space", said, cure) if room.is_little else ok("space", said)


def _has_run(settings: Settings) -> bool:
    """Whether the periodic task `status`, which makes the reserve, has ever run here."""
    return read_status_file(settings.state) is not None


def reserve(root: Path, wanted: int, free: int, *, has_run: bool) -> Finding:
    """Whether the reserve is there, with which a full disk can still be written to."""
    if not wanted:
        return warning(
            "reserve",
            "none: EZREC_RESERVE_MB is 0, so on a full disk no record can be written and nothing removed",
            "set EZREC_RESERVE_MB=64",
        )
    missing = disk_reserve.missing(root, wanted)
    if not missing:
        return ok("reserve", f"{wanted / 1e6:.0f} MB are kept for a full disk")
    if free < 2 * missing:
        return warning(
            "reserve",
            f"its {wanted / 1e6:.0f} MB are given up, or never had room: {free / 1e6:.0f} MB are free",
            "make room, then the reserve is made again: ezrec spool purge; ezrec spool ls",
        )
    if not has_run:
        return ok("reserve", f"{wanted / 1e6:.0f} MB are made by the first run of `ezrec pulse status`")
    return warning(
        "reserve",
        f"{wanted / 1e6:.0f} MB are not there yet, although there is room",
        "sudo systemctl start ezrec, or: ezrec pulse status",
    )


def other_disk(disk: OtherDisk) -> Finding:
    """One disk that holds something of ours beside the spool's."""
    if not disk.wrong:
        holds = ", ".join(disk.holds)
        return ok("other disk", f"{disk.place}, with {holds}: {disk.free_bytes / 1e6:.0f} MB free")
    if disk.is_read_only:
        mount = host.mount_of(Path(disk.place))
        point = mount.point if mount else disk.place
        return warning("other disk", disk.wrong, f"see why: dmesg; then sudo mount -o remount,rw {point}")
    return warning(
        "other disk", disk.wrong, f"see what fills it: sudo du -xh --threshold=10M {disk.place}; df -i"
    )


def _watch(spool: Spool) -> Finding:
    limits = host.inotify_limits()
    said = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in limits.items())
    wider = "sudo sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=262144"
    callbacks: dict[Path, Callable[[], None]] = {
        path: lambda: None for path in spool.places() if path.is_dir() and not path.name.startswith(".")
    }
    watcher = DirectoryWatcher(callbacks, logging.getLogger("ezrec.doctor"))
    try:
        watcher.arm()
    except Unwatchable as wrong:
        return fault("watching", f"{wrong}; the limits: {said}", wider)
    finally:
        watcher.disarm()
    if limits.get("instances", _ENOUGH_INSTANCES) < _ENOUGH_INSTANCES or (
        limits.get("watches", _ENOUGH_WATCHES) < _ENOUGH_WATCHES
    ):
        return warning("watching", f"works, but the limits are low: {said}", wider)
    return ok("watching", f"works; the limits are {said}")


# ---- who works, and what is stuck


def jobs(settings: Settings) -> Findings:
    """Who works on which stage, and the jobs that nobody will move."""
    if not settings.spool.is_dir():
        return
    spool = Spool(settings.spool)
    now = common.clock(settings).now()
    for name in STAGES:
        stage = STAGES[name]
        holder = spool.lock(name).holder()
        stuck = "" if holder else _stuck(spool, stage, now - _OVERDUE)
        if stuck:
            yield warning(f"stage {name}", stuck, "start EZREC: sudo systemctl start ezrec, or ezrec run")
        else:
            yield ok(f"stage {name}", f"worked by {holder}" if holder else "nothing due, no worker runs")
    failed = spool.names(State.FAILED)
    if failed:
        yield warning("failed jobs", _listed(failed), "see why, and the cure: ezrec spool ls --failed")
    else:
        yield ok("failed jobs", "none")


def _stuck(spool: Spool, stage: Stage, before: datetime) -> str:
    """Jobs that wait for a worker that does not run: claimed by a dead one, or due since `before`."""
    in_hand = spool.names(stage.works_in) if stage.works_in is not stage.takes_from else []
    due = [
        entry.id
        for entry in spool.entries(stage.takes_from)
        if entry.job.is_due(before) and (entry.job.due or entry.job.since) <= before
    ]
    said = []
    if in_hand:
        said.append(f"{_listed(in_hand)} in {stage.works_in}/ was claimed by a process that is gone")
    if due:
        said.append(f"{_listed(due)} in {stage.takes_from}/ is due, and no worker runs")
    return "; ".join(said)


def _listed(ids: Iterable[str]) -> str:
    ids = sorted(ids)
    more = "" if len(ids) <= _NAMED else f" and {len(ids) - _NAMED} more"
    return ", ".join(shown(one).strip("'") for one in ids[:_NAMED]) + more
