"""What ageing found: passes, a map of ages, and the working set that they show beside the true one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from hostsim.memory.policies.protocol import check_estimate
from hostsim.results.latencies import vm_name
from hostsim.results.tables import Table
from hostsim.theory.age_histogram import age_counts, expected_counts, misplaced_share
from hostsim.theory.page_rates import page_rates_per_s
from hostsim.theory.working_set import working_set_pages

if TYPE_CHECKING:
    from hostsim.guest.workload import Workload
    from hostsim.machine.machine import Machine
    from hostsim.memory.ageing_daemon import AgeingDaemon, AgeingPass

NS_PER_S = 1e9
PASSES = {
    "vm": "str", "pass": "int64", "start_ns": "int64", "took_ns": "int64", "calls": "int64", "asked": "int64",
    "young": "int64", "host_read": "int64", "false_old": "float64", "working_set_pages": "float64",
}  # fmt: skip
"""Columns of ``ageing_passes``. host_read: of the young pages, those that the migration thread has read, and the guest has
not accessed; false_old: pages called old that are expected to have been accessed since the pass before,
by translations in a TLB; working_set_pages: what the guest accesses, of all its memory, in the work it did since the pass
before, by its rates; empty for the first pass, and where rates do not say it (sweeps, traces).
"""
AGE_MAP = {
    "vm": "str", "pass": "int64", "first_gfn": "int64", "end_gfn": "int64", "mean_age_passes": "float64",
    "young_share": "float64",
}  # fmt: skip
"""Columns of ``age_map``: a row a pass and bin of gfns. Empty: an age where no pass has asked yet, a share where this pass
did not.
"""


def ageing_section(machine: Machine) -> list[dict[str, Any]]:
    """``ageing`` of run.json: what each daemon did, summed up."""
    return [_summary(machine, number) for number in range(len(machine.daemons))]


def ageing_tables(machine: Machine) -> list[Table]:
    """``ageing_passes`` and ``age_map``."""
    passes = [row for number in range(len(machine.daemons)) for row in _pass_rows(machine, number)]
    bins = [row for number, daemon in enumerate(machine.daemons) for row in _bin_rows(vm_name(number), daemon)]
    return [Table.of("ageing_passes", PASSES, passes), Table.of("age_map", AGE_MAP, bins)]


def _summary(machine: Machine, number: int) -> dict[str, Any]:
    daemon, notifier, lock = machine.daemons[number], machine.notifiers[number], machine.live_vms[number].lock
    passes = daemon.passes
    calls, took_ns = sum(one.calls for one in passes), sum(one.took_ns for one in passes)
    seconds = machine.env.now_ns / NS_PER_S
    return {
        "vm": vm_name(number),
        "passes": len(passes),
        "calls": calls,
        "asked_pages": sum(one.asked for one in passes),
        "young_pages": sum(one.young for one in passes),
        "host_read_pages": sum(one.host_read for one in passes),
        "false_old_pages": sum(one.false_old for one in passes),
        "pass_mean_ns": took_ns / len(passes) if passes else None,
        "pass_max_ns": max((one.took_ns for one in passes), default=None),
        "calls_per_s": calls / seconds if seconds else 0.0,
        "notifier_calls_per_s": sum(one.count for one in notifier.latencies.values()) / seconds if seconds else 0.0,
        "lock_wait_ns": lock.wait_ns,
        "lock_hold_ns": lock.hold_ns,
        **_working_set(machine, number),
        **_histogram(machine, number),
    }


def _working_set(machine: Machine, number: int) -> dict[str, Any]:
    """Mean over the passes but the first: pages found young, those of them that the migration thread alone has read, and the
    pages that the guest accesses by its rates in the same spans of work.
    """
    pairs = [(one.young, w) for one, w in zip(machine.daemons[number].passes, _true_sets(machine, number), strict=True)]
    known = [(young, w) for young, w in pairs[1:] if w is not None]
    passes, n_pages = machine.daemons[number].passes[1:], machine.live_vms[number].memory.n_pages
    estimate = float(np.mean([one.young for one in passes])) if passes else None
    check_estimate(estimate or 0.0, n_pages, "pages of the guest")
    return {
        "working_set_estimate_pages": estimate,
        "working_set_host_read_pages": float(np.mean([one.host_read for one in passes])) if passes else None,
        "working_set_pages": float(np.mean([w for _, w in known])) if known else None,
    }


def _histogram(machine: Machine, number: int) -> dict[str, Any]:
    """Ages at the end, and how many pages have another than they should by their rates."""
    daemon = machine.daemons[number]
    n_passes = len(daemon.passes)
    counts, rates = age_counts(daemon.ages, n_passes), _rates(machine, number)
    spans_s = _work_spans_s(daemon.passes, _clocks(machine, number))
    found: dict[str, Any] = {"age_histogram_pages": counts.tolist(), "age_expected_pages": None, "age_misplaced_share": None}
    if rates is None or not spans_s or not _asks_for_all(daemon):
        return found
    expected = expected_counts(rates[daemon.ages >= 0], float(np.mean(spans_s)), n_passes)
    return found | {
        "age_expected_pages": expected.tolist(), "age_misplaced_share": misplaced_share(counts, expected),
    }  # fmt: skip


def _asks_for_all(daemon: AgeingDaemon) -> bool:
    """Whether each pass asks for every page: else ages are not in passes of the page itself."""
    n_pages = len(daemon.ages)
    return all(one.asked == n_pages for one in daemon.passes)


def _pass_rows(machine: Machine, number: int) -> list[tuple[Any, ...]]:
    name, passes = vm_name(number), machine.daemons[number].passes
    return [
        (name, i, one.start_ns, one.took_ns, one.calls, one.asked, one.young, one.host_read, one.false_old, _or_nan(w))
        for i, (one, w) in enumerate(zip(passes, _true_sets(machine, number), strict=True))
    ]


def _or_nan(pages: float | None) -> float:
    return np.nan if pages is None else pages


def _bin_rows(name: str, daemon: AgeingDaemon) -> list[tuple[Any, ...]]:
    edges = daemon.bin_edges.tolist()
    bins = list(pairwise(edges))
    return [
        (name, i, *bin_, age, young)
        for i, one in enumerate(daemon.passes)
        for bin_, age, young in zip(bins, one.mean_ages.tolist(), one.young_shares.tolist(), strict=True)
    ]


def _true_sets(machine: Machine, number: int) -> list[float | None]:
    """w(T) for each pass, T: the work of the guest since the one before."""
    passes, rates = machine.daemons[number].passes, _rates(machine, number)
    if rates is None or not passes:
        return [None] * len(passes)
    return [None, *(working_set_pages(rates, span_s) for span_s in _work_spans_s(passes, _clocks(machine, number)))]


def _work_spans_s(passes: Sequence[AgeingPass], n_clocks: int) -> list[float]:
    """Work between the starts of passes, mean of the work clocks [s]."""
    # Model limit: the true working set of a span takes the mean of all work clocks for the work of each workload.
    work_ns = np.array([one.work_ns for one in passes], np.float64)
    spans_s: list[float] = (np.diff(work_ns) / max(1, n_clocks) / NS_PER_S).tolist()
    return spans_s


def _clocks(machine: Machine, number: int) -> int:
    return len(machine.live_vms[number].guest.clocks)


def _rates(machine: Machine, number: int) -> Any:
    spec, n_pages = machine.spec, machine.live_vms[number].memory.n_pages
    workloads: Sequence[Workload] = spec.workloads if number == 0 else spec.neighbours[number - 1].workloads
    return page_rates_per_s(workloads, n_pages)
