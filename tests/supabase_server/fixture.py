"""Starts and ends the test project, or stands for a real one. Knows processes and keys, no test.

Every child dies with this process (`setpriv --pdeathsig`), and every wait has a limit.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SECRET = "a-secret-of-the-test-project-with-more-than-32-characters"
_START_S = 60.0


def missing() -> str | None:
    """What must be installed before the test project can run, in words; None when all is there."""
    if _postgres_bin() is None:
        return "the package postgresql is not installed"
    if shutil.which("node") is None:
        return "the package nodejs is not installed"
    if not (HERE / "node_modules" / "@tus" / "server").is_dir():
        return "its node packages are not installed: npm ci --prefix tests/supabase_server"
    return None


def _postgres_bin() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[4]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


def token(role: str, seconds: float = 3600, **claims: Any) -> str:
    """A key or an access token, signed as the test project signs them."""
    import jwt

    expires = datetime.now(UTC) + timedelta(seconds=seconds)
    return jwt.encode({"role": role, "exp": expires, **claims}, SECRET, algorithm="HS256")


@dataclass
class Child:
    """A process of the test project."""

    process: subprocess.Popen[bytes]
    log: Path

    def end(self, *, kill: bool = False) -> None:
        """End the process by its id, politely first unless `kill`."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill() if kill else self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


def _start(
    argv: list[str], log: Path, env: Mapping[str, str] | None = None, user: str | None = None
) -> Child:
    account = ["--reuid", user, "--regid", user, "--clear-groups"] if user else []
    with log.open("ab") as out:
        process = subprocess.Popen(
            ["setpriv", *account, "--pdeathsig", "KILL", "--", *argv],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd="/",
        )
    return Child(process, log)


