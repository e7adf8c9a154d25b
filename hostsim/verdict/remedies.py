"""The single changes that would make a migration end, each with its value, and those that would not."""

from __future__ import annotations

from hostsim.study.throttle import steps_needed
from hostsim.verdict.commands import command_for
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.forecast import (
    MARGIN,
    Forecast,
    Range,
    bandwidth_needed_bytes_per_s,
    limit_needed_s,
    speed_allowed,
    time_left_s,
)
from hostsim.verdict.model import Remedy
from hostsim.verdict.window import wider_window
from hostsim.verdict.words import bandwidth_words, rounded_up, seconds_words

CERTAIN = 1.3
"""A range this narrow is one value."""
LIMIT_MAX_S = 2000.0
"""Greatest downtime-limit QEMU accepts (migration/options.c::MAX_MIGRATE_DOWNTIME)."""
THROTTLE_MAX = 99.0
"""Greatest max-cpu-throttle (migration/options.c)."""
LEAST_SPEED = 2e-4
"""The solver's lower end: no throttle suffices."""


def remedies_for(evidence: Evidence, found: Forecast) -> tuple[Remedy, ...]:
    """For a migration that does not converge."""
    return (
        downtime_limit(evidence, found),
        bandwidth(evidence, found),
        throttle(evidence, found),
        post_copy(evidence, found.settle[1], "about" if _is_narrow(found.settle) else "up to"),
    )


def downtime_limit(evidence: Evidence, found: Forecast) -> Remedy:
    """The limit that reaches the floor, above it by MARGIN and rounded up to two digits."""
    needed = limit_needed_s(found, evidence)
    value_s = rounded_up(needed[1] * MARGIN)
    if value_s > LIMIT_MAX_S:
        text = f"downtime limit: QEMU's greatest, {LIMIT_MAX_S:.0f} s, is below the {seconds_words(value_s)} needed"
        return Remedy("downtime_limit", text, value_s * 1000, "ms", helps=False)
    stops = ", of which a guest held back by max-bandwidth sees less" if evidence.brake == "max-bandwidth" else ""
    text = f"downtime limit >= {seconds_words(value_s)} (now {seconds_words(evidence.limit_s)}{stops})"
    least_s = rounded_up(needed[0] * MARGIN)
    text += _may_do(needed, seconds_words(least_s) if least_s > evidence.limit_s else "the limit as it is")
    command = command_for(evidence.profile, "downtime_limit", value_s * 1000)
    return Remedy("downtime_limit", text, value_s * 1000, "ms", command, certain=_is_narrow(needed))


def bandwidth(evidence: Evidence, found: Forecast) -> Remedy:
    """The bandwidth at which the floor comes under the threshold, and whose it is to raise."""
    needed = bandwidth_needed_bytes_per_s(found, evidence)
    value = rounded_up(needed[1] * MARGIN * 8) / 8
    now = bandwidth_words(evidence.bandwidth_bytes_per_s or 0.0)
    text = f"bandwidth >= {bandwidth_words(value)} (now {now}): "
    least = rounded_up(needed[0] * MARGIN)
    faster = least > (evidence.bandwidth_bytes_per_s or 0.0)
    may_do = _may_do(needed, bandwidth_words(least) if faster else "what there is")
    command = command_for(evidence.profile, "bandwidth", value)
    link, host = evidence.link_bandwidth_bytes_per_s, evidence.host_bandwidth_bytes_per_s
    if host and value > host:
        text += f"one migration thread sends at most {bandwidth_words(host)} here, so out of reach"
        return Remedy("bandwidth", text, value, "bytes/s", helps=False)
    if evidence.window and value > evidence.window.bytes_per_s:
        text += wider_window(evidence.window, value)
        return Remedy("bandwidth", text + may_do, value, "bytes/s", certain=_is_narrow(needed))
    if link and value > link:
        text += f"a faster link, this one has {bandwidth_words(link)}"
        return Remedy("bandwidth", text + may_do, value, "bytes/s", certain=_is_narrow(needed))
    text += {"max-bandwidth": "raise max-bandwidth", "link": "a faster link", "host": "a faster host"}.get(
        evidence.brake or "", "raise max-bandwidth if that is the brake, else a faster link"
    )
    command = "" if evidence.brake in ("link", "host") else command
    return Remedy("bandwidth", text + may_do, value, "bytes/s", command, certain=_is_narrow(needed))


