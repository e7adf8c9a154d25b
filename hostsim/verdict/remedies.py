"""The single changes that would make a migration end, each with its value, and changes that would not."""

from __future__ import annotations

import math
from dataclasses import replace

from hostsim.core.constants import PAGE_BYTES, PAGE_WIRE_BYTES
from hostsim.theory.throttle import steps_needed
from hostsim.verdict.channels import MORE, channels_send
from hostsim.verdict.commands import command_for
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.forecast import (
    MARGIN,
    Forecast,
    Range,
    bandwidth_needed_bytes_per_s,
    forecast,
    limit_needed_s,
    speed_allowed,
    speed_under,
    time_left_s,
)
from hostsim.verdict.mechanism import mechanisms
from hostsim.verdict.model import Remedy
from hostsim.verdict.window import wider_window
from hostsim.verdict.words import bandwidth_words, rounded_up, seconds_words

CERTAIN = 1.3
"""A range this narrow is one value."""
OPEN = 20.0
"""A log gives no value where it could be so many times the least that may be enough (assumed)."""
LIMIT_MAX_S = 2000.0
"""Greatest downtime-limit QEMU accepts (migration/options.c::MAX_MIGRATE_DOWNTIME)."""
THROTTLE_MAX = 99.0
"""Greatest max-cpu-throttle (migration/options.c)."""
LEAST_SPEED = 2e-4
"""The solver's lower end: no throttle suffices."""
CATCHES_UP = 1.005
"""A pace above this is work that arrives by the clock and is caught up with."""


def remedies_for(evidence: Evidence, found: Forecast) -> tuple[Remedy, ...]:
    """The remedies for a migration that does not converge, in the order in which they are printed.

    evidence: of the migration. found: the forecast from ``evidence``.
    Where the throttle reached should be enough and is not, limit and bandwidth are computed for the unthrottled guest.
    """
    free = _unthrottled(evidence, found)
    needed = bandwidth_needed_bytes_per_s(free, evidence)[1] * MARGIN
    advised = [one.advice(evidence, needed) for one in mechanisms() if one.advice is not None]
    return (
        downtime_limit(evidence, free),
        bandwidth(evidence, free),
        *(remedy for remedy in advised if remedy is not None),
        throttle(evidence, found),
        *always_end(
            evidence, max(found.settle[1], _remaining_pages(evidence)), "about" if _is_narrow(found.settle) else "up to"
        ),
    )


def _unthrottled(evidence: Evidence, found: Forecast) -> Forecast:
    is_enough = evidence.source == "run" and found.floor[1] <= evidence.threshold_pages
    if not (is_enough and evidence.throttle_percent):
        return found
    return forecast(replace(evidence, throttle_percent=0.0)) or found


def downtime_limit(evidence: Evidence, found: Forecast, value_ms: float | None = None) -> Remedy:
    """The limit that reaches the floor, above it by MARGIN and rounded up to two digits; or ``value_ms``.

    evidence: the present limit, and the profile's command. found: gives the range of the limit that is needed.
    It does not help above QEMU's maximum; it has no value where the log leaves the range open.
    """
    needed = limit_needed_s(found, evidence)
    if value_ms is None and _is_open(evidence, needed, evidence.limit_s):
        stop_s = (evidence.remaining_bytes or 0.0) / (evidence.bandwidth_bytes_per_s or 1.0)
        text = f"downtime limit: the log does not show which limit is needed; a stop now would take {seconds_words(stop_s)}"
        return Remedy("downtime_limit", text, unit="ms", certain=False)
    value_s = rounded_up(needed[1] * MARGIN) if value_ms is None else value_ms / 1000
    if value_s > LIMIT_MAX_S:
        text = f"downtime limit: QEMU takes at most {LIMIT_MAX_S:.0f} s, and {seconds_words(value_s)} would be needed"
        return Remedy("downtime_limit", text, value_s * 1000, "ms", helps=False)
    now = f"now {seconds_words(evidence.limit_s)}"
    stops = "; max-bandwidth does not hold back a stopped guest, so its downtime is shorter" if _is_capped(evidence) else ""
    text = f"downtime limit of at least {seconds_words(value_s)} ({now}{stops})"
    least_s = rounded_up(needed[0] * MARGIN)
    text += _may_do(needed, seconds_words(least_s) if least_s > evidence.limit_s else "the present limit")
    command = command_for(evidence.profile, "downtime_limit", value_s * 1000)
    return Remedy("downtime_limit", text, value_s * 1000, "ms", command, certain=_is_narrow(needed))


