"""Makes a finished video's poster, short preview, storyboard to hover over, and loudness.

One that fails is left out, and the report says why; the video is not affected. Writes only into its own
folder.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg  # type: ignore[import-untyped]  # ffmpeg-python ships no types
import msgspec

from ezrec.media.ffmpeg import filters
from ezrec.media.ffmpeg.inputs import file_url
from ezrec.media.ffmpeg.probe import Media
from ezrec.media.ffmpeg.runner import FfmpegFailed, Limits, Log, TookTooLong, run
from ezrec.media.ffmpeg.tools import Tools
from ezrec.system import durable, plain_files
from ezrec.system.task import CancelToken

FOLDER = "artefacts"
_PREVIEW_S = 10.0
_COLUMNS, _ROWS = 5, 5
_TILE = 160
_LOUD = re.compile(r"^[ \t]*I:[ \t]+(-?\d+\.\d) LUFS", re.MULTILINE)
_WALL_BASE_S, _WALL_FACTOR = 60.0, 0.05  # the finished video waits no longer for one of them


@dataclass(frozen=True, slots=True)
class Artefacts:
    """Makes what is wanted of one video into `folder`."""

    tools: Tools
    video: Media
    folder: Path
    token: CancelToken
    log: Log

    def make(self, wanted: Collection[str]) -> dict[str, object]:
        """The result of each: the name of a file, a number, or "none:" and why."""
        ways: dict[str, Callable[[], object]] = {
            "poster": self._poster,
            "preview": self._preview,
            "storyboard": self._storyboard,
            "loudness": self._loudness,
        }
        if wanted:
            try:
                plain_files.folder(self.folder)
            except OSError as fault:
                return dict.fromkeys(wanted, f"none: {fault.strerror}")
        made: dict[str, object] = {}
        for name in wanted:
            try:
                made[name] = ways[name]()
            except FfmpegFailed as fault:
                made[name] = f"none: {fault.last_word}"
            except TookTooLong as fault:
                made[name] = f"none: {fault.reason}"
            except OSError as fault:
                made[name] = f"none: {fault.strerror}"
        return made

    def _poster(self) -> str:
        """From a third of the way: at the beginning there is the intro."""
        picture = self._picture(self._length_s / 3, 0).filter("scale", "min(1280,iw)", -2)
        return self._written(
            "poster.jpg", picture, **{"frames:v": 1, "q:v": 4, "f": "image2pipe", "c:v": "mjpeg"}
        )

    def _preview(self) -> str:
        begin = max(0.0, self._length_s / 2 - _PREVIEW_S / 2)
        source = filters.opened(self.video, ss=filters.seconds_text(begin))
        streams = [source[str(self.video.video)]]
        if self.video.audio is not None:
            streams.append(source[str(self.video.audio)])
        options = {"c": "copy", "f": "mp4", "movflags": "+faststart", "t": _PREVIEW_S, "map_metadata": -1}
        return self._written("preview.mp4", *streams, **options)

    def _storyboard(self) -> str:
        """Seeks to each picture: decoding an hour for 25 pictures would take ten times as long."""
        count = _COLUMNS * _ROWS
        times = [self._length_s * (number + 0.5) / count for number in range(count)]
        width, height = _TILE, max(2, round(_TILE * self.video.info.height / self.video.info.width / 2) * 2)
        tiles = [self._picture(at, number).filter("scale", width, height) for number, at in enumerate(times)]
        whole = ffmpeg.concat(*(tile.filter("setsar", 1) for tile in tiles), v=1, a=0)
        whole = whole.filter("tile", f"{_COLUMNS}x{_ROWS}")
        options = {"frames:v": 1, "q:v": 5, "f": "image2pipe", "c:v": "mjpeg"}
        name = self._written("storyboard.jpg", whole, **options)
        text = "\n".join(_cues(name, self._length_s, count, (width, height)))
        durable.write(self.folder / "storyboard.vtt", text.encode())
        return name

    def _loudness(self) -> object:
        """The integrated loudness (EBU R 128), in LUFS."""
        if self.video.audio is None:
            return "none: no sound"
        sound = filters.opened(self.video)[str(self.video.audio)].filter("ebur128", framelog="verbose")
        log = Log()
        self._run(filters.compiled(self.tools.ffmpeg, ffmpeg.output(sound, "-", f="null")), log)
        found = _LOUD.findall(log.tail())
        if not found:
            return "none: not measured"
        durable.write(
            self.folder / "loudness.json", msgspec.json.encode({"integrated_lufs": float(found[-1])})
        )
        return float(found[-1])

    @property
    def _length_s(self) -> float:
        return self.video.info.duration_s

    def _picture(self, at: float, number: int) -> Any:
        source = filters.opened(self.video, number, ss=filters.seconds_text(at))
        return source[str(self.video.video)].filter("trim", end_frame=1).filter("setpts", 0)

    def _written(self, name: str, *streams: object, **options: object) -> str:
        part = self.folder / f".{name}.new"
        try:
            argv = filters.compiled(self.tools.ffmpeg, ffmpeg.output(*streams, file_url(part), **options))
            self._run(argv, self.log)
            if not part.stat().st_size:
                raise FfmpegFailed(0, "nothing was written", passing=False)
            durable.sync_file(part)
            durable.rename(part, self.folder / name)
        finally:
            part.unlink(missing_ok=True)
        return name

    def _run(self, argv: list[str], log: Log) -> None:
        limits = Limits(_WALL_BASE_S + _WALL_FACTOR * self._length_s, math.inf)
        run(
            argv, limits, nice=self.tools.nice, on_output=lambda data: None, log=log, token=self.token,
            throttle=self.tools.throttle,
        )  # fmt: skip


def _cues(sprite: str, length_s: float, count: int, tile: tuple[int, int]) -> Iterator[str]:
    """WebVTT: which tile of the storyboard belongs to which time."""
    yield "WEBVTT"
    for number in range(count):
        row, column = divmod(number, _COLUMNS)
        begin, end = (_stamp(length_s * at / count) for at in (number, number + 1))
        yield ""
        yield f"{begin} --> {end}"
        yield f"{sprite}#xywh={column * tile[0]},{row * tile[1]},{tile[0]},{tile[1]}"
    yield ""


def _stamp(seconds: float) -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02}.{whole % 1000:03}"
