"""The backend that the settings name, and the handlers and the policy of the upload stage.

Backends are imported where they are made: the recorder never imports the cloud's client.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ezrec.app.common import clock
from ezrec.domain.errors import ConfigError
from ezrec.domain.job import Kind
from ezrec.domain.ports import Backend
from ezrec.monitoring.state_files import read_status_file
from ezrec.runtime.handling import Handler
from ezrec.settings import NO_KEY, Settings
from ezrec.spool.spool import Spool

if TYPE_CHECKING:
    from ezrec.cloud.local.backend import LocalBackend
    from ezrec.cloud.supabase.backend import SupabaseBackend
    from ezrec.publishing.policy import UploadPolicy


def local_backend(settings: Settings) -> LocalBackend:
    from ezrec.cloud.local.backend import LocalBackend

    return LocalBackend(
        settings.local_store, settings.user_id, settings.camera_id, settings.zone, clock(settings)
    )


def backend(settings: Settings, *, keeps_notes: bool = True) -> Backend:
    """`keeps_notes`: whether it may write into EZREC_STATE how the cloud answered; not for `ezrec doctor`."""
    if settings.backend == "local":
        return local_backend(settings)
    return _shared_supabase(settings) if keeps_notes else _supabase(settings, None)


@functools.lru_cache(maxsize=1)
def _shared_supabase(settings: Settings) -> SupabaseBackend:
    """One for all threads of a process: one sign-in, one kept connection, one pause when it is refused."""
    return _supabase(settings, settings.state)


def _supabase(settings: Settings, state: Path | None) -> SupabaseBackend:
    from ezrec.cloud.supabase.backend import from_settings

    if not settings.supabase_key:
        raise ConfigError([NO_KEY])
    return from_settings(settings, clock(settings), state)


def upload_policy(settings: Settings) -> UploadPolicy:
    from ezrec.cloud.connectivity import Connectivity
    from ezrec.publishing.policy import UploadPolicy

    def rate() -> float | None:
        report = read_status_file(settings.state)
        return report.facts.uploads.bytes_a_second if report else None

    return UploadPolicy(
        Spool(settings.spool), clock(settings), settings.zone, settings.upload_hours,
        settings.upload_while_recording, Connectivity(settings.reach).is_offline, rate,
    )  # fmt: skip


def upload_handlers(settings: Settings, log: logging.Logger, policy: UploadPolicy) -> dict[Kind, Handler]:
    from ezrec.publishing.upload import archive, upload

    cloud = backend(settings)
    video = functools.partial(
        upload,
        backend=cloud,
        clock=clock(settings),
        zone=settings.zone,
        user_id=settings.user_id,
        camera_id=settings.camera_id,
        log=log,
        check_policy=policy.check,
    )
    logs = functools.partial(
        archive, backend=cloud, bucket=settings.log_bucket, camera_id=settings.camera_id, log=log
    )
    return {Kind.BOOKING: video, Kind.CLIP: video, Kind.LOGS: logs}
