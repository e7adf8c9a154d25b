"""The view of one migration while it runs: as a screen, as one plain line, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import PAGE_BYTES
from hostsim.logs.model import TERMINAL, MigrationLog
from hostsim.report.layout import wrapped
from hostsim.verdict.course import last
from hostsim.verdict.outlook import Outlook
from hostsim.verdict.words import bandwidth_words, bytes_words, percent_words, seconds_words, span_words

WIDTH_MIN, WIDTH_MAX = 40, 100
BARS = " ▁▂▃▄▅▆▇█"
FULL, EMPTY = "█", "░"
LABEL = 11
"""Letters of the labels at the left."""
ROUNDS_MAX = 8
STALLS_MAX = 3
UNKNOWN = "-"


@dataclass(frozen=True)
class Stall:
    """The longest wait of one kind. what: name of the wait in results; count: number of waits."""

    what: str
    count: int
    longest_ns: int


@dataclass(frozen=True)
class Watched:
    """The state of a migration by now.

    subject: the guest or run that migrates; clock: "s", or "simulated s".
    log: the answers so far; outlook: their forecast.
    stalls: of a simulation, the longest first; notes: lines for people, the newest last.
    """

    subject: str
    clock: str = "s"
    log: MigrationLog | None = None
    outlook: Outlook | None = None
    stalls: Sequence[Stall] = ()
    notes: Sequence[str] = ()

    @property
    def status(self) -> str:
        """By QEMU's name; "none" before the first migration."""
        return "none" if self.log is None else self.log.status[-1]


def figures(seen: Watched) -> dict[str, Any]:
    """The figures of the view, with the unit in each name; None where a figure is not known."""
    log = seen.log
    if log is None:
        return {"status": "none"}
    rate = last(log.dirty_pages_rate_per_s)
    mbps = last(log.mbps)
    page = last(log.page_size_bytes) or PAGE_BYTES
    return {
        "status": log.status[-1],
        "elapsed_s": float(log.t_s[-1]),
        "iteration": _whole(last(log.dirty_sync_count)),
        "remaining_bytes": 0 if log.status[-1] == "completed" else _whole(last(log.remaining_bytes)),
        "total_bytes": _whole(last(log.total_bytes)),
        "transferred_bytes": _whole(last(log.transferred_bytes)),
        "bandwidth_bytes_per_s": None if mbps is None else mbps * 1e6 / 8,
        "dirty_bytes_per_s": None if rate is None or not _is_counted(log) else rate * page,
        "throttle_percent": _whole(last(log.throttle_percent)) or 0,
        "downtime_limit_ms": last(log.limit_ms),
        "downtime_ms": last(log.downtime_ms),
    }


def _is_counted(log: MigrationLog) -> bool:
    """Whether a sync has counted dirtied pages: none comes before the first sync, and at the end QEMU answers 0."""
    is_found = (last(log.dirty_sync_count) or 0) > 1 or bool(last(log.dirty_pages_rate_per_s))
    return is_found and log.status[-1] not in TERMINAL


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def as_object(seen: Watched) -> dict[str, Any]:
    """One line of ``--json``: figures, forecast, and the longest stalls."""
    told = {"subject": seen.subject, **figures(seen), "forecast": seen.outlook.to_dict() if seen.outlook else None}
    stalls = [{"what": one.what, "count": one.count, "longest_ns": one.longest_ns} for one in seen.stalls]
    return told | ({"stalls": stalls} if stalls else {})


def plain_line(seen: Watched) -> str:
    """``12.3 s active, iteration 5: 262 MB remaining, sent at 480 Mbit/s, dirtied at 478 Mbit/s; does not converge ...``."""
    told = figures(seen)
    if told["status"] == "none":
        return "no migration runs yet"
    head = f"{seconds_words(told['elapsed_s'])} {told['status']}"
    head += f", iteration {told['iteration']}" if told["iteration"] else ""
    parts = list(_parts(told))
    text = f"{head}: {', '.join(parts)}" if parts else head
    return f"{text}; {seen.outlook.words}" if seen.outlook is not None and told["status"] not in TERMINAL else text


