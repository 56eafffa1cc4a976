"""`ezrec status`, the drawing: one screen that answers what an operator asks, in the order of the asking.

Is it recording what it should? Will what is booked fit? Is anything stuck, since when, and what do I type?
Pure: facts in, lines out. Every line says its matter in words; colour only repeats it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

import click

from ezrec.cli.drawing import folded
from ezrec.cli.formatting import moment, printable, size, span, when, window
from ezrec.domain.alerts import Alert, Severity
from ezrec.domain.snapshot import Snapshot

_LABEL = 11
_COLOURS = {"ok": "green", "warning": "yellow", "critical": "bright_red", "": None}


@dataclass(frozen=True, slots=True)
class Line:
    """One answer: what it is about, what there is to say, and how good that is."""

    label: str
    text: str
    mood: str = ""


def draw(
    facts: Snapshot, alerts: Sequence[Alert], title: str, zone: tzinfo, width: int | None, colour: bool
) -> list[str]:
    """The screen. `alerts`: what is wrong now, the worst first."""
    lines = [_heading(facts, alerts, title, zone, colour), ""]
    for alert in alerts:
        lines += _alert(alert, facts, width, colour)
    if alerts:
        lines.append("")
    for line in answers(facts, zone):
        lines += _answer(line, width, colour)
    return lines


def _heading(facts: Snapshot, alerts: Sequence[Alert], title: str, zone: tzinfo, colour: bool) -> str:
    raised = [str(alert.severity) for alert in alerts if alert.is_raised]
    worst = min(raised, default="warning") if alerts else "ok"  # "critical" comes before "warning"
    word = {"ok": "all is well", "warning": "look at this", "critical": "act now"}[worst]
    return f"{printable(title)} · {moment(facts.at, zone)} · {_styled(word, worst, colour, bold=True)}"


def _alert(alert: Alert, facts: Snapshot, width: int | None, colour: bool) -> Iterator[str]:
    since = f"since {span((facts.at - alert.raised_at).total_seconds())}" if alert.raised_at else "new"
    mark = "!!" if alert.severity is Severity.CRITICAL else "! "
    told = printable(f"{mark} {alert.message} ({since})")
    for line in folded(told, width, "   "):
        yield _styled(line, str(alert.severity), colour)
    for line in folded(printable(f"   → {alert.remedy}"), width, "     "):
        yield _styled(line, "", colour, bold=True)


def _answer(line: Line, width: int | None, colour: bool) -> Iterator[str]:
    head, *rest = folded(f"{line.label:<{_LABEL}}{printable(line.text)}", width, " " * _LABEL)
    yield head[:_LABEL] + _styled(head[_LABEL:], line.mood, colour)
    yield from rest


def _styled(text: str, mood: str, colour: bool, *, bold: bool = False) -> str:
    return click.style(text, fg=_COLOURS[mood], bold=bold or None) if colour else text


# ---- the answers


def answers(facts: Snapshot, zone: tzinfo) -> Iterator[Line]:
    """All of them, in the order in which they are asked."""
    yield _recording(facts)
    yield _next(facts, zone)
    yield _disk(facts)
    yield _uploads(facts)
    yield _jobs(facts)
    yield _time(facts)
    yield _cloud(facts)
    yield _machine(facts)
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    yield Line("versions", versions or "–")


def _recording(facts: Snapshot) -> Line:
    recorder, health = facts.recorder, facts.recorder.health
    missing = sorted(set(recorder.expected) - set(recorder.recording))
    if missing:
        return Line("recording", f"NOT {', '.join(missing)}, whose window is now", "critical")
    if not recorder.recording:
        camera = f" · camera {health.camera_state}" if health and recorder.is_alive else ""
        alive = {
            True: "the recorder waits",
            False: "no recorder runs: sudo systemctl start ezrec",
            None: "no recorder has run yet: sudo systemctl start ezrec",
        }
        mood = "ok" if recorder.is_alive else "warning"
        return Line("recording", f"nothing, and nothing is due · {alive[recorder.is_alive]}{camera}", mood)
    evidence = ""
    if health and recorder.is_alive:
        age_s = health.frame_age_s(facts.at)
        evidence = f" · last frame {age_s:.0f} s ago" if age_s is not None else " · no frame yet"
        evidence += f" · {health.fps:.1f} fps" if health.fps else ""
        evidence += f" · {health.restarts} restarts" if health.restarts else ""
    return Line("recording", f"{', '.join(recorder.recording)}{evidence}", "ok")


def _next(facts: Snapshot, zone: tzinfo) -> Line:
    coming = facts.next_booking
    if coming is None:
        return Line("next", "no booking is known")
    span_text = window(coming.start, coming.end, zone, facts.at)
    return Line("next", f"{coming.booking} · {span_text} · {when(coming.start, facts.at)}")


def _disk(facts: Snapshot) -> Line:
    free, hours = facts.machine.disk_free_bytes, facts.recording_hours
    if free is None or hours is None:
        return Line("disk", "its size cannot be read", "warning")
    text = f"{size(free)} free, {_hours(hours)} of recording"
    done = f" · {facts.disk_measure}" if facts.disk_measure else ""
    mood = "critical" if facts.forecast_short else "warning" if done else "ok"
    if not facts.booked_s:
        return Line("disk", f"{text} · nothing is booked for the next 24 h{done}", mood)
    needs = (
        f"the {_hours(facts.booked_s / 3600)} booked within 24 h need up to {size(int(facts.booked_bytes))}"
    )
    fits = _fits(facts, free)
    return Line("disk", f"{text} · {needs}: {fits or 'TOO LITTLE'}{done}", mood if fits else "critical")


def _fits(facts: Snapshot, free: int) -> str:
    """In which way they do; empty when they do not."""
    if facts.forecast_short:
        return ""
    if facts.booked_bytes <= free:
        return "they fit"
    if facts.disk_measure:
        return "they fit with this"
    return "they fit as uploads go on" if facts.uploads.bytes_a_second else ""


def _hours(hours: float) -> str:
    return f"{hours:.0f} h" if hours >= 10 else span(hours * 3600)


def _uploads(facts: Snapshot) -> Line:
    uploads = facts.uploads
    if not uploads.jobs:
        return Line("uploads", "nothing waits", "ok")
    parts = [f"{uploads.jobs} wait{'s' if uploads.jobs == 1 else ''}, {size(uploads.left_bytes)}"]
    if uploads.left_s:
        parts.append(f"about {span(uploads.left_s)} at {size(int(uploads.bytes_a_second or 0))}/s")
    if uploads.job:
        parts.append(f"{uploads.job} is under way")
    if uploads.oldest:
        waits_s = (facts.at - uploads.oldest.since).total_seconds()
        parts.append(f"{uploads.oldest.job} waits since {span(waits_s)}")
    return Line("uploads", " · ".join(parts))


def _jobs(facts: Snapshot) -> Line:
    named = " · ".join(f"{count} {state}" for state, count in facts.jobs.items() if count)
    oldest = ""
    if facts.oldest:
        oldest = f" · the oldest, {facts.oldest.job}, since {_ago(facts.oldest.since, facts.at)}"
    return Line("jobs", f"{named or 'none'}{oldest}", "warning" if facts.failed else "")


def _time(facts: Snapshot) -> Line:
    if facts.clock_synchronised:
        return Line("clock", "synchronised", "ok")
    return Line("clock", "NOT synchronised: bookings wait for it", "critical")


def _cloud(facts: Snapshot) -> Line:
    reached = facts.cloud_reached_at
    bookings = facts.booking_cache_at
    parts = [f"reached {_ago(reached, facts.at)} ago" if reached else "never reached"]
    parts.append(f"bookings fetched {_ago(bookings, facts.at)} ago" if bookings else "no bookings fetched")
    if facts.cloud and facts.cloud.alarms:
        parts.insert(0, "REFUSES this device" if facts.cloud.refusal else "SHOWS NO BOOKING any more")
        return Line("cloud", " · ".join(parts), "critical")
    return Line("cloud", " · ".join(parts), "" if reached else "warning")


def _ago(then: datetime, now: datetime) -> str:
    return span((now - then).total_seconds())


def _machine(facts: Snapshot) -> Line:
    machine = facts.machine
    parts = []
    if machine.cpu_percent is not None:
        parts.append(f"processor {machine.cpu_percent:.0f} %")
    if machine.memory_percent is not None:
        parts.append(f"memory {machine.memory_percent:.0f} %")
    if machine.temperature_c is not None:
        parts.append(f"{machine.temperature_c:.0f} °C")
    if machine.load is not None:
        parts.append(f"load {machine.load[0]:.2f}")
    if machine.uptime_s is not None:
        parts.append(f"up {span(machine.uptime_s)}")
    held = machine.throttling.now if machine.throttling else ()
    parts += [word.replace("_", "-").upper() for word in held]
    return Line("machine", " · ".join(parts) or "–", "warning" if held else "")
