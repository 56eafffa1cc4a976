"""Realtime as a hint: it rings when something changes, dies alone, and comes back by itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from ezrec.cloud.supabase.backend import SupabaseBackend
from ezrec.cloud.supabase.connection import ConnectionAccess
from ezrec.cloud.supabase.realtime import Hint
from ezrec.domain.errors import Retry
from ezrec.runtime.scheduler import PeriodicTask, WorkerThread
from ezrec.system.task import WakeUp
from tests.fakes.clock import StandingClock
from tests.supabase_server.fixture import Front, Project
from tests.supabase_server.front_end import FrontEnd
from tests.support.daemon import Box
from tests.support.stagework import running_thread
from tests.support.wait import LIMIT_S, eventually

HOUR = timedelta(hours=1)
START = datetime(2031, 6, 1, 18, 0, tzinfo=UTC)
QUIET_S = 1.0


@dataclass
class Listener:
    front: Front
    front_end: FrontEnd
    hint: Hint
    bell: WakeUp

    def book(self) -> str:
        return self.front_end.book(START, START + HOUR)


@pytest.fixture(scope="module")
def front(project: Project) -> Iterator[Front]:
    with project.another_front(REALTIME="1") as made:
        yield made


@contextmanager
def listening(project: Project, front: Front, key: str = "") -> Iterator[Listener]:
    account, bell = project.account(), WakeUp()
    access = ConnectionAccess(front.url, key or project.service_key)
    cloud = SupabaseBackend(access, account.user_id, account.camera_id, StandingClock())
    yield Listener(front, FrontEnd(project, account), cloud.hint(bell.ring), bell)
    cloud.close()


@pytest.fixture
def listener(project: Project, front: Front) -> Iterator[Listener]:
    with listening(project, front) as made:
        yield made


def in_lane(listener: Listener) -> AbstractContextManager[WorkerThread]:
    return running_thread(PeriodicTask("realtime", 0.1, listener.hint.listen).turn, listener.hint)


def test_a_change_of_our_account_rings_and_another_accounts_does_not(
    listener: Listener, project: Project
) -> None:
    with in_lane(listener):
        assert listener.bell.wait(LIMIT_S), "it begins with a look: something may have happened before"
        booking = listener.book()
        assert listener.bell.wait(LIMIT_S)
        project.change("bookings", {"status": "cancelled"}, id=f"eq.{booking}")
        assert listener.bell.wait(LIMIT_S)
        FrontEnd(project, project.account()).book(START, START + HOUR)
        assert not listener.bell.wait(QUIET_S)


def test_a_killed_realtime_rings_again_when_it_is_back(listener: Listener) -> None:
    with in_lane(listener) as lane:
        assert listener.bell.wait(LIMIT_S)
        listener.front.stop()
        try:
            assert not listener.bell.wait(QUIET_S)
        finally:
            listener.front.start()
        assert listener.bell.wait(LIMIT_S), "what was missed is looked for"
        listener.book()
        assert listener.bell.wait(LIMIT_S)
        assert lane.is_alive()


def test_it_outlives_more_failures_than_its_library_does(listener: Listener) -> None:
    listener.front.stop()
    try:
        for _ in range(8):
            with pytest.raises(Retry, match="no hints"):
                listener.hint.listen()
    finally:
        listener.front.start()
    with in_lane(listener):
        assert listener.bell.wait(LIMIT_S)


def test_a_refused_token_is_tried_again_slower_and_slower(project: Project, front: Front) -> None:
    foreign = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.c2lnbmF0dXJl"
    with listening(project, front, foreign) as listener, pytest.raises(Retry, match="InvalidJWT"):
        listener.hint.listen()


def test_it_ends_when_it_is_asked_to_before_or_while_it_listens(listener: Listener) -> None:
    listener.hint.ring()
    listener.hint.listen()
    thread = threading.Thread(target=listener.hint.listen)
    thread.start()
    assert listener.bell.wait(LIMIT_S)
    listener.hint.ring()
    thread.join(LIMIT_S)
    assert not thread.is_alive()


def test_a_daemon_that_fetches_once_an_hour_hears_of_a_booking_at_once(
    project: Project, front: Front, tmp_path_factory: pytest.TempPathFactory
) -> None:
    front_end = FrontEnd(project, project.account())
    box = Box(
        tmp_path_factory.mktemp("box"),
        EZREC_BACKEND="supabase",
        SUPABASE_URL=front.url,
        SUPABASE_KEY=project.service_key,
        USER_ID=front_end.account.user_id,
        CAMERA_ID=front_end.account.camera_id,
        BOOKING_FETCH_INTERVAL="3600",
        EZREC_REALTIME="yes",
    )
    try:
        daemon = box.run("--only", "record,sync")
        box.wait_for(lambda: "hints of changed bookings come" in box.talk(), "it does not listen")
        booking = front_end.book(START, START + HOUR)
        box.wait_for(lambda: box.find(booking) is not None, "the booking was not heard of")
        assert box.end(daemon) == 0
    finally:
        box.close()
    assert eventually(lambda: daemon.poll() is not None)