def bandwidth(evidence: Evidence, found: Forecast, value: float | None = None) -> Remedy:
    """The bandwidth at which the floor falls below the threshold, and the limits to raise to it.

    evidence: present bandwidth and its limits. found: gives the range of the bandwidth that is needed.
    value: in place of the greatest of that range [bytes/s].
    It does not help above the rate at which the host's threads send; it has no value where the log leaves the range open.
    """
    needed = bandwidth_needed_bytes_per_s(found, evidence)
    if value is None and _is_open(evidence, needed, evidence.bandwidth_bytes_per_s or 0.0):
        now = bandwidth_words(max(needed[0], evidence.bandwidth_bytes_per_s or 0.0))
        text = f"bandwidth: more than {now}; the log does not show how much more is needed"
        return Remedy("bandwidth", text, unit="bytes/s", certain=False)
    value = rounded_up(needed[1] * MARGIN * 8) / 8 if value is None else value
    now = bandwidth_words(evidence.bandwidth_bytes_per_s or 0.0)
    text = f"bandwidth of at least {bandwidth_words(value)} (now {now}): "
    least = rounded_up(needed[0] * MARGIN)
    faster = least > (evidence.bandwidth_bytes_per_s or 0.0)
    may_do = _may_do(needed, bandwidth_words(least) if faster else "the present bandwidth")
    if (host := evidence.host_bandwidth_bytes_per_s) and value > host:
        who = channels_send(evidence.channels.count) if evidence.channels else "one migration thread sends"
        text += f"out of reach, {who} at most {bandwidth_words(host)} here"
        return Remedy("bandwidth", text, value, "bytes/s", helps=False)
    text += " and ".join(_limits_below(evidence, value)) + may_do
    command = "" if evidence.bottleneck in ("link", "host", "window") else command_for(evidence.profile, "bandwidth", value)
    return Remedy("bandwidth", text, value, "bytes/s", command, certain=_is_narrow(needed))


def throttle(evidence: Evidence, found: Forecast, percent: float | None = None) -> Remedy:
    """Auto-converge: the throttle it has to reach, or the reason why it does not help.

    evidence: the throttle so far, and the guest's pacing. found: gives the speed that the guest may keep.
    percent: in place of the throttle computed from ``found``.
    """
    if evidence.no_throttle:
        return Remedy("auto_converge", f"auto-converge: {evidence.no_throttle}", unit="percent", helps=False)
    if not evidence.paces and (evidence.cpu_bound_share == 0 or _is_clock_paced(evidence, found)):
        return _throttle_not_seen(evidence)
    if found.fit is not None and not found.fit.rate_is_bounded:
        return _throttle_unknown(evidence)
    lowest, _ = speed_allowed(found, evidence)
    percent = throttle_for(evidence, lowest / MARGIN) if percent is None else percent
    if lowest <= LEAST_SPEED or percent is None:
        left = 100 * throttled_speed(evidence, THROTTLE_MAX)
        text = f"auto-converge does not suffice: at its greatest throttle, 99 %, the guest keeps {left:.0f} % of its writes"
        return Remedy("auto_converge", text, THROTTLE_MAX, "percent", helps=False)
    if evidence.auto_converge and evidence.throttle_percent >= percent:
        text = f"auto-converge does not suffice: a throttle of {evidence.throttle_percent:.0f} % was not enough"
        return Remedy("auto_converge", text, percent, "percent", helps=False)
    return _throttle_to(evidence, percent)


