"""A real Chromium that plays a video served from here and tells what it saw.

Needs no driver: the page itself reports.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_LIMIT_S = 110

_PAGE = """<!doctype html><body><video id=v muted playsinline></video><script>
const plan = %s, v = document.getElementById('v'), report = {errors: [], shown: {}, played: []};
const canvas = document.createElement('canvas'), pen = canvas.getContext('2d', {willReadFrequently: true});
const heard = (name) => new Promise((done, fail) => {
  v.addEventListener(name, done, {once: true});
  setTimeout(() => fail(new Error(name + ' never came')), 40000);
});
const colour = () => {
  canvas.width = v.videoWidth; canvas.height = v.videoHeight;
  pen.drawImage(v, 0, 0);
  return [...pen.getImageData(v.videoWidth >> 1, v.videoHeight >> 1, 1, 1).data].slice(0, 3);
};
const seek = async (at) => {  // a busy machine says 'seeked' before the picture has changed
  const done = heard('seeked'), shown = new Promise((seen) => {
    v.requestVideoFrameCallback(seen);
    setTimeout(seen, 3000);
  });
  v.currentTime = at;
  await done;
  await shown;
};
v.addEventListener('error', () => report.errors.push(`${v.error.code}: ${v.error.message}`));
(async () => {
  try {
    const ready = heard('loadeddata');
    v.src = '/video.mp4';
    await ready;
    report.duration = v.duration;
    for (const join of plan.joins) {
      await seek(Math.max(0, join - 0.4));
      await v.play();
      for (let n = 0; n < 1200 && v.currentTime < join + 0.4 && !v.error; n++)
        await new Promise((done) => setTimeout(done, 25));
      v.pause();
      report.played.push(v.currentTime);
    }
    for (const at of plan.seeks) { await seek(at); report.shown[at] = colour(); }
    const quality = v.getVideoPlaybackQuality();
    report.corrupted = quality.corruptedVideoFrames || 0;
  } catch (fault) { report.errors.push(String(fault)); }
  await fetch('/report', {method: 'POST', body: JSON.stringify(report)});
})();
</script>"""


_PIXELS = """<!doctype html><body><script>
const shots = %s, report = [];
const canvas = document.createElement('canvas'), pen = canvas.getContext('2d', {willReadFrequently: true});
(async () => {
  for (const [video, at, x, y] of shots) {
    const v = document.createElement('video');
    v.muted = true;
    document.body.append(v);
    try {
      const heard = (name) => new Promise((done, fail) => {
        v.addEventListener('error', () => fail(new Error(v.error.message)));
        v.addEventListener(name, done, {once: true});
        setTimeout(() => fail(new Error(name + ' never came')), 20000);
      });
      const ready = heard('loadeddata');
      v.src = video;
      await ready;
      const there = heard('seeked'), shown = new Promise((seen) => {
        v.requestVideoFrameCallback(seen);
        setTimeout(seen, 3000);
      });
      v.currentTime = at;
      await there;
      await shown;
      canvas.width = v.videoWidth; canvas.height = v.videoHeight;
      pen.drawImage(v, 0, 0);
      report.push([...pen.getImageData(x, y, 1, 1).data].slice(0, 3));
    } catch (fault) { report.push([String(fault)]); }
    v.remove();
  }
  await fetch('/report', {method: 'POST', body: JSON.stringify(report)});
})();
</script>"""


@dataclass(frozen=True)
class Shot:
    """A pixel of a video at a time."""

    video: Path
    at: float
    x: int
    y: int


def pixels(shots: Sequence[Shot], folder: Path) -> list[tuple[int, int, int]]:
    """Red, green and blue of each as Chromium shows it, all on one page: its start takes the longest."""
    videos = {f"/{number}.mp4": shot.video for number, shot in enumerate(shots)}
    asked = [(name, shot.at, shot.x, shot.y) for name, shot in zip(videos, shots, strict=True)]
    found: list[tuple[int, int, int]] = [
        tuple(one) for one in _reported(_PIXELS % json.dumps(asked), videos, folder)
    ]
    return found


def watched(video: Path, folder: Path, joins: Sequence[float], seeks: Sequence[float]) -> dict[str, Any]:
    """What Chromium says after it played across each join and then sought each time of `seeks`."""
    page = _PAGE % json.dumps({"joins": list(joins), "seeks": list(seeks)})
    found: dict[str, Any] = _reported(page, {"/video.mp4": video}, folder)
    return found


def _reported(page: str, videos: Mapping[str, Path], folder: Path) -> Any:
    """What a page says that is given these videos."""
    assert CHROMIUM
    reports: list[Any] = []
    told = threading.Event()

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/":
                self.give(200, "text/html", page.encode())
            elif self.path in videos:
                data = videos[self.path].read_bytes()
                first = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
                self.give(206, "video/mp4", data[first:], f"bytes {first}-{len(data) - 1}/{len(data)}")
            else:
                self.give(404, "text/plain", b"")

        def do_POST(self) -> None:
            reports.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.give(200, "text/plain", b"")
            told.set()

        def give(self, code: int, kind: str, data: bytes, piece: str = "") -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            if piece:
                self.send_header("Content-Range", piece)
                self.send_header("Accept-Ranges", "bytes")
            self.end_headers()
            try:
                self.wfile.write(data)
            except ConnectionError:  # a browser breaks off what it has seen enough of
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Requests are of no interest."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio", "--no-first-run"]
    command += ["--autoplay-policy=no-user-gesture-required", "--disable-background-networking"]
    command += ["--disable-component-update", f"--user-data-dir={folder / 'chromium'}"]
    command += [f"http://127.0.0.1:{server.server_port}/"]
    said = (folder / "chromium.log").open("wb")
    child = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
    try:
        assert told.wait(_LIMIT_S), (folder / "chromium.log").read_text(errors="replace")[-2000:]
    finally:
        signal_group(child)
        said.close()
        server.shutdown()
        server.server_close()
    return reports[0]


def signal_group(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait(20)