def throttle(evidence: Evidence, found: Forecast) -> Remedy:
    """Auto-converge: the throttle it would have to reach, or why it does not help."""
    share = evidence.cpu_bound_share
    if share == 0 or (share is None and found.cpu_bound is False):
        why = "the guest's writes follow the clock, not its CPU time, and catch up"
        return Remedy("auto_converge", f"throttling (auto-converge) does not help: {why}", helps=False)
    if found.fit is not None and not found.fit.rate_is_bounded:
        return _throttle_unknown(evidence)
    lowest, _ = speed_allowed(found, evidence)
    share_slowed = 1.0 if share is None else share
    percent = rounded_up(100.0 * (1 - lowest / MARGIN) / share_slowed)
    if lowest <= LEAST_SPEED or percent > THROTTLE_MAX:
        text = f"throttling (auto-converge) does not suffice: even {THROTTLE_MAX:.0f} % leaves too many writes"
        return Remedy("auto_converge", text, percent, "percent", helps=False)
    return _throttle_to(evidence, percent, 1 - share_slowed * percent / 100)


def post_copy(evidence: Evidence, pages: float, word: str = "about") -> Remedy:
    """Always ends; ``pages`` ("about" or "up to" so many) are left to fetch after the switch."""
    speed = (
        evidence.carried_bytes_per_s or evidence.bandwidth_peak_bytes_per_s or evidence.bandwidth_bytes_per_s or 0.0
    )
    exposed_s = pages * evidence.page_wire_bytes / speed if speed else 0.0
    text = (
        f"post-copy: always ends; for {word} {seconds_words(exposed_s)} the guest needs both hosts and "
        "the link, "
        "and is lost with them"
    )
    return Remedy("post_copy", text, exposed_s, "s", command_for(evidence.profile, "post_copy"))


def more_time(evidence: Evidence, found: Forecast) -> Remedy:
    """For a migration that was on its way: the time it needs."""
    left_s = time_left_s(found, evidence) or 0.0
    value_s = rounded_up((evidence.elapsed_s + left_s) * MARGIN)
    text = f"time: let it run at least {seconds_words(value_s)} (it had {seconds_words(evidence.elapsed_s)})"
    capped = evidence.source == "run" and evidence.status == "active"
    command = f"--set duration={value_s:.0f}s" if capped else command_for(evidence.profile, "timeout", value_s)
    return Remedy("timeout", text, value_s, "s", command)


def _throttle_unknown(evidence: Evidence) -> Remedy:
    so_far = f" at {evidence.throttle_percent:.0f} % nothing has changed yet;" if evidence.throttle_percent else ""
    text = f"throttling (auto-converge):{so_far} what it needs cannot be told, writes within one limit were not seen"
    return Remedy("auto_converge", text, unit="percent", helps=False, certain=False)


def _throttle_to(evidence: Evidence, percent: float, speed: float) -> Remedy:
    text = _throttle_words(evidence, percent)
    known = evidence.cpu_bound_share is not None
    text += "" if known else ", if the guest is CPU-bound (clock-paced writes catch up)"
    text += f"; the guest keeps {100 * speed:.0f} % of its writes"
    command = command_for(evidence.profile, "auto_converge", percent)
    return Remedy("auto_converge", text, percent, "percent", command, certain=known)


def _throttle_words(evidence: Evidence, percent: float) -> str:
    if percent > evidence.max_cpu_throttle:
        return f"auto-converge to >= {percent:.0f} % throttle: max-cpu-throttle is {evidence.max_cpu_throttle:.0f} % now"
    if evidence.auto_converge:
        reached = f"auto-converge is on and reached {evidence.throttle_percent:.0f} %"
        return f"{reached}: it needs >= {percent:.0f} %, so more time"
    steps = steps_needed(percent / 100, max_percent=int(evidence.max_cpu_throttle)) or 1
    return f"auto-converge to >= {percent:.0f} % throttle ({steps} steps of two rounds)"


def _is_narrow(needed: Range) -> bool:
    return needed[1] <= CERTAIN * needed[0]


def _may_do(needed: Range, least: str) -> str:
    return "" if _is_narrow(needed) else f"; that is certain, {least} may do"
