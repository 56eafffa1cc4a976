"""How long after a recording its video is finished, with prerendering and without it.

    python -m bench.ahead [--seconds N] [--size 1280x720] [--out FILE]

Two whole runs, one after the other, of `ezrec run` with the software camera, a booking, an intro and a logo
that is always shown. Counts, too, what the recorder says it lost, the frames in the takes beside those that
their length asks for, and the gaps: prerendering must not cost one.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench import machine
from ezrec import settings
from ezrec.app import common
from ezrec.app.publishing import local_backend
from ezrec.diagnostics.demo import make_branding
from ezrec.domain import health
from ezrec.domain.stages import State
from ezrec.media.mp4.samples import read

_LEAD_S = 12.0
_LANES = "record,process,retry,sync,ahead"


def measured(folder: Path, seconds: float, size: str, mode: str) -> dict[str, Any]:
    environ = {
        "PATH": os.environ["PATH"], "TZ": "UTC", "LANG": "C.UTF-8", "EZREC_HOME": str(folder),
        "EZREC_BACKEND": "local", "EZREC_CAMERA": "software", "EZREC_ASSUME_CLOCK": "yes",
        "EZREC_PRE_ROLL": "0", "EZREC_POST_ROLL": "0", "EZREC_ARM": "8", "RESOLUTION": size,
        "RECORDING_BITRATE": "4000000", "EZREC_PROCESS_WHILE_RECORDING": mode, "EZREC_LOGO_AT": "process",
    }  # fmt: skip
    box = settings.load(environ)
    spool, store = common.spool(box), local_backend(box)
    store.set_branding(*make_branding(folder / "branding"))
    start = common.clock(box).now() + timedelta(seconds=_LEAD_S)
    booking = store.book(start, start + timedelta(seconds=seconds))
    with (folder / "log").open("wb") as log:
        argv = [sys.executable, "-m", "ezrec", "run", "--only", _LANES]
        daemon = subprocess.Popen(argv, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        ends, said = time.monotonic() + 4 * seconds + 300, None
        while (entry := spool.find(booking)) is None or entry.state is not State.PROCESSED:
            if time.monotonic() > ends:
                raise TimeoutError((folder / "log").read_text()[-2000:])
            said = _health(box.state) or said
            time.sleep(0.2)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)
    came = {arrival.state: arrival.at for arrival in entry.job.arrivals}
    report = json.loads((entry.path / "processing.json").read_bytes())
    tracks = [read(entry.path / take.file).picture for take in entry.job.takes]
    return {
        "mode": mode,
        "seconds": (came["processed"] - came["raw"]).total_seconds(),
        "parts": f"{report['checks']['parts_found']} of "
        f"{report['checks']['parts_found'] + report['checks']['parts_made']}",
        "left_s": _left(report),
        "frames": sum(len(track) for track in tracks),
        "due": sum(round(track.length_s * 30) for track in tracks),
        "lost": said.dropped if said else None,
        "gaps": len(entry.job.gaps),
        "takes": len(tracks),
    }


def _health(state: Path) -> health.Health | None:
    try:
        return health.decode((state / health.FILE).read_bytes())
    except (OSError, ValueError):
        return None


def _left(report: dict[str, Any]) -> str:
    """Seconds of video that were left to encode when the recording had ended."""
    return next((why.split("; ")[1].split()[0] for why in report["why"] if "left to encode" in why), "–")


def page(seconds: float, size: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "# How long after a recording its video is finished"
    yield ""
    yield from machine.facts()
    yield ""
    yield f"A booking of {seconds:g} s, software camera, {size} at 30 frames a second, 4 Mbit/s; an intro,"
    yield "logo always; parts of 30 s. `due` are the frames that the length of the takes asks for, `lost`"
    yield "what the recorder counts as dropped. Made by `python -m bench.ahead`."
    yield ""
    yield (
        "| while recording | s from its end to the video | parts there | s left to encode"
        " | frames (due) | lost | gaps | takes |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        mode = "encode behind it" if row["mode"] == "nice" else "rest"
        yield (
            f"| {mode} | {row['seconds']:.1f} | {row['parts']} | {row['left_s']} | {row['frames']}"
            f" ({row['due']}) | {row['lost']} | {row['gaps']} | {row['takes']} |"
        )
    yield ""


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--seconds", type=float, default=120.0)
    asked.add_argument("--size", default="1280x720")
    asked.add_argument("--out", type=Path)
    given = asked.parse_args()
    rows = []
    for mode in ("no", "nice"):
        with tempfile.TemporaryDirectory(prefix="ezrec-bench-") as folder:
            rows.append(measured(Path(folder), given.seconds, given.size, mode))
    text = "\n".join(page(given.seconds, given.size, rows))
    print(text)
    if given.out:
        given.out.write_text(text)


if __name__ == "__main__":
    main()