def _parts(told: dict[str, Any]) -> Iterator[str]:
    if told["remaining_bytes"] is not None and told["status"] not in TERMINAL:
        yield f"{bytes_words(told['remaining_bytes'])} remaining"
    if told["status"] in TERMINAL:
        yield from (f"{bytes_words(told[name])} sent" for name in ("transferred_bytes",) if told[name])
        yield from (f"downtime {seconds_words(told[name] / 1000)}" for name in ("downtime_ms",) if told[name] is not None)
        return
    if told["bandwidth_bytes_per_s"]:
        yield f"sent at {bandwidth_words(told['bandwidth_bytes_per_s'])}"
    if told["dirty_bytes_per_s"]:
        yield f"dirtied at {bandwidth_words(told['dirty_bytes_per_s'])}"
    if told["throttle_percent"]:
        yield f"throttle {told['throttle_percent']} %"


# -- the screen


def screen_lines(seen: Watched, width: int, height: int) -> list[str]:
    """At most ``height`` lines of at most ``width`` letters; the least important blocks are left out where room is short."""
    wide = max(WIDTH_MIN, min(width, WIDTH_MAX)) if width >= WIDTH_MIN else width
    head, outlook = list(_head(seen, wide)), list(_outlook(seen, wide))
    room, kept = height - len(head) - len(outlook), []
    for block in (_stalls(seen), list(_notes(seen, wide))):
        kept.append(block if len(block) <= room else [])
        room -= len(kept[-1])
    stalls, notes = kept
    lines = (*head, *_rounds(seen, room), *stalls, *outlook, *notes)
    return [line[:width] for line in lines][:height]


def _head(seen: Watched, width: int) -> Iterator[str]:
    told = figures(seen)
    elapsed = f"{seconds_words(told['elapsed_s'])}{' simulated' if seen.clock != 's' else ''}" if seen.log else ""
    right = f"{told['status'] if seen.log else 'no migration yet'}  {elapsed}".rstrip()
    room = width - len(right) - 2
    yield f"{_shortened(seen.subject, room):<{room}}  {right}"
    yield ""
    if seen.log is None or told["remaining_bytes"] is None:
        return
    yield from _bar(told, width)
    known = ~np.isnan(seen.log.remaining_bytes)
    yield _labelled("since begun", sparkline(seen.log.t_s[known], seen.log.remaining_bytes[known], width - LABEL - 1))
    yield ""
    for one, other in _pairs(told):
        half = (width - 2) // 2
        yield f"{_labelled(*one):<{half}}  {_labelled(*other)}"


def _bar(told: dict[str, Any], width: int) -> Iterator[str]:
    remaining, total = told["remaining_bytes"], told["total_bytes"]
    share = remaining / total if total else 0.0
    words = f"{bytes_words(remaining)} of {bytes_words(total)} ({percent_words(share)})" if total else bytes_words(remaining)
    room = max(8, width - LABEL - 2 - len(words))
    full = math.ceil(share * room)
    yield _labelled("remaining", f"{FULL * full}{EMPTY * (room - full)} {words}")


def _pairs(told: dict[str, Any]) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    def words(name: str, how: Any) -> str:
        return UNKNOWN if told[name] is None else how(told[name])

    limit = words("downtime_limit_ms", lambda ms: seconds_words(ms / 1000))
    yield ("sent", words("transferred_bytes", bytes_words)), ("sent at", words("bandwidth_bytes_per_s", bandwidth_words))
    yield ("iteration", words("iteration", str)), ("dirtied at", words("dirty_bytes_per_s", bandwidth_words))
    if told["downtime_ms"] is not None:
        yield ("throttle", f"{told['throttle_percent']} %"), ("downtime", seconds_words(told["downtime_ms"] / 1000))
    else:
        yield ("throttle", f"{told['throttle_percent']} %"), ("limit", f"{limit} of downtime" if limit != UNKNOWN else limit)


