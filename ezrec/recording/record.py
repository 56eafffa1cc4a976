"""Record: one booking, from arming the camera to the last second of its window.

Uses no network: only the clock and the camera count. Each take is in the record before its first byte is
written, so after a crash the record names every file.

1. recover: cut the torn tails of takes that a dead recorder left
2. arm the camera shortly before the window
3. write takes until the window is over; a camera that breaks off is started again after 1, 2, 5, 10, 15 s
4. apply amendments meanwhile: another end, a cancellation
5. name the outcome: recorded, partial (with its gaps), missed, cancelled

Steps 2 to 5 are in `session.py`.
"""

from __future__ import annotations

import logging
from datetime import tzinfo

from ezrec.domain.errors import Reject
from ezrec.domain.outcomes import Closed, Done, Preserved
from ezrec.domain.ports import Camera, Clock, Repair
from ezrec.domain.recording_outcome import OnCancel
from ezrec.recording.audio import AudioRecording
from ezrec.recording.recovery import recover_takes
from ezrec.recording.session import Padding, RecordingSession
from ezrec.recording.session_clock import SessionClock
from ezrec.runtime.liveness import HeartbeatRegistry
from ezrec.spool.spool import Entry
from ezrec.system.task import Task


def record(
    entry: Entry,
    task: Task,
    *,
    camera: Camera,
    clock: Clock,
    zone: tzinfo,
    padding: Padding,
    repair: Repair,
    log: logging.Logger,
    on_cancel: OnCancel = OnCancel.KEEP,
    heartbeats: HeartbeatRegistry | None = None,
    microphone: Camera | None = None,
) -> Done | Closed | Preserved:
    """The handler of bookings. `repair` repairs a take that was not closed, and returns what it holds.

    Raises `Retry`, `Reject` and `Stopped`.
    """
    if entry.job.booking is None:
        raise Reject("a job without a booking cannot be recorded", f"remove it: ezrec spool rm {entry.id}")
    heartbeats, session_clock = heartbeats or HeartbeatRegistry(clock.monotonic), SessionClock(clock)
    session = RecordingSession(
        entry, task, camera, session_clock, zone, padding, repair, log, on_cancel, heartbeats
    )
    if microphone:
        session.audio = AudioRecording(entry, microphone, session_clock, session.remember, log)
    if entry.job.reckoning and not entry.job.booking.is_cancelled:
        session_clock.resume(entry.job.reckoning, session.armed)
    try:
        recover_takes(entry, repair, log, session.remember)
        session.run()
        return session.outcome()
    finally:
        heartbeats.done(entry.id)
        if session.audio:
            session.audio.stop()
