"""The senders that `bench.upload` compares: each sends one file once, in a process of its own.

Those in Python are measured from inside, after their imports and a first request; curl from outside.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic

PIECE = 6 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """Where a sender sends to, and how it shows who it is."""

    url: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}", "apikey": self.key, "x-upsert": "true"}

    @property
    def endpoint(self) -> str:
        return f"{self.url}/storage/v1/upload/resumable"


@dataclass(frozen=True, slots=True)
class Run:
    """What one upload cost: the sender's own CPU, and by how much its memory grew at most."""

    seconds: float
    cpu_s: float
    grown_mb: float


def _metadata(name: str) -> dict[str, str]:
    return {"bucketName": "videos", "objectName": f"bench/{name}.mp4", "contentType": "video/mp4"}


# ---- curl


def curl_object(target: Target, source: Path) -> Run:
    """One POST of everything to the object API: not resumable."""
    headers = {**target.headers, "Content-Type": "video/mp4"}
    url = f"{target.url}/storage/v1/object/videos/bench/curl.mp4"
    return _curl([_send("POST", source, headers, url)])


def curl_whole(target: Target, source: Path) -> Run:
    """One PATCH of everything."""
    url = _created(target, "whole", source)
    return _curl([_send("PATCH", source, _patch(target, 0), url)])


def curl_pieces(target: Target, source: Path) -> Run:
    """A PATCH a piece, as Supabase asks for it, over one connection; the pieces were cut before."""
    url = _created(target, "pieces", source)
    return _curl(
        [
            _send("PATCH", piece, _patch(target, number * PIECE), url)
            for number, piece in enumerate(cut(source))
        ]
    )


def cut(source: Path) -> list[Path]:
    """The file in pieces, made once."""
    folder = source.with_suffix(".pieces")
    if not folder.exists():
        folder.mkdir()
        with source.open("rb") as file:
            number = 0
            while block := file.read(PIECE):
                (folder / f"{number:05}").write_bytes(block)
                number += 1
    return sorted(folder.iterdir())


def _patch(target: Target, offset: int) -> dict[str, str]:
    return {
        **target.headers,
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": str(offset),
        "Content-Type": "application/offset+octet-stream",
    }


def _created(target: Target, name: str, source: Path) -> str:
    import httpx

    pairs = ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in _metadata(name).items())
    size = str(source.stat().st_size)
    headers = {**target.headers, "Tus-Resumable": "1.0.0", "Upload-Length": size, "Upload-Metadata": pairs}
    answer = httpx.post(target.endpoint, headers=headers).raise_for_status()
    return f"{target.endpoint}/{answer.headers['location'].rpartition('/')[2]}"


def _send(method: str, source: Path, headers: Mapping[str, str], url: str) -> list[str]:
    flags = [flag for name, value in headers.items() for flag in ("-H", f"{name}: {value}")]
    return ["-sfS", "-o", os.devnull, "-X", method, "-T", str(source), *flags, "-H", "Expect:", url]


def _curl(requests: list[list[str]]) -> Run:
    argv = ["curl", *requests[0], *(word for request in requests[1:] for word in ("--next", *request))]
    began, before = monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, check=True, timeout=600)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Run(monotonic() - began, _cpu_s(after) - _cpu_s(before), 0)


# ---- in Python


def ezrec(target: Target, source: Path) -> Run:
    """As to a server of one's own: the pieces grow."""
    return _ezrec(target, source, most=None)


def ezrec_hosted(target: Target, source: Path) -> Run:
    """As to a hosted project: every piece has 6 MiB."""
    return _ezrec(target, source, most=PIECE)


def _ezrec(target: Target, source: Path, most: int | None) -> Run:
    from ezrec.cloud.supabase.backend import SupabaseBackend
    from ezrec.cloud.supabase.credentials import Credentials
    from ezrec.domain.chunk_size import ChunkSize
    from tests.fakes.clock import StandingClock

    sizes = ChunkSize(most) if most else None
    backend = SupabaseBackend(
        Credentials(target.url, target.key), "bench", "0", StandingClock(), chunk_size=sizes
    )
    backend.size_of("videos", "bench/none.mp4")  # imports and connects
    state = source.with_suffix(".json")
    return _measured(lambda: backend.store("videos", "bench/ezrec.mp4", source, lambda _: None, state=state))


def storage3(target: Target, source: Path) -> Run:
    import httpx
    from supabase import Client, ClientOptions

    # Its own time limit of 20 s would end the upload of a large file.
    client = Client(target.url, target.key, ClientOptions(httpx_client=httpx.Client(timeout=600)))
    bucket = client.storage.from_("videos")
    with suppress(Exception):
        bucket.info("bench/none.mp4")
    options = {"content-type": "video/mp4", "upsert": "true"}
    return _measured(lambda: bucket.upload("bench/storage3.mp4", source, options))  # type: ignore[arg-type]


def tuspy(target: Target, source: Path) -> Run:
    from tusclient.client import TusClient

    client = TusClient(target.endpoint, headers=target.headers)
    uploader = client.uploader(str(source), chunk_size=PIECE, metadata=_metadata("tuspy"))
    return _measured(uploader.upload)


def _measured(work: Callable[[], object]) -> Run:
    before, began = resource.getrusage(resource.RUSAGE_SELF), monotonic()
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    grown_mb = (after.ru_maxrss - before.ru_maxrss) / 1024
    return Run(monotonic() - began, _cpu_s(after) - _cpu_s(before), grown_mb)


def _cpu_s(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


SENDERS: dict[str, Callable[[Target, Path], Run]] = {
    "curl, one PATCH": curl_whole,
    "ezrec": ezrec,
    "curl, 6 MiB": curl_pieces,
    "ezrec, 6 MiB": ezrec_hosted,
    "curl, one object": curl_object,
    "storage3": storage3,
    "tuspy": tuspy,
}


def send(name: str, target: Target, source: Path) -> Run:
    """Let the sender work in a process of its own: its CPU and memory are nobody else's."""
    os.sync()  # what the server still holds of the run before would be waited for by the next to sync a file
    argv = [sys.executable, "-m", "bench.upload_senders", name, target.url, target.key, str(source)]
    done = subprocess.run(argv, check=True, timeout=900, stdout=subprocess.PIPE, text=True)
    source.with_suffix(".json").unlink(missing_ok=True)
    return Run(**json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    who, url, key, path = sys.argv[1:]
    print(json.dumps(asdict(SENDERS[who](Target(url, key), Path(path)))))