def throttled_in_vain(evidence: Evidence) -> Remedy:
    """Auto-converge by a log in which it has not ended the migration, however the guest is paced."""
    percent = evidence.throttle_percent
    if percent >= evidence.max_cpu_throttle:
        text = (
            f"auto-converge does not suffice: it is on and has throttled the guest by {percent:.0f} %, the most that is "
            f"{'allowed (max-cpu-throttle)' if percent < THROTTLE_MAX else 'possible'}, in vain"
        )
        return Remedy("auto_converge", text, helps=False)
    so_far = f", up to {percent:.0f} % so far," if percent else ""
    text = (
        f"throttling (auto-converge){so_far} has not slowed the writes in this log; whether more of it helps "
        "depends on the guest: writes paced by a clock catch up until the throttle leaves them too little CPU time"
    )
    return Remedy("auto_converge", text, certain=False)


def throttled_speed(evidence: Evidence, percent: float) -> float:
    """Share of its writes that the guest keeps under a throttle of ``percent``.

    evidence: the guest's pacing; where it is unknown the guest counts as bound to the CPU.
    """
    known = bool(evidence.paces) or evidence.cpu_bound_share is not None
    return speed_under(evidence, percent) if known else 1 - percent / 100


def throttle_for(evidence: Evidence, speed: float) -> float | None:
    """The least throttle [percent] that leaves no more than ``speed``; None if none does."""
    percents = range(1, int(THROTTLE_MAX) + 1)
    return next((float(percent) for percent in percents if throttled_speed(evidence, percent) <= speed), None)


def always_end(evidence: Evidence, pages: float, word: str = "about") -> tuple[Remedy, ...]:
    """The remedies that end any migration, with the time to send ``pages`` over the one stream that they have.

    word: "about" or "up to", printed before that time.
    """
    speed = evidence.one_stream_bytes_per_s or evidence.bandwidth_peak_bytes_per_s or evidence.bandwidth_bytes_per_s or 0.0
    page_wire_bytes = evidence.page_bytes + PAGE_WIRE_BYTES - PAGE_BYTES  # whole pages: deltas and compression end before
    return always_end_within(evidence, pages * page_wire_bytes / speed if speed else 0.0, word)


def always_end_within(evidence: Evidence, seconds: float, word: str = "about") -> tuple[Remedy, ...]:
    """The remedies that end any migration, with the profile's commands of ``evidence``.

    seconds: to send the remaining pages [s]. word: "about" or "up to", printed before ``seconds``.
    """
    return tuple(one.always_ends(evidence, seconds, word) for one in mechanisms() if one.always_ends is not None)


def more_time(evidence: Evidence, found: Forecast, value_s: float | None = None) -> Remedy:
    """The remedy for a migration that would converge: the time it needs, without a time-out before.

    evidence: the time it had; its source, a log or a run, decides whether a command or a key of the scenario is advised.
    found: gives the time left. value_s: in place of the time computed from both [s since the start].
    """
    left_s = time_left_s(found, evidence) or 0.0
    value_s = rounded_up((evidence.elapsed_s + left_s) * MARGIN) if value_s is None else value_s
    had = seconds_words(evidence.elapsed_s)
    if evidence.source == "log":
        text = f"time: do not cancel it before {seconds_words(value_s)} (it has run for {had})"
        return Remedy("timeout", text, value_s, "s", command_for(evidence.profile, "timeout", value_s))
    capped = evidence.status == "active"
    key = "duration" if capped else "migration.timeout"
    ended = "the run ended" if capped else "it was cancelled"
    text = f"time: let it run for at least {seconds_words(value_s)} ({ended} after {had}), by a higher {key}"
    return Remedy("timeout", text, value_s, "s", f"--set {key}={math.ceil(value_s - 1e-6)}s")


def _remaining_pages(evidence: Evidence) -> float:
    """Pages remaining after the last sync of a run; 0 for a log. The curve of the run may forecast fewer."""
    return evidence.rounds[-1].remaining_pages if evidence.source == "run" and evidence.rounds else 0.0