def _labelled(label: str, text: str) -> str:
    return f"{label:<{LABEL}} {text}"


def sparkline(t_s: NDArray[np.float64], values: NDArray[np.float64], width: int) -> str:
    """``values`` at times ``t_s`` as bars of eight heights, time from left to right; of each piece of time the greatest."""
    if not len(values) or width <= 0:
        return ""
    pieces = min(width, len(values))
    span_s = float(t_s[-1] - t_s[0])
    place = np.minimum((t_s - t_s[0]) / span_s * pieces, pieces - 1).astype(int) if span_s > 0 else np.zeros(len(t_s), int)
    highest = np.full(pieces, -1.0)
    np.maximum.at(highest, place, values)
    for i in range(1, pieces):  # nothing was asked in that time: it was as before
        highest[i] = highest[i - 1] if highest[i] < 0 else highest[i]
    top = float(highest.max())
    return "".join(BARS[math.ceil(max(0.0, value) / top * (len(BARS) - 1))] if top > 0 else BARS[0] for value in highest)


def _rounds(seen: Watched, room: int) -> list[str]:
    """A line for each of the last iterations that fit: the time of its sync, and the bytes that the sync found."""
    if seen.log is None or room < 3:
        return []
    log = seen.log
    known = np.flatnonzero(~np.isnan(log.remaining_bytes) & ~np.isnan(log.dirty_sync_count))
    syncs = log.dirty_sync_count[known]
    at = known[np.flatnonzero(np.diff(syncs, prepend=0) > 0)]
    shown = at[-min(ROUNDS_MAX, room - 2) :]
    if not len(shown):
        return []
    rows = [_round(log, int(i)) for i in shown]
    return ["", f"{'iteration':>9}  {'seen at':>9}  {'remaining':>10}  {'dirtied at':>12}  {'throttle':>8}", *rows]


def _round(log: MigrationLog, i: int) -> str:
    page = last(log.page_size_bytes) or PAGE_BYTES
    rate = float(np.nan_to_num(log.dirty_pages_rate_per_s[i])) * page
    throttle = float(np.nan_to_num(log.throttle_percent[i]))
    cells = (
        f"{log.dirty_sync_count[i]:>9.0f}", f"{seconds_words(float(log.t_s[i])):>9}",
        f"{bytes_words(float(log.remaining_bytes[i])):>10}", f"{bandwidth_words(rate) if rate else UNKNOWN:>12}",
        f"{f'{throttle:.0f} %':>8}",
    )  # fmt: skip
    return "  ".join(cells)


def _stalls(seen: Watched) -> list[str]:
    if not seen.stalls:
        return []
    lines = [f"  {one.what:<28} {span_words(one.longest_ns):>9} ({one.count} in all)" for one in seen.stalls[:STALLS_MAX]]
    return ["", "longest stalls", *lines]


def _outlook(seen: Watched, width: int) -> Iterator[str]:
    if seen.outlook is None or not seen.outlook.words:
        return
    yield ""
    lead = "" if seen.outlook.kind == "ended" else "Forecast: "
    yield from wrapped(f"{lead}{seen.outlook.words}.", width, "  ")
    remedy = seen.outlook.remedy
    if remedy is not None:
        yield from wrapped(f"- {remedy.text}", width, "  ")


def _notes(seen: Watched, width: int) -> Iterator[str]:
    if seen.notes:
        yield ""
        for note in list(seen.notes)[-2:]:
            yield from wrapped(note, width, "  ")


def _shortened(text: str, room: int) -> str:
    """``text`` with its middle left out if it is too long: both ends of a path are kept, which identify the file."""
    if len(text) <= room:
        return text
    keep = max(0, room - 3)
    return f"{text[: keep // 3]}...{text[len(text) - (keep - keep // 3) :]}"
