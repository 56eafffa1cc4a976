"""Draws `ezrec status`: one screen with the answers to an operator's questions, in the order of asking.

Is it recording what it should? What became of the last day's bookings? Do those to come fit on the disk? Is
anything stuck, since when, and what do I type? Pure: snapshot in, lines out. Every line says it in words;
colour only repeats it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

import click

from ezrec.cli.drawing import folded
from ezrec.cli.formatting import moment, printable, size, span, when, window
from ezrec.domain.alerts import Alert, Severity
from ezrec.domain.clock_words import clock_words
from ezrec.domain.incidents import Day
from ezrec.domain.proof_of_life import recorder_words
from ezrec.domain.snapshot import Snapshot

_LABEL = 11
_COLOURS = {"ok": "green", "warning": "yellow", "critical": "bright_red", "": None}


@dataclass(frozen=True, slots=True)
class Line:
    """One answer: its subject, its text, and how good it is: ok, warning, critical or empty."""

    label: str
    text: str
    mood: str = ""


def draw(
    snapshot: Snapshot, alerts: Sequence[Alert], title: str, zone: tzinfo, width: int | None, colour: bool
) -> list[str]:
    """The screen. `alerts`: what is wrong now, the worst first."""
    lines = [_heading(snapshot, alerts, title, zone, colour), ""]
    for alert in in_short(alerts):
        lines += _alert(alert, snapshot, width, colour)
    if alerts:
        lines.append("")
    for line in answers(snapshot, zone):
        lines += _answer(line, width, colour)
    return lines


def _heading(snapshot: Snapshot, alerts: Sequence[Alert], title: str, zone: tzinfo, colour: bool) -> str:
    raised = [str(alert.severity) for alert in alerts if alert.counts]
    worst = min(raised, default="warning") if alerts else "ok"  # "critical" comes before "warning"
    word = {"ok": "all is well", "warning": "look at this", "critical": "act now"}[worst]
    return f"{printable(title)} · {moment(snapshot.at, zone)} · {_styled(word, worst, colour, bold=True)}"


def in_short(alerts: Sequence[Alert]) -> list[Alert]:
    """The alerts, with one line for all incidents of a kind: `ezrec alerts` lists each."""
    lines: dict[str, Alert] = {}
    count = Counter(alert.name for alert in alerts if alert.job)
    for alert in alerts:
        is_one = not alert.job or count[alert.name] == 1
        lines[alert.id if is_one else alert.name] = alert if is_one else _of_many(alert, count[alert.name])
    return list(lines.values())


def _of_many(newest: Alert, count: int) -> Alert:
    message = f"{count} times {_KINDS[newest.name]}; the newest: {newest.message}"
    return replace(newest, message=message, remedy="list them: ezrec alerts; seen: ezrec alerts clear --all")


_KINDS = {
    "missed": "a booking was missed", "partial": "a booking was recorded in part",
    "bare": "a video lacks some of its branding",
}  # fmt: skip


def _alert(alert: Alert, snapshot: Snapshot, width: int | None, colour: bool) -> Iterator[str]:
    since = _since(alert, snapshot.at)
    mark = "!!" if alert.severity is Severity.CRITICAL else "! "
    text = printable(f"{mark} {alert.message} ({since})")
    for line in folded(text, width, "   "):
        yield _styled(line, str(alert.severity), colour)
    for line in folded(printable(f"   → {alert.remedy}"), width, "     "):
        yield _styled(line, "", colour, bold=True)


def _since(alert: Alert, now: datetime) -> str:
    began = alert.since or alert.raised_at
    if began is None:
        return "new"
    age_s = (now - began).total_seconds()
    return f"since {span(age_s)}" if age_s >= 1 else "now"


def _answer(line: Line, width: int | None, colour: bool) -> Iterator[str]:
    head, *rest = folded(f"{line.label:<{_LABEL}}{printable(line.text)}", width, " " * _LABEL)
    yield head[:_LABEL] + _styled(head[_LABEL:], line.mood, colour)
    yield from rest


def _styled(text: str, mood: str, colour: bool, *, bold: bool = False) -> str:
    return click.style(text, fg=_COLOURS[mood], bold=bold or None) if colour else text


# ---- the answers


def answers(snapshot: Snapshot, zone: tzinfo) -> Iterator[Line]:
    """All lines, in order."""
    yield _recording(snapshot, zone)
    yield _next(snapshot, zone)
    yield _day(snapshot)
    yield _disk(snapshot)
    yield _uploads(snapshot)
    yield _jobs(snapshot)
    yield _time(snapshot)
    yield _cloud(snapshot)
    yield _machine(snapshot)
    versions = ", ".join(f"{name} {version}" for name, version in snapshot.versions.items())
    yield Line("versions", versions or "–")


def _recording(snapshot: Snapshot, zone: tzinfo) -> Line:
    recorder, health = snapshot.recorder, snapshot.recorder.health
    missing = recorder.missing
    if missing:
        return Line("recording", f"NOT {', '.join(missing)}, whose window is now", "critical")
    if not recorder.recording:
        if words := recorder_words(recorder.proof, health, snapshot.at):
            return Line("recording", f"NOTHING CAN BE: {words}", "critical")
        camera = f" · camera {health.camera_state}" if health else ""
        return Line("recording", f"nothing, and nothing is due · the recorder waits{camera}", "ok")
    evidence = ""
    if health and recorder.is_alive:
        age_s = health.frame_age_s(snapshot.at)
        evidence = f" · last frame {age_s:.0f} s ago" if age_s is not None else " · no frame yet"
        evidence += f" · {health.fps:.1f} fps" if health.fps else ""
        evidence += f" · {health.restarts} restarts" if health.restarts else ""
    ends = {one.booking: f", ends at {one.end.astimezone(zone):%H:%M}" for one in snapshot.under_way}
    named = "; ".join(f"{booking}{ends.get(booking, '')}" for booking in recorder.recording)
    return Line("recording", f"{named}{evidence}", "ok")


def _next(snapshot: Snapshot, zone: tzinfo) -> Line:
    coming = snapshot.next_booking
    if coming is None:
        return Line("next", "no booking is known")
    span_text = window(coming.start, coming.end, zone, snapshot.at)
    return Line("next", f"{coming.booking} · {span_text} · {when(coming.start, snapshot.at)}")


def _day(snapshot: Snapshot) -> Line:
    told = snapshot.day
    if told == Day():
        return Line("last 24 h:", "nothing was due, and nothing came")
    if snapshot.incidents:
        return Line("last 24 h:", f"{told.words} → ezrec alerts", "warning")
    return Line("last 24 h:", f"{told.words} → ezrec spool ls --since 24h", "" if told.is_bad else "ok")


def _disk(snapshot: Snapshot) -> Line:
    room = snapshot.free_room
    if room is None:
        return Line("disk", "its size cannot be read", "warning")
    text, free = room.words, room.free_bytes
    done = f" · {snapshot.disk_measure}" if snapshot.disk_measure else ""
    mood = "critical" if snapshot.forecast_short else "warning" if done or room.is_little else "ok"
    if not snapshot.booked_s:
        return Line("disk", f"{text} · nothing is booked for the next 24 h{done}", mood)
    needed = size(int(snapshot.booked_bytes))
    needs = f"the {_hours(snapshot.booked_s / 3600)} booked within 24 h need up to {needed}"
    fits = _fits(snapshot, free)
    return Line("disk", f"{text} · {needs}: {fits or 'TOO LITTLE'}{done}", mood if fits else "critical")


def _fits(snapshot: Snapshot, free: int) -> str:
    """How the bookings fit on the disk; empty when they do not."""
    if snapshot.forecast_short:
        return ""
    if snapshot.booked_bytes <= free:
        return "they fit"
    if snapshot.disk_measure:
        return "they fit with this measure"
    return "they fit as uploads go on" if snapshot.uploads.bytes_a_second else ""


def _hours(hours: float) -> str:
    return f"{hours:.0f} h" if hours >= 10 else span(hours * 3600)


def _uploads(snapshot: Snapshot) -> Line:
    uploads = snapshot.uploads
    if not uploads.jobs:
        return Line("uploads", "nothing waits", "ok")
    parts = [f"{uploads.jobs} wait{'s' if uploads.jobs == 1 else ''}, {size(uploads.left_bytes)}"]
    if uploads.left_s:
        parts.append(f"about {span(uploads.left_s)} at {size(int(uploads.bytes_a_second or 0))}/s")
    if uploads.job:
        parts.append(f"{uploads.job} is under way")
    if uploads.oldest:
        waits_s = (snapshot.at - uploads.oldest.since).total_seconds()
        parts.append(f"{uploads.oldest.job} waits since {span(waits_s)}")
    return Line("uploads", " · ".join(parts))


def _jobs(snapshot: Snapshot) -> Line:
    named = " · ".join(f"{count} {state}" for state, count in snapshot.jobs.items() if count)
    oldest = ""
    if snapshot.oldest:
        oldest = f" · the oldest, {snapshot.oldest.job}, since {_ago(snapshot.oldest.since, snapshot.at)}"
    return Line("jobs", f"{named or 'none'}{oldest}", "warning" if snapshot.failed else "")


def _time(snapshot: Snapshot) -> Line:
    words = clock_words(is_synchronised=snapshot.clock_synchronised, waiting=snapshot.unjudged)
    return Line("clock", words, "ok" if snapshot.clock_synchronised else "critical")


def _cloud(snapshot: Snapshot) -> Line:
    reached, cloud = snapshot.cloud_reached_at, snapshot.cloud
    bookings = snapshot.booking_cache_at
    parts = [f"reached {_ago(reached, snapshot.at)} ago" if reached else "never reached"]
    parts.append(f"bookings fetched {_ago(bookings, snapshot.at)} ago" if bookings else "no bookings fetched")
    if cloud and cloud.alarms:
        parts.insert(0, cloud.in_short)
        return Line("cloud", " · ".join(parts), "critical")
    if snapshot.cloud_fault:
        parts.insert(0, "THE LAST HEARTBEAT DID NOT ARRIVE")
    return Line("cloud", " · ".join(parts), "" if reached and not snapshot.cloud_fault else "warning")


def _ago(then: datetime, now: datetime) -> str:
    return span((now - then).total_seconds())


def _machine(snapshot: Snapshot) -> Line:
    machine = snapshot.machine
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
