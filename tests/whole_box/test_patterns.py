"""No text makes a pattern take the square of its length: logs, settings and names come from anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from ezrec.cloud.supabase import errors
from ezrec.domain import names
from ezrec.install import env_file
from ezrec.media.ffmpeg import encoders
from ezrec.media.ffmpeg.runner import Log
from ezrec.media.render import artefacts

_LENGTH = 3_000
_LONGER = 16
# Linear patterns took 12 to 20 times as long for such texts, quadratic ones 150 to 300.
_MOST = 60
_UNMEASURABLE_S = 0.02


def last_word(text: str) -> str:
    log = Log()
    log.write(text.encode())
    return log.last_word()


READERS: dict[str, Callable[[str], object]] = {
    ".env": env_file.read,
    ".env, rewritten": lambda text: env_file.rewritten(text, {"A": "b"}),
    "loudness": artefacts._LOUD.findall,
    "likeness": encoders._PSNR.findall,
    "FFmpeg's last word": last_word,
    "an answer of the cloud": errors.redacted,
    "an unknown column": lambda text: [one.search(text) for one in errors._UNKNOWN_COLUMN],
    "a clip's name": lambda text: [one.fullmatch(text) for one in names._CLIP_NAMES],
    "a shown name": names.shown,
}
SEEDS = (
    *"a0 _\n\t\"'\\[.=#-", "\n ", " \n", '"a"', "[error] ", "raw_", "_20200101_123456",
    "PSNR average:", "\nI: ", " #", "a=", "export ", "column a.", "eyJ", "://a:",
)  # fmt: skip
BEGINNINGS = ("", 'A="', "A=", "raw_")


def took_s(read: Callable[[str], object], text: str) -> float:
    """The shortest of some: what else the machine does only adds to it."""
    found = []
    for _ in range(3):
        began = time.process_time()
        read(text)
        found.append(time.process_time() - began)
    return min(found)


@pytest.mark.parametrize("reader", list(READERS))
def test_a_longer_text_takes_longer_by_its_length_and_not_by_its_square(reader: str) -> None:
    for begin in BEGINNINGS:
        for seed in SEEDS:
            short = begin + seed * (_LENGTH // len(seed)) + "\x01"
            long = begin + seed * (_LENGTH * _LONGER // len(seed)) + "\x01"
            after = took_s(READERS[reader], long)
            if after > _UNMEASURABLE_S:
                assert after < _MOST * max(took_s(READERS[reader], short), 1e-4), f"{begin!r}, then {seed!r}"
