"""A sign-in lasts from one process to the next, and is nobody else's business."""

from __future__ import annotations

import json
import os
import stat
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ezrec.cloud.supabase.backend import SupabaseBackend
from ezrec.cloud.supabase.credentials import Credentials
from ezrec.domain.errors import Retry
from tests.fakes.clock import StandingClock
from tests.supabase_server.fixture import Project
from tests.support.daemon import Box

PASSWORD = "a-password-that-nobody-guesses"


class NextBoot(StandingClock):
    def boot_id(self) -> str:
        return "boot-2"


@dataclass
class Device:
    """An account of a device, and how often it signed in or renewed."""

    project: Project
    state: Path
    email: str
    auth_id: str
    key: str

    def backend(
        self, *, password: str = PASSWORD, state: Path | None = None, clock: StandingClock | None = None
    ) -> SupabaseBackend:
        access = Credentials(self.project.url, self.key, self.email, password)
        return SupabaseBackend(access, self.auth_id, "0", clock or StandingClock(), state=state or self.state)

    def call(self, **changes: object) -> None:
        """What a process does that a timer starts."""
        cloud = self.backend(**changes)  # type: ignore[arg-type]
        try:
            cloud.bookings()
        finally:
            cloud.close()

    def counted(self) -> tuple[int, int]:
        """Sessions made, and how many of them by a refresh token."""
        database, _ = self.project.local()
        [found] = database.rows(
            "select count(*) as made, count(used_at) as renewed from auth.refresh_tokens "
            f"where user_id = '{self.auth_id}'"
        )
        return found["made"], found["renewed"]

    @property
    def file(self) -> Path:
        return self.state / f"session-{os.geteuid()}.json"

    def revoke(self) -> None:
        database, _ = self.project.local()
        database.sql(f"update auth.refresh_tokens set revoked = true where user_id = '{self.auth_id}'")

    def secrets(self) -> list[str]:
        kept = json.loads(self.file.read_bytes())["session"]
        return [kept["access"], kept["refresh"], PASSWORD]


@pytest.fixture
def device(project: Project, tmp_path: Path) -> Device:
    return made(project, tmp_path / "state")


def made(project: Project, state: Path) -> Device:
    email = f"{project.account().camera_id}@device.test"
    return Device(project, state, email, project.sign_up(email, PASSWORD), project.anon_key)


def test_processes_that_follow_one_another_sign_in_once(device: Device) -> None:
    for _ in range(5):
        device.call()
    assert device.counted() == (1, 0)


def test_a_run_of_a_timer_signs_in_no_more_while_the_token_lives(device: Device, tmp_path: Path) -> None:
    box = Box(
        tmp_path / "home", EZREC_BACKEND="supabase", SUPABASE_URL=device.project.url,
        SUPABASE_KEY=device.key, USER_ID=device.auth_id,
        EZREC_DEVICE_EMAIL=device.email, EZREC_DEVICE_PASSWORD=PASSWORD,
    )  # fmt: skip
    for part in ("sync", "status", "sync"):
        box.once("pulse", part)
    assert device.counted() == (1, 0)

    kept = replace(device, state=box.settings.state)
    seen = "".join(
        process.stdout + process.stderr
        for process in (
            box.once("pulse", "sync"),
            ended(lambda: box.once("status")),
            ended(lambda: box.once("status", "--json")),
            ended(lambda: box.once("doctor")),
        )
    )
    box.once("pulse", "logs")
    assert list(box.home.rglob("*_logs.zip"))
    for path in box.home.rglob("*"):
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                seen += "".join(archive.read(name).decode(errors="replace") for name in archive.namelist())
        elif path.is_file() and path != kept.file:
            seen += path.read_text(errors="replace")
    for secret in kept.secrets():
        assert secret not in seen


class ended:  # noqa: N801 - reads as a word
    """A command's words, whether it ended well or not: there is something to say of a box without a
    recorder."""

    def __init__(self, run: Callable[[], object]) -> None:
        self.stdout = self.stderr = ""
        try:
            self.stdout = str(run())
        except AssertionError as told:
            self.stdout = str(told)


def test_only_its_owner_reads_the_kept_session(device: Device) -> None:
    device.call()
    assert stat.S_IMODE(device.file.stat().st_mode) == 0o600


def spoil_by_text(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def spoil_by_nonsense(file: Path) -> None:
    file.write_bytes(b'{"whose": 3}')


def spoil_by_rights(file: Path) -> None:
    file.chmod(0o640)


def spoil_by_a_link(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def spoil_by_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def spoil_by_absence(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_by_text,
        spoil_by_nonsense,
        spoil_by_rights,
        spoil_by_a_link,
        spoil_by_a_pipe,
        spoil_by_absence,
    ],
)
def test_a_file_that_cannot_be_trusted_is_like_none(device: Device, spoil: Callable[[Path], None]) -> None:
    device.call()
    spoil(device.file)
    for _ in range(2):
        device.call()
    assert device.counted() == (2, 0)
    assert stat.S_IMODE(device.file.lstat().st_mode) == 0o600


def test_another_account_or_password_does_not_take_the_session_that_is_there(device: Device) -> None:
    device.call()
    with pytest.raises(Retry, match="Invalid login credentials"):
        device.call(password="another")
    other = made(device.project, device.state)
    other.call()
    assert other.counted() == (1, 0)


def test_after_a_reboot_the_session_is_renewed_without_the_password(device: Device) -> None:
    device.call()
    for _ in range(2):
        device.call(clock=NextBoot())
    assert device.counted() == (2, 1)


def test_processes_whose_token_has_expired_renew_it_once_between_them(
    project: Project, tmp_path: Path
) -> None:
    device = made(project, tmp_path / "state")
    device.call()
    kept = json.loads(device.file.read_bytes())
    kept["session"]["renew_at"] = -1.0
    device.file.write_text(json.dumps(kept))
    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(device.call) for _ in range(6)]:
            done.result(60)
    assert device.counted() == (2, 1)


def test_a_process_that_lives_long_takes_what_another_has_renewed(device: Device) -> None:
    old = device.backend()
    old.bookings()
    before = old._cloud.sign_in.token()
    kept = json.loads(device.file.read_bytes())
    kept["session"]["renew_at"] = -1.0
    device.file.write_text(json.dumps(kept))
    device.call()  # renews it
    old._cloud.sign_in.renew()  # the old token was refused
    old.bookings()
    assert old._cloud.sign_in.token() != before
    old.close()
    assert device.counted() == (2, 1)


@pytest.fixture
def revoked(device: Device) -> Device:
    device.call()
    device.revoke()
    return device


def test_a_session_that_was_revoked_is_replaced_by_a_sign_in(revoked: Device) -> None:
    for _ in range(2):
        revoked.call(clock=NextBoot())
    assert revoked.counted() == (2, 0)


def test_where_nothing_can_be_kept_each_process_signs_in(device: Device, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    for _ in range(2):
        device.call(state=blocked)
    assert device.counted() == (2, 0)
