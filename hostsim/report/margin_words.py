"""Margins in sentences: the value at which an answer flips, the neighbours that were run, and the seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from hostsim.core.constants import PAGE_BYTES
from hostsim.report.origin_words import seeds_words
from hostsim.study.compare.work import work_words
from hostsim.study.predict.margins import MARGIN_WORK, Margin
from hostsim.verdict.words import bandwidth_words, bytes_words, seconds_words

NAMES: Mapping[str, str] = {
    "dirty_rate_pages_per_s": "dirty rate", "bandwidth_bytes_per_s": "bandwidth", "downtime_limit_ms": "downtime limit",
    "working_set_bytes": "working set",
}  # fmt: skip
WORDS: Mapping[str, Callable[[float], str]] = {
    "dirty_rate_pages_per_s": lambda pages: bandwidth_words(pages * PAGE_BYTES), "bandwidth_bytes_per_s": bandwidth_words,
    "downtime_limit_ms": lambda ms: seconds_words(ms / 1000), "working_set_bytes": bytes_words,
}  # fmt: skip
FARTHEST: Mapping[tuple[str, bool], str] = {
    ("dirty_rate_pages_per_s", True): "no larger dirty rate is tried", ("dirty_rate_pages_per_s", False): "no less is tried",
    ("bandwidth_bytes_per_s", True): "no lower bandwidth is tried",
    ("bandwidth_bytes_per_s", False): "no faster link helps: the migration thread sends less than this link carries",
    ("downtime_limit_ms", True): "QEMU takes no shorter downtime limit",
    ("downtime_limit_ms", False): "QEMU takes no longer downtime limit",
    ("working_set_bytes", True): "the working set is all memory already",
    ("working_set_bytes", False): "no smaller working set is tried",
}  # fmt: skip
"""A figure that is as far as it can be, by its name and whether farther is harder."""
MORE_IS_HARDER = ("dirty_rate_pages_per_s", "working_set_bytes")


def margin_lines(margins: Sequence[Margin]) -> Iterator[str]:
    """A line for each margin, then the seeds of their runs, and the work of those that were not run."""
    for margin in margins:
        yield f"Margin: {margin_words(margin)}."
    seeds = {margin.seeds for margin in margins if margin.seeds}
    if seeds:
        yield f"Margins are runs with that one change ({seeds_words(max(seeds, key=len))})."
    if too_dear := [margin.work for margin in margins if margin.work and not margin.confirmed]:
        yield (
            "Margins marked 'not run' are computed from the dirty curve and not confirmed: the runs of one are work of "
            f"{work_words(min(too_dear))} or more, and the budget of all is {work_words(MARGIN_WORK)}."
        )


def margin_words(margin: Margin) -> str:
    """``it stops converging above a dirty rate of 9.1 Gbit/s: at 9.2 Gbit/s it does not converge``."""
    name, words = NAMES[margin.knob], WORDS[margin.knob]
    now = f"now {words(margin.today)}"
    if margin.near == margin.today and margin.far is None:
        return f"{FARTHEST[margin.knob, margin.harder]} ({now})"
    if margin.near is None or not margin.confirmed:
        return _computed(margin, name, now)
    if margin.far is None:
        return _no_flip(margin, f"a {name} of {words(margin.near)}", now)
    side = _side(margin)
    if margin.harder:
        return (
            f"it stops converging {side} a {name} of {words(margin.near)} ({now}): there it converges, at "
            f"{words(margin.far)} it does not"
        )
    there = f"there it does, at {words(margin.near)} it does not yet"
    return f"it converges {side} a {name} of {words(margin.far)} ({now}): {there}"


def _side(margin: Margin) -> str:
    """Above or below: where the other answer begins."""
    return "above" if (margin.knob in MORE_IS_HARDER) == margin.harder else "below"


def _no_flip(margin: Margin, value: str, now: str) -> str:
    if margin.harder:
        return f"it converges with {value}, too ({now})"
    return f"it does not converge with {value} either ({now})"


def _computed(margin: Margin, name: str, now: str) -> str:
    if margin.computed is None:
        return f"by computation, no {name} changes the answer ({now}; not run)"
    side, value = _side(margin), WORDS[margin.knob](margin.computed)
    ends = "stops converging" if margin.harder else "converges"
    return f"it {ends} {side} a {name} of about {value} ({now}; computed, not run)"


def in_the_way(computed: Mapping[str, float] | None) -> Iterator[str]:
    """What keeps a migration from converging, by computation; nothing where it would converge, or is not computed."""
    if computed is None:
        return
    if "window_bytes" in computed:
        window, trip = bytes_words(computed["window_bytes"]), seconds_words(computed["round_trip_s"])
        yield (
            f"Bandwidth: TCP sends a window of {window} each round trip of {trip}, which is "
            f"{bandwidth_words(computed['bandwidth_bytes_per_s'])} whatever the link carries (computed)."
        )
    if computed["floor_bytes"] <= computed["threshold_bytes"]:
        return
    floor, threshold = (bytes_words(computed[name]) for name in ("floor_bytes", "threshold_bytes"))
    at = bandwidth_words(computed["bandwidth_bytes_per_s"])
    yield (
        f"Obstacle: the guest writes so fast that at {at} no less than {floor} remain to be sent, and QEMU stops the "
        f"guest only below {threshold} (computed)."
    )
