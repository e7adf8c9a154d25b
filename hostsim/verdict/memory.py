"""What a run says of its host's memory: lines to paste into a ticket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from hostsim.verdict.render import marked
from hostsim.verdict.words import bytes_words, count_words, seconds_words, span_words

if TYPE_CHECKING:
    from hostsim.results.memory import HostResult

PAGE_BYTES = 4096


def host_verdict(host: HostResult, style: Literal["text", "markdown"] = "text") -> list[str]:
    """Lines, each opening with what it is about."""
    lines = [*_ended(host), *_memory(host), *_ageing(host)]
    return [marked(line) for line in lines] if style == "markdown" else lines


def _ended(host: HostResult) -> Iterator[str]:
    if host.out_of_memory is None:
        return
    t_ns, vm = host.out_of_memory
    yield (
        f"VERDICT: out of memory after {seconds_words(t_ns / 1e9)}: nothing could be reclaimed any more; the kernel would "
        f"kill {vm}, and the run ends here."
    )


def _memory(host: HostResult) -> Iterator[str]:
    for row in () if host.memory is None else host.memory["vms"]:
        held = bytes_words(row["resident_pages"] * PAGE_BYTES)
        yield (
            f"Memory: {row['vm']} ended with {held} in frames and {bytes_words(row['swapped_pages'] * PAGE_BYTES)} in swap; "
            f"its vCPUs stalled for the host {_percent(row['stall_share'])} of the time, and its guest was slowed down by "
            f"{_percent(row['guest_slowdown'])}{_swap_in(host, row['vm'])}."
        )


def _swap_in(host: HostResult, vm: str) -> str:
    found = next((one for one in host.latencies if one.what == "fault_major" and one.vm == vm), None)
    if found is None:
        return ""
    p99 = span_words(found.latencies.percentile_ns(99))
    return f"; {count_words(found.latencies.count)} swap-ins, p99 {p99}"


def _ageing(host: HostResult) -> Iterator[str]:
    for row in host.ageing or ():
        if not row["passes"]:
            yield f"Ageing: no pass of {row['vm']} ended."
            continue
        yield (
            f"Ageing: {row['passes']} passes of {row['vm']}, {span_words(row['pass_mean_ns'])} each at "
            f"{count_words(row['calls'] / row['passes'])} calls{_working_set(row)}{_ages(row)}."
        )


def _working_set(row: dict[str, Any]) -> str:
    estimate, true = row["working_set_estimate_pages"], row["working_set_pages"]
    if estimate is None:
        return ""
    beside = "" if true is None else f" (by the guest's rates: {count_words(true)})"
    unseen = row["false_old_pages"] / row["passes"]
    missed = f", {count_words(unseen)} more accessed unseen" if unseen >= 0.5 else ""
    return f"; {count_words(estimate)} pages young in a period{missed}{beside}"


def _ages(row: dict[str, Any]) -> str:
    share = row["age_misplaced_share"]
    return "" if share is None else f"; {_percent(share)} of the pages have a wrong age"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
