"""The page of what a finished video costs: every figure and every sentence with one in it comes of a run."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Found = Mapping[tuple[int, str], Sequence[Mapping[str, float]]]
REMUX, COPY, SMART, NAIVE, OLDER = (
    "bare remux", "copy strategy", "smart, 10 s of logo", "one pass, veryfast", "two passes, veryfast",
)  # fmt: skip
_USUAL_S, _LOGO_S = 300, 10
_MOST_CPU, _MOST_BYTES, _LEAST_GAIN, _MOST_MB = 1.3, 1.05, 200, 120


@dataclass(frozen=True)
class Goal:
    """One line of the table; `is_met` None where there is no goal."""

    goal: str
    found: str
    is_met: bool | None

    def __str__(self) -> str:
        met = {True: "yes", False: "**no**", None: "–"}[self.is_met]
        return f"| {self.goal} | {self.found} | {met} |"


def page(found: Found, machine: Sequence[str]) -> str:
    lines = [
        "# What a finished video costs", "",
        "Written by `python -m bench.processing --full --write`. All ways took turns in one run on the same",
        "files; the median of the rounds counts, with the least and the most of them behind it.",
        "",
        "The copy strategy has its intro in the cache, proves its index, its joins and its end, has made the",
        "result durable when it is done, and gives a silent recording the sound that the intro needs.",
        "",
        *machine, "",
        "| goal | found | met |", "|---|---|---|", *(str(goal) for goal in goals(found)), "",
    ]  # fmt: skip
    for seconds in dict.fromkeys(seconds for seconds, _ in found):
        lines += [*_table(found, seconds), ""]
    lines += [
        "CPU differs by how the memory behind new pages comes about, most where gigabytes are written: read",
        "the ratios. Wall times mean nothing where the machine was shared.",
    ]
    return "\n".join(lines) + "\n"


def goals(found: Found) -> Iterator[Goal]:
    for seconds in dict.fromkeys(seconds for seconds, way in found if way == COPY):
        if (seconds, REMUX) in found:
            ratio = _middle(found, seconds, COPY, "cpu_s") / _middle(found, seconds, REMUX, "cpu_s")
            yield Goal(
                f"copy strategy ≤ {_MOST_CPU} × CPU of the bare remux, {_length(seconds)}",
                f"{ratio:.2f} in {len(found[seconds, COPY])} rounds",
                ratio <= _MOST_CPU,
            )
    usual = _USUAL_S if (_USUAL_S, COPY) in found else next((at for at, way in found if way == COPY), None)
    if usual is None:
        return
    copied = _middle(found, usual, COPY, "cpu_s")
    size = _middle(found, usual, COPY, "written") / _middle(found, usual, COPY, "size")
    yield Goal(
        f"copy strategy ≤ {_MOST_BYTES} × bytes of the output, {_length(usual)}",
        f"{size:.3f}",
        size <= _MOST_BYTES,
    )
    if (usual, NAIVE) in found:
        naive = _middle(found, usual, NAIVE, "cpu_s")
        yield Goal(
            f"copy strategy ≥ {_LEAST_GAIN} × less CPU than one naive pass, veryfast, {_length(usual)}",
            f"{naive:.1f} s against {copied:.2f} s: {naive / copied:.0f} ×",
            naive / copied >= _LEAST_GAIN,
        )
    if (usual, OLDER) in found:
        older = _middle(found, usual, OLDER, "cpu_s")
        yield Goal(
            f"against the older way in two passes, {_length(usual)}", f"{older / copied:.0f} × less CPU", None
        )
    lengths = sorted(seconds for seconds, way in found if way == COPY)
    rss = [_middle(found, seconds, COPY, "rss_mb") for seconds in lengths]
    yield Goal(
        f"flat memory, ≤ {_MOST_MB} MB",
        ", ".join(f"{mb:.0f} MB at {_length(seconds)}" for seconds, mb in zip(lengths, rss, strict=True)),
        max(rss) <= _MOST_MB,
    )
    if (usual, SMART) in found:
        each = (_middle(found, usual, SMART, "cpu_s") - copied) / _LOGO_S
        yield Goal("smart render", f"{each:.2f} s of CPU a second of logo, beyond the copy", None)


def _table(found: Found, seconds: int) -> Iterator[str]:
    yield f"### {_length(seconds)} of 1080p30 at 9 Mbit/s, intro of 10 s"
    yield ""
    yield "| way | rounds | CPU s | × bare remux | wall s | written ÷ output | RSS MB |"
    yield "|---|---|---|---|---|---|---|"
    for at, way in found:
        if at != seconds:
            continue
        cpu = [one["cpu_s"] for one in found[at, way]]
        spread = f"{statistics.median(cpu):.2f} ({min(cpu):.2f}–{max(cpu):.2f})"
        ratio = "–"
        if (at, REMUX) in found:
            ratio = f"{statistics.median(cpu) / _middle(found, at, REMUX, 'cpu_s'):.2f}"
        written = _middle(found, at, way, "written") / _middle(found, at, way, "size")
        wall, rss = _middle(found, at, way, "wall_s"), _middle(found, at, way, "rss_mb")
        yield f"| {way} | {len(cpu)} | {spread} | {ratio} | {wall:.2f} | {written:.3f} | {rss:.0f} |"


def _middle(found: Found, seconds: int, way: str, name: str) -> float:
    return statistics.median(one[name] for one in found[seconds, way])


def _length(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} s"