@dataclass
class Database:
    """A PostgreSQL cluster of its own, reachable through a socket in its directory and on a loopback port."""

    directory: Path
    user: str | None
    child: Child | None = None
    port: int = 0

    @classmethod
    def create(cls, directory: Path) -> Database:
        user = "postgres" if os.geteuid() == 0 else None
        if user:
            account = pwd.getpwnam(user)
            os.chown(directory, account.pw_uid, account.pw_gid)
        database = cls(directory, user)
        database._run(
            "initdb", "-D", str(directory / "cluster"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"
        )
        database.start()
        database.apply(*sorted((HERE / "sql").glob("*.sql")))
        return database

    def start(self) -> None:
        self.port = self.port or _free_port()
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.directory,
            "fsync": "off",
            "max_connections": "60",
            "shared_buffers": "16MB",
        }
        argv = [str(_binary("postgres")), "-D", str(self.directory / "cluster")]
        for name, value in options.items():
            argv += ["-c", f"{name}={value}"]
        self.child = _start(argv, self.directory / "postgres.log", user=self.user)
        _wait(lambda: self._is_ready(), self.child)

    def stop(self) -> None:
        if self.child:
            self.child.end(kill=False)

    def _is_ready(self) -> bool:
        argv = [str(_binary("pg_isready")), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(argv, timeout=10, check=False).returncode == 0

    def _run(self, program: str, *arguments: str) -> str:
        account = (
            ["setpriv", "--reuid", self.user, "--regid", self.user, "--clear-groups", "--"]
            if self.user
            else []
        )
        argv = [*account, str(_binary(program)), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd="/")
        assert done.returncode == 0, f"{program}: {done.stderr}"
        return done.stdout

    def _psql(self, *arguments: str) -> str:
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", "postgres"]
        return self._run("psql", "-qXAt", "-v", "ON_ERROR_STOP=1", *where, *arguments)

    def apply(self, *files: Path) -> None:
        for file in files:
            self.sql(file.read_text())
        self.sql("notify pgrst, 'reload schema'")

    def sql(self, text: str) -> str:
        """Run SQL as the owner of everything; the answer as psql prints it without ornament."""
        return self._psql("-c", text).strip()

    def rows(self, select: str) -> list[dict[str, Any]]:
        found = self.sql(f"select coalesce(json_agg(found), '[]') from ({select}) found")
        rows: list[dict[str, Any]] = json.loads(found)
        return rows


@dataclass
class Front:
    """The HTTP server in front of a database; may be killed and started again on the same port."""

    database: Database
    data: Path
    options: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    child: Child | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        where = f"127.0.0.1:{self.database.port}/postgres"
        log = self.data.parent / f"{self.data.name}.log"
        log.unlink(missing_ok=True)
        env = {
            "JWT_SECRET": SECRET,
            "DATABASE_URL": f"postgresql://authenticator@{where}",
            "ADMIN_DATABASE_URL": f"postgresql://postgres@{where}",
            "DATA_DIR": str(self.data),
            "PORT": str(self.port),
            **self.options,
        }
        node = shutil.which("node") or "node"
        self.child = _start([node, str(HERE / "server" / "main.mjs")], log, env)
        _wait(lambda: b"port " in log.read_bytes(), self.child)
        match = re.search(r"^port (\d+)$", log.read_text(), re.MULTILINE)
        assert match, log.read_text()
        self.port = int(match[1])

    def stop(self, *, kill: bool = True) -> None:
        if self.child:
            self.child.end(kill=kill)


@dataclass
class Account:
    """One customer with one camera: what keeps the tests out of each other's way."""

    user_id: str
    camera_id: str


@dataclass
class Project:
    """A Supabase project as the tests see it: the one on loopback, or a real one (`database` is None)."""

    url: str
    service_key: str
    directory: Path
    database: Database | None = None
    front: Front | None = None
    _accounts: list[str] = field(default_factory=list)

    @functools.cached_property
    def _http(self) -> Any:
        import httpx

        return httpx.Client(timeout=30)  # one for all: each new one reads the machine's certificates

    def close(self) -> None:
        self._http.close()

    @property
    def anon_key(self) -> str:
        return token("anon")

    def account(self) -> Account:
        made = Account(str(uuid.uuid4()), str(uuid.uuid4()))
        self._accounts.append(made.user_id)
        return made

    def sweep(self) -> None:
        """Take away what the accounts of the tests have left: a real project is not ours."""
        for user_id in self._accounts:
            for table in ("bookings", "videos", "user_settings", "system_status", "cameras"):
                self.request("DELETE", f"/rest/v1/{table}", params={"user_id": f"eq.{user_id}"})
            for bucket, prefix in (("videos", user_id), ("usermedia", f"{user_id}/logo")):
                path = f"/storage/v1/object/list/{bucket}"
                found = self.request("POST", path, json={"prefix": prefix})
                keys = [f"{prefix}/{each['name']}" for each in found]
                if keys:
                    self.request("DELETE", f"/storage/v1/object/{bucket}", json={"prefixes": keys})

    def local(self) -> tuple[Database, Front]:
        """The processes behind the project; a test that needs them is skipped on a real one."""
        if self.database is None or self.front is None:
            pytest.skip("needs the test project: a real one cannot be stopped or altered by a test")
        return self.database, self.front

    @contextlib.contextmanager
    def another_front(self, **options: str) -> Iterator[Front]:
        """A further server over the same database and objects, with settings of its own."""
        database, front = self.local()
        other = Front(database, front.data, options)
        other.start()
        try:
            yield other
        finally:
            other.stop()

    def sign_up(self, email: str, password: str, token_seconds: int | None = None) -> str:
        """Make an account that can sign in; returns its id."""
        database, _ = self.local()
        seconds = "null" if token_seconds is None else str(token_seconds)
        hashed = f"extensions.crypt('{password}', extensions.gen_salt('bf', 4))"
        return database.sql(
            "insert into auth.users(email, encrypted_password, token_seconds) "
            f"values ('{email}', {hashed}, {seconds}) returning id"
        )

    def request(self, method: str, path: str, key: str | None = None, **options: Any) -> Any:
        """One request as a program other than EZREC would send it; the decoded answer."""
        key = key or self.service_key
        headers = {"apikey": key, "Authorization": f"Bearer {key}", **options.pop("headers", {})}
        answer = self._http.request(method, f"{self.url}{path}", headers=headers, **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return (
            answer.json()
            if answer.content and "json" in answer.headers.get("content-type", "")
            else answer.content
        )

    def insert(self, table: str, *rows: Mapping[str, Any]) -> None:
        self.request("POST", f"/rest/v1/{table}", json=list(rows), headers={"Prefer": "return=minimal"})

    def change(self, table: str, row: Mapping[str, Any], **filters: str) -> None:
        self.request("PATCH", f"/rest/v1/{table}", json=row, params=filters)

    def select(self, table: str, **filters: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.request(
            "GET", f"/rest/v1/{table}", params={"select": "*", **filters}
        )
        return rows


def _binary(name: str) -> Path:
    directory = _postgres_bin()
    assert directory is not None
    return directory / name


def _free_port() -> int:
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _wait(is_ready: Any, child: Child) -> None:
    until = time.monotonic() + _START_S
    while not is_ready():
        assert child.process.poll() is None, child.log.read_text()
        assert time.monotonic() < until, f"not ready after {_START_S} s: {child.log.read_text()}"
        time.sleep(0.05)


def wait_for_the_tables(project: Project) -> None:
    """Wait until the server has heard of the new tables."""
    import httpx

    for _ in range(100):
        answer = httpx.get(
            f"{project.url}/rest/v1/devices?limit=1",
            headers={"apikey": project.service_key, "Authorization": f"Bearer {project.service_key}"},
        )
        if answer.status_code == 200:
            return
    raise AssertionError(answer.text)


@pytest.fixture(scope="session")
def project() -> Iterator[Project]:
    """A Supabase project, started once a test process."""
    url, key = os.environ.get("EZREC_TEST_SUPABASE_URL"), os.environ.get("EZREC_TEST_SUPABASE_KEY")
    directory = Path(tempfile.mkdtemp(prefix="ezrec-project-"))
    if url and key:
        real = Project(url.rstrip("/"), key, directory)
        try:
            yield real
            real.sweep()
        finally:
            real.close()
        shutil.rmtree(directory, ignore_errors=True)
        return
    directory.rmdir()
    why = missing()
    if why:
        pytest.skip(f"the test project cannot run: {why}")
    with started() as local:
        yield local


@contextlib.contextmanager
def started() -> Iterator[Project]:
    """The test project on loopback, in a temporary directory, ended with the context."""
    directory = Path(tempfile.mkdtemp(prefix="ezrec-project-"))
    directory.chmod(0o755)
    database_directory = directory / "postgres"
    database_directory.mkdir()
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, directory, ignore_errors=True)
        database = Database.create(database_directory)
        cleanup.callback(database.stop)
        front = Front(database, directory / "data")
        front.start()
        cleanup.callback(front.stop)
        local = Project(front.url, token("service_role"), directory, database, front)
        cleanup.callback(local.close)
        yield local
