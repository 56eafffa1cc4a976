"""The clouds' part of the composition root: makes a backend of the settings, and what uploads to it.

What is heavy is imported where it is used; the recorder never imports the cloud client.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ezrec.app.common import clock
from ezrec.domain.errors import ConfigError
from ezrec.domain.findings import Findings
from ezrec.domain.job import Kind
from ezrec.domain.ports import Backend
from ezrec.domain.upload_schedule import upload_order
from ezrec.monitoring.collect import last_report
from ezrec.runtime.worker import Handler
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
    """`keeps_notes`: it may write into EZREC_STATE how the cloud treats it. Who only looks must not."""
    if settings.backend == "local":
        return local_backend(settings)
    return shared_supabase(settings) if keeps_notes else _supabase(settings, None)


@functools.lru_cache(maxsize=1)
def shared_supabase(settings: Settings) -> SupabaseBackend:
    """One for all lanes of a process: one sign-in, one kept connection, one pause when it is refused."""
    return _supabase(settings, settings.state)


def _supabase(settings: Settings, state: Path | None) -> SupabaseBackend:
    from ezrec.cloud.supabase.backend import from_settings

    if not settings.supabase_key:
        raise ConfigError([NO_KEY])
    return from_settings(settings, clock(settings), state)


def cloud_check(settings: Settings) -> Findings:
    """What a person should know about the Supabase project. Changes nothing there."""
    from ezrec.cloud.supabase.check import check

    return check(settings)


def backend_state(settings: Settings) -> str:
    """One short line for people."""
    if settings.backend == "local":
        return f"local, in {settings.local_store}"
    return f"supabase, {settings.supabase_url}"


def upload_policy(settings: Settings) -> UploadPolicy:
    from ezrec.cloud.connectivity import Connectivity
    from ezrec.publishing.policy import UploadPolicy

    policy = UploadPolicy(
        Spool(settings.spool),
        clock(settings),
        settings.zone,
        settings.upload_hours,
        settings.upload_while_recording,
        Connectivity(settings.reach).is_offline,
        rate=lambda: report.facts.uploads.bytes_a_second if (report := last_report(settings.state)) else None,
    )
    policy.order = upload_order(settings.upload_order, policy.urgent_until)
    return policy


def uploading(settings: Settings, log: logging.Logger) -> dict[Kind, Handler]:
    from ezrec.publishing.upload import archive, upload

    cloud = backend(settings)
    handler = functools.partial(
        upload,
        backend=cloud,
        clock=clock(settings),
        zone=settings.zone,
        user_id=settings.user_id,
        camera_id=settings.camera_id,
        log=log,
        check_policy=upload_policy(settings).check,
    )
    keeper = functools.partial(
        archive, backend=cloud, bucket=settings.log_bucket, camera_id=settings.camera_id, log=log
    )
    return {Kind.BOOKING: handler, Kind.CLIP: handler, Kind.LOGS: keeper}
