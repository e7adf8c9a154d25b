"""The verdict on a host's memory: lines to paste into a ticket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.units import parse_duration
from hostsim.verdict.render import marked
from hostsim.verdict.words import bytes_words, count_words, percent_words, seconds_words, span_words

if TYPE_CHECKING:
    from hostsim.results.memory import HostResult
    from hostsim.results.tables import RunResult

EXACT = 0.01
"""An estimate that is off by less is called right (assumed)."""


def host_verdict(result: RunResult, style: Literal["text", "markdown"] = "text") -> list[str]:
    """The lines of the verdict on the memory of the host of ``result``, if it has one; each opens with its subject.

    style: "markdown" marks the subjects, "text" leaves the lines plain.
    """
    host = result.host
    lines = [] if host is None else [*_ended(host), *_memory(host), *_ageing(host, result.scenario.get("ageing") or {})]
    return [marked(line) for line in lines] if style == "markdown" else lines


def _ended(host: HostResult) -> Iterator[str]:
    if host.out_of_memory is None:
        return
    t_ns, vm = host.out_of_memory
    yield (
        f"VERDICT: out of memory after {seconds_words(t_ns / 1e9)}: the host could not free any frame. A kernel would kill "
        f"{vm} now; the run ends here."
    )


def _memory(host: HostResult) -> Iterator[str]:
    for memory in (host.memory, host.destination_memory):
        yield from () if memory is None else _of_vms(host, memory["vms"], is_there=memory is host.destination_memory)


def _of_vms(host: HostResult, rows: list[dict[str, Any]], *, is_there: bool) -> Iterator[str]:
    """``is_there``: of the destination, whose vCPUs wait for missing pages, too."""
    awaited = "missing pages, for pages in swap or for free memory" if is_there else "pages in swap or for free memory"
    for row in rows:
        held = bytes_words(row["resident_pages"] * PAGE_BYTES)
        yield (
            f"Memory: {row['vm']} ended with {held} in memory and {bytes_words(row['swapped_pages'] * PAGE_BYTES)} in swap. "
            f"Its vCPUs waited {percent_words(row['stall_share'])} of their time for {awaited}"
            f"{_swap_ins(host, row['vm'], 'fault_major')}; the guest did {percent_words(row['guest_slowdown'])} less work "
            "than without any interruption."
        )
        yield from _asleep(host, row)
        yield from _read_back(host, row)


def _asleep(host: HostResult, row: dict[str, Any]) -> Iterator[str]:
    if row["async_faults"]:
        yield (
            f"Memory: tasks of {row['vm']} slept {count_words(row['async_faults'])} times until a page was there, "
            f"{span_words(row['async_wait_ns'])} in all{_swap_ins(host, row['vm'], 'async_fault_major')}; their vCPUs ran "
            "other tasks meanwhile, or were idle."
        )


def _read_back(host: HostResult, row: dict[str, Any]) -> Iterator[str]:
    if row["read_back"] or row["migration_wait_ns"]:
        yield (
            f"Memory: the migration thread waited {span_words(row['migration_wait_ns'])} in all to bring "
            f"{count_words(row['read_back'])} pages of {row['vm']} back into memory before it could send them"
            f"{_swap_ins(host, row['vm'], 'migration_fault_major')}; the guest did not wait for these."
        )


def _swap_ins(host: HostResult, vm: str, what: str) -> str:
    found = next((one for one in host.latencies if one.what == what and one.vm == vm), None)
    if found is None:
        return ""
    p99 = span_words(found.latencies.percentile_ns(99))
    return f" ({count_words(found.latencies.count)} swap-ins; 99 % of them took at most {p99})"


def _ageing(host: HostResult, keys: Mapping[str, Any]) -> Iterator[str]:
    """keys: [ageing] of the scenario."""
    for row in host.ageing or ():
        if not row["passes"]:
            yield f"Ageing: no pass over {row['vm']} ended."
            continue
        calls = count_words(row["calls"] / row["passes"])
        yield (
            f"Ageing: {row['passes']} passes over {row['vm']}; a pass made {calls} calls of the mmu notifier and took "
            f"{span_words(row['pass_mean_ns'])}{_behind(row, keys)}{_working_set(row)}{_ages(row)}."
        )


def _behind(row: dict[str, Any], keys: Mapping[str, Any]) -> str:
    """The daemon begins a pass each period, or as the pass before ends if that is later."""
    period_ns = parse_duration(keys["period"]) if "period" in keys else 0
    if not 0 < period_ns < row["pass_mean_ns"]:
        return ""
    return f", longer than its period of {span_words(period_ns)}: passes follow one another without a pause"


def _working_set(row: dict[str, Any]) -> str:
    estimate, true = row["working_set_estimate_pages"], row["working_set_pages"]
    if estimate is None:
        return ""
    host_read, unseen = row["working_set_host_read_pages"], row["false_old_pages"] / row["passes"]
    unasked = row["working_set_unasked_pages"]
    found = f". It found {count_words(estimate - unasked)} pages accessed since the pass before"
    if host_read >= 0.5:
        found += f", {count_words(host_read)} of them by the migration thread alone"
    if unseen >= 0.5:
        found += f", and missed {count_words(unseen)} more whose translation was in a TLB"
    if unasked >= 0.5:
        counted = f"{count_words(unasked)} more without reading their accessed bits: {count_words(estimate)} in all"
        found += f". It counts {counted}"
    if not true:
        return found
    return f"{found}. By its access rates the guest uses {count_words(true)} in that time: {_off(estimate, host_read, true)}"


def _off(estimate: float, host_read: float, true: float) -> str:
    """The error of the estimate against the pages that the guest accesses, with and without the migration thread's pages."""
    told = f"as an estimate of the guest's working set the count is {_direction(estimate / true - 1)}"
    if host_read < 0.5:
        return told
    return f"{told}, and {_direction((estimate - host_read) / true - 1)} without the migration thread's pages"


def _direction(error: float) -> str:
    if abs(error) < EXACT:
        return f"right within {percent_words(EXACT)}"
    return f"{percent_words(abs(error))} too {'high' if error > 0 else 'low'}"


def _ages(row: dict[str, Any]) -> str:
    share = row["age_misplaced_share"]
    return "" if share is None else f". {percent_words(share)} of the pages have another age than their access rates imply"