def _is_capped(evidence: Evidence) -> bool:
    return evidence.bottleneck == "max-bandwidth"


def _limits_below(evidence: Evidence, value: float) -> list[str]:
    """Words for each limit of the bandwidth that has to be raised to ``value``."""
    found = []
    if (most := evidence.max_bandwidth_bytes_per_s) and most < value:
        found.append("raise max-bandwidth")
    if (link := evidence.link_bandwidth_bytes_per_s) and link < value:
        found.append(f"use a faster link, this one has {bandwidth_words(link)}")
    if evidence.window and evidence.window.bytes_per_s < value:
        found.append(wider_window(evidence.window, value))
    unknown = "raise max-bandwidth if that is the bottleneck, else use a faster link"
    if evidence.channels and evidence.bottleneck == "host":
        return [MORE]
    return found or ["use a faster host" if evidence.bottleneck == "host" else unknown]


def _is_clock_paced(evidence: Evidence, found: Forecast) -> bool:
    return evidence.cpu_bound_share is None and found.cpu_bound is False


def _throttle_not_seen(evidence: Evidence) -> Remedy:
    so_far = f" (up to {evidence.throttle_percent:.0f} %)" if evidence.throttle_percent else ""
    text = (
        f"auto-converge: no throttle so far{so_far} has slowed the guest's writes, which follow the clock and catch up; a "
        "throttle that leaves too little CPU time to catch up would slow them, and the guest"
    )
    return Remedy("auto_converge", text, unit="percent", helps=False, certain=False)


def _throttle_unknown(evidence: Evidence) -> Remedy:
    at = f" {evidence.throttle_percent:.0f} % has changed nothing yet;" if evidence.throttle_percent else ""
    text = f"auto-converge:{at} the necessary throttle is unknown, as the log gives only a lower bound of the write rate"
    return Remedy("auto_converge", text, unit="percent", helps=False, certain=False)


def _throttle_to(evidence: Evidence, percent: float) -> Remedy:
    known = bool(evidence.paces) or evidence.cpu_bound_share is not None
    text = _throttle_words(evidence, percent)
    text += "" if known else ", if the guest's writes follow its CPU time (writes that follow the clock catch up)"
    text += f"; the guest keeps {100 * (1 - percent / 100):.0f} % of its CPU time"
    kept = throttled_speed(evidence, percent)
    text += f" and {100 * kept:.0f} % of its writes" if _catches_up(evidence) else ""
    command = command_for(evidence.profile, "auto_converge", percent)
    return Remedy("auto_converge", text, percent, "percent", command, certain=known)


def _catches_up(evidence: Evidence) -> bool:
    return any(catch_up > CATCHES_UP for _, catch_up in evidence.paces)


def _throttle_words(evidence: Evidence, percent: float) -> str:
    if percent > evidence.max_cpu_throttle:
        now = f"max-cpu-throttle is {evidence.max_cpu_throttle:.0f} % now"
        return f"auto-converge with a throttle of {percent:.0f} %, {now}"
    if evidence.auto_converge:
        reached = f"auto-converge is on and has reached {evidence.throttle_percent:.0f} %"
        return f"{reached}; it needs {percent:.0f} %, so more time"
    steps = steps_needed(percent / 100, max_percent=int(evidence.max_cpu_throttle)) or 1
    times = f"{steps} steps, each" if steps > 1 else "1 step,"
    return f"auto-converge up to a throttle of {percent:.0f} % ({times} after two iterations)"


def _is_narrow(needed: Range) -> bool:
    return needed[1] <= CERTAIN * needed[0]


def _is_open(evidence: Evidence, needed: Range, now: float) -> bool:
    """Whether a log bounds the needed value so loosely that the upper end is no advice."""
    return evidence.source == "log" and needed[1] > OPEN * max(needed[0], now)


def _may_do(needed: Range, least: str) -> str:
    return "" if _is_narrow(needed) else f"; {least} may be enough"
