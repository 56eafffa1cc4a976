"""What a person may do to a job: retry it, hold it, release it, remove it, restore it.

Each action is one rename. Of two processes that move one job, the slower gets `Busy` and looks again. A job
that a stage works on is never touched. Two stages work in place and would not notice a rename: their lock is
held for the moment of the move (`_undisturbed`). Works whether or not EZREC is running.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from ezrec.domain.errors import Busy, NoSuchJob, Refused
from ezrec.domain.job import Arrival, BadRecord, Job, JobOutcome, Kind
from ezrec.domain.names import shown
from ezrec.domain.stages import IN_HAND, STAGES, State, comes_from
from ezrec.spool.intake import REJECTED
from ezrec.spool.lookup import TRASH, find
from ezrec.spool.spool import Entry, Gone, Spool, Taken
from ezrec.system import plain_files

_PATIENCE_S = 10.0  # the retry stage holds its lock only while it moves entries
_OWNER = {State.RECORDING: "record", State.PROCESSING: "process", State.PROCESSED: "upload"}
_VIDEO_ENDINGS = (".mp4", ".mov", ".m4v", ".mkv", ".avi", ".ts", ".mts", ".m2ts", ".webm", ".h264", ".h265")
_DEEPEST, _MOST_NAMED = 4, 20  # of a directory that was dropped: what is looked at, and told
_FREE_STATES = (State.INCOMING, State.RAW, State.PROCESSED, State.DEFERRED, State.FAILED)


# ---- who works on it


def in_hand(spool: Spool, entry: Entry) -> str:
    """Who works on the job, in words; empty when nobody does."""
    state = entry.state
    if state in IN_HAND:
        return f"the {_OWNER[state]} stage ({spool.lock(_OWNER[state]).holder() or 'no process named'})"
    if state is State.PROCESSED:
        holder = spool.lock(_OWNER[state]).holder()
        if entry.job.boot_id or entry.id in re.findall(r"[\w-]+", holder):
            return f"the upload stage ({holder or 'no process named'})"
    return ""


def _is_alive(spool: Spool, stage: str) -> bool:
    try:
        with spool.lock(stage).held(0):
            return False
    except Busy:
        return True


def _refuse_in_hand(spool: Spool, entry: Entry, wish: str) -> None:
    holder = in_hand(spool, entry)
    if not holder:
        return
    stage = _OWNER[entry.state]
    if _is_alive(spool, stage):
        raise Refused(f"job {entry.id} is in the hands of {holder}", f"{wish} it when that is over")
    raise Refused(
        f"job {entry.id} lies in {entry.state}/ and its worker is dead",
        f"the next start of the stage gives it back: ezrec run, or ezrec run-stage {stage} --once",
    )


@contextlib.contextmanager
def _undisturbed(spool: Spool, entry: Entry, wish: str) -> Iterator[Entry]:
    """The entry as it stands, while no stage that works in place can begin with it.

    The retry stage and the uploader do not claim by rename. So a rename of ours would not stop them from
    writing back what they read before. Raises `Busy` and `Refused`.
    """
    state, label = entry.state, f"{wish} {entry.id}"
    with contextlib.ExitStack() as held, _busy_when_moved(entry):
        if state is State.DEFERRED:
            held.enter_context(spool.lock("retry").held(_PATIENCE_S, label))
        is_sure = False
        if state is State.PROCESSED:
            with contextlib.suppress(Busy):  # it uploads, perhaps another job: the first rename wins
                held.enter_context(spool.lock("upload").held(0, label))
                is_sure = True
        entry = spool.read(state, entry.path.name)
        if not is_sure:
            _refuse_in_hand(spool, entry, wish)
        yield entry


@contextlib.contextmanager
def _busy_when_moved(entry: Entry) -> Iterator[None]:
    try:
        yield
    except (Gone, FileNotFoundError):
        raise Busy(f"job {entry.id}: somebody moved it; look again") from None
    except BadRecord as fault:
        raise Refused(str(fault)) from None


# ---- moving


def retry(spool: Spool, entry: Entry, now: datetime, lead_s: float, from_stage: str | None = None) -> Entry:
    """Give a job back to the stage that failed, or to `from_stage`; its attempts are counted from 0 again.

    `lead_s`: how many seconds before its start a booking is claimed. Raises `Refused` and `Busy`.
    """
    if from_stage is None and entry.state in (State.INCOMING, State.RAW, State.PROCESSED):
        _refuse_in_hand(spool, entry, "retry")
        raise Refused(
            f"job {entry.id} waits in {entry.state}/ for its turn already",
            f"to do it over: ezrec spool retry {entry.id} --from process",
        )
    with _undisturbed(spool, entry, "retry") as entry:
        target = _target(from_stage) if from_stage else comes_from(entry.job)
        _check_content(entry, target)
        job = replace(
            entry.job, attempts={}, recoveries=0, power_cuts=0, due=_due(entry.job, target, lead_s),
            waits_for="", held="", boot_id="",
        )  # fmt: skip
        if from_stage == "process" and job.result is not None:
            # Whoever asks for it wants another one: this one may lack an intro that could not be used then.
            job = replace(job, result=replace(job.result, made_from=()))
        return _send(spool, entry, target, job, now)


def hold(spool: Spool, entry: Entry, now: datetime, why: str = "held by a person") -> Entry:
    """Put a job into `deferred/` until a person releases it. Raises `Refused` and `Busy`."""
    if entry.state is State.FAILED:
        raise Refused(f"job {entry.id} waits for a person in failed/ already")
    with _undisturbed(spool, entry, "hold") as entry:
        if entry.state is State.DEFERRED:
            entry.update(held=why, due=None)
            return entry
        job = replace(entry.job, held=why, due=None, return_to=str(entry.state), boot_id="")
        return spool.move(entry, State.DEFERRED, job.arrived(State.DEFERRED, now))


def release(spool: Spool, entry: Entry, now: datetime, lead_s: float) -> Entry:
    """Give a held job back to the stage it came from. Raises `Refused` and `Busy`."""
    with _undisturbed(spool, entry, "release") as entry:
        if not (entry.job.held or _is_half_moved(entry)):
            raise Refused(f"job {entry.id} is not held", "ezrec spool ls shows what each job waits for")
        target = comes_from(entry.job)
        job = replace(entry.job, held="", due=_due(entry.job, target, lead_s))
        return _send(spool, entry, target, job, now)


def _is_half_moved(entry: Entry) -> bool:
    """True when an action was interrupted between writing the record and the move."""
    arrivals = entry.job.arrivals
    return entry.state is State.DEFERRED and bool(arrivals) and arrivals[-1].state != State.DEFERRED


def _send(spool: Spool, entry: Entry, target: State, job: Job, now: datetime) -> Entry:
    """Give a job to a stage. The record is written before the move, so it must also be true when the move
    does not follow: `return_to` then says where the job was to go.
    """
    job = replace(job, reason="", remedy="", return_to=str(target))
    return spool.move(entry, target, job.arrived(target, now))


def remove(spool: Spool, entry: Entry, now: datetime, *, with_footage: bool = False) -> Entry:
    """Put a job into the trash, from where `restore` brings it back. Raises `Refused` and `Busy`."""
    with _undisturbed(spool, entry, "remove") as entry:
        if not with_footage and (footage := footage_of(entry)):
            raise Refused(
                f"job {entry.id} holds footage that was never uploaded ({', '.join(footage)})",
                f"if you mean it: ezrec spool rm --with-footage {entry.id}",
            )
        job, state = entry.job, str(entry.state)
        if not job.arrivals or job.arrivals[-1].state != state:
            job = replace(job, arrivals=(*job.arrivals, Arrival(state, now)))
        job = replace(job.arrived(TRASH, now), outcome=JobOutcome.REMOVED, boot_id="")
        try:
            spool.throw_away(entry, job)
        except Taken:
            raise Refused(f"the trash holds a job {entry.id} already", "empty spool/.trash/ first") from None
        return entry


def restore(spool: Spool, prefix: str, now: datetime) -> Entry:
    """Bring a job back from the trash to where it was. Raises `NoSuchJob` and `Busy`."""
    entry = find(spool, prefix, places=(TRASH,)).entry
    if entry is None:
        raise NoSuchJob(f"no job in the trash has the id {shown(prefix)}")
    free = {str(state) for state in _FREE_STATES}
    was = [arrival.state for arrival in entry.job.arrivals if arrival.state in free]
    target = State(was[-1]) if was else State.FAILED
    with _busy_when_moved(entry):
        return spool.move(entry, target, replace(entry.job, outcome=None).arrived(target, now))


def footage_of(entry: Entry) -> list[str]:
    """The names of the files that hold video which was never uploaded."""
    known = [take.file for take in entry.job.takes]
    found = []
    with os.scandir(entry.path) as files:
        for file in sorted(files, key=lambda file: file.name):
            if file.name == REJECTED and file.is_dir(follow_symlinks=False):
                found += _videos_below(Path(file.path))
            elif not file.is_file(follow_symlinks=False) or file.stat(follow_symlinks=False).st_size == 0:
                continue
            elif file.name in known or file.name.endswith(".mp4") or _looks_like_video(file):
                found.append(shown(file.name)[1:-1])
    return found


def _videos_below(directory: Path) -> list[str]:
    """The videos in a directory that was dropped and refused, down to a depth that people use."""
    found = []
    for place, below, names in os.walk(directory):
        if len(Path(place).relative_to(directory).parts) >= _DEEPEST:
            below.clear()
        for name in sorted(names):
            path = Path(place, name)
            if name.lower().endswith(_VIDEO_ENDINGS) and path.lstat().st_size:
                found.append(shown(str(path.relative_to(directory.parent)))[1:-1])
    return found[:_MOST_NAMED]


def _looks_like_video(file: os.DirEntry[str]) -> bool:
    """True for a refused file that begins like an MP4: it may be possible to repair it."""
    if file.name != REJECTED:
        return False
    try:
        return plain_files.read(Path(file.path), 12)[4:8] == b"ftyp"
    except OSError:
        return False


def _target(stage_name: str) -> State:
    return STAGES[stage_name].takes_from


def _due(job: Job, target: State, lead_s: float) -> datetime | None:
    """When the job is due: a booking `lead_s` before its start, everything else at once (None)."""
    if target is State.INCOMING and job.booking is not None:
        return job.booking.start - timedelta(seconds=lead_s)
    return None


def _check_content(entry: Entry, target: State) -> None:
    """Refuse to send a job where it could only fail again."""
    job = entry.job
    if job.kind is Kind.LOGS:
        return
    if target is State.INCOMING and job.booking is None:
        raise Refused(f"job {entry.id} is no booking: there is nothing to record")
    if target is State.RAW and not job.takes:
        raise Refused(f"job {entry.id} holds no footage to process", job.remedy)
    if target is State.PROCESSED and job.result is None:
        raise Refused(
            f"job {entry.id} holds no finished video to upload",
            f"make it: ezrec spool retry {entry.id} --from process",
        )
