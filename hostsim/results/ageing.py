"""Results of ageing: passes, a map of ages, and the estimated working set beside the true one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hostsim.core.constants import NS_PER_S
from hostsim.memory.policies.protocol import check_estimate
from hostsim.results.columns import FLOAT, INT, JSON, STR, Column, Columns, read_row
from hostsim.results.latencies import HostOf, hosts_of
from hostsim.results.tables import Table
from hostsim.theory.working_set import (
    age_counts,
    expected_counts,
    misplaced_share,
    page_rates_per_s,
    swept_pages,
    working_set_pages,
)

if TYPE_CHECKING:
    from hostsim.guest.workload import Workload
    from hostsim.kvm.lock import MmuLock
    from hostsim.machine.machine import Machine
    from hostsim.memory.ageing_daemon import AgeingDaemon, AgeingPass



class PassOf(NamedTuple):
    """A pass of the daemon of ``vm``. working_set_pages: None for the first pass and for guests whose rates are unknown."""

    vm: str
    number: int
    found: AgeingPass
    working_set_pages: float | None


class Bin(NamedTuple):
    """A range of gfns of ``vm`` after a pass.

    mean_age_passes: NaN if no pass has asked for a page of the range yet; young_share: NaN if this pass did not.
    """

    vm: str
    number: int
    first_gfn: int
    end_gfn: int
    mean_age_passes: float
    young_share: float


class Aged(NamedTuple):
    """Ageing of a VM over a whole run.

    true_sets: of each pass, as ``PassOf.working_set_pages``.
    histogram: int64[ages], pages; expected: float64[ages], pages computed from the guest's rates, None if the rates are
    unknown or the daemon does not ask for every page.
    seconds: time since the VM was made, for all but a VM at the destination the length of the run; lock: mmu_lock of the VM.
    """

    vm: str
    passes: Sequence[AgeingPass]
    true_sets: Sequence[float | None]
    histogram: Any
    expected: Any
    notifier_calls: int
    lock: MmuLock
    seconds: float

    def total(self, name: str) -> Any:
        """Sum of field ``name`` over the passes."""
        return sum(getattr(one, name) for one in self.passes)

    def mean_but_first(self, name: str) -> float | None:
        """Mean of a field of the passes, without the first pass, to which every page is new."""
        return float(np.mean([getattr(one, name) for one in self.passes[1:]])) if len(self.passes) > 1 else None

    @property
    def estimate_pages(self) -> float | None:
        """Mean of the pages that a pass takes for used, without the first pass."""
        young, in_use = self.mean_but_first("young"), self.mean_but_first("in_use")
        return None if young is None or in_use is None else young + in_use

    @property
    def working_set_pages(self) -> float | None:
        """Mean of the known true sets, without the first pass; None if none is known."""
        known = [pages for pages in self.true_sets[1:] if pages is not None]
        return float(np.mean(known)) if known else None


PASSES: Columns[PassOf] = (
    Column("vm", STR, "", "VM", "the VM", lambda row: row.vm, key=True),
    Column("pass", INT, "", "pass", "number of the pass, from 0 on", lambda row: row.number, key=True),
    Column("start_ns", INT, "ns", "start", "since the start of the run", lambda row: row.found.start_ns),
    Column("took_ns", INT, "ns", "took", "from its start to its end", lambda row: row.found.took_ns),
    Column("calls", INT, "calls", "calls", "calls of the mmu notifier", lambda row: row.found.calls),
    Column("asked", INT, "pages", "asked", "pages these calls were about, each once", lambda row: row.found.asked),
    Column("young", INT, "pages", "young", "pages of these that were young, each once", lambda row: row.found.young),
    Column(
        "host_read", INT, "pages", "read by host",
        "young pages that the migration thread has read, and the guest has not accessed",
        lambda row: row.found.host_read, if_any=True,
    ),
    Column(
        "in_use", INT, "pages", "unasked",
        "pages that the policy takes for used without testing them: the active list, other pages of DAMON's regions",
        lambda row: row.found.in_use, if_any=True,
    ),
    Column(
        "false_old", FLOAT, "pages", "false old",
        "pages found old that the guest is expected to have accessed since the pass before, through a TLB",
        lambda row: row.found.false_old,
    ),
    Column(
        "working_set_pages", FLOAT, "pages", "ws true",
        "pages of all its memory that the guest accesses, by its rates, in the work it did since the pass before; empty for "
        "the first pass, and where the rates do not determine it (traces, sweeps beside other work)",
        lambda row: np.nan if row.working_set_pages is None else row.working_set_pages,
    ),
)  # fmt: skip
"""Columns of ``ageing_passes``: a row a VM and pass."""
AGE_MAP: Columns[Bin] = (
    Column("vm", STR, "", "", "the VM", lambda row: row.vm),
    Column("pass", INT, "", "", "number of the pass, from 0 on", lambda row: row.number),
    Column("first_gfn", INT, "", "", "the first one of the bin", lambda row: row.first_gfn),
    Column("end_gfn", INT, "", "", "the first one behind it", lambda row: row.end_gfn),
    Column(
        "mean_age_passes", FLOAT, "passes", "",
        "mean age of its pages: passes since one found the page young; empty where no pass has tested it yet",
        lambda row: row.mean_age_passes,
    ),
    Column(
        "young_share", FLOAT, "share", "", "young pages of those tested; empty where this pass tested none",
        lambda row: row.young_share,
    ),
)  # fmt: skip
"""Columns of ``age_map``: a row a VM, pass and bin of gfns."""
AGEING: Columns[Aged] = (
    Column("vm", STR, "", "", "the VM", lambda aged: aged.vm),
    Column("passes", INT, "passes", "", "passes of the daemon", lambda aged: len(aged.passes)),
    Column("calls", INT, "calls", "", "calls of the daemon to the mmu notifier", lambda aged: aged.total("calls")),
    Column(
        "asked_pages", INT, "pages", "",
        "pages tested, summed over the passes; a page counts once a pass, however often it is tested",
        lambda aged: aged.total("asked"),
    ),
    Column(
        "young_pages", INT, "pages", "", "of these, pages found young", lambda aged: aged.total("young"), title="young",
        place=1,
    ),
    Column(
        "host_read_pages", INT, "pages", "",
        "of `young_pages`, pages that the migration thread has read, and the guest has not accessed",
        lambda aged: aged.total("host_read"),
    ),
    Column(
        "false_old_pages", FLOAT, "pages", "",
        "pages found old that the guest is expected to have accessed since the pass before, through a TLB "
        "([why](../background/timing-model.md)), summed over the passes",
        lambda aged: aged.total("false_old"), title="false old", place=1,
    ),
    Column(
        "pass_mean_ns", FLOAT, "ns", "", "mean time from the start of a pass to its end",
        lambda aged: aged.total("took_ns") / len(aged.passes) if aged.passes else None,
    ),
    Column(
        "pass_max_ns", INT, "ns", "", "longest time from the start of a pass to its end",
        lambda aged: max((one.took_ns for one in aged.passes), default=None), title="longest ageing pass",
    ),
    Column(
        "calls_per_s", FLOAT, "calls/s", "", "these calls divided by the time of the run",
        lambda aged: aged.total("calls") / aged.seconds if aged.seconds else 0.0,
    ),
    Column(
        "notifier_calls_per_s", FLOAT, "calls/s", "", "calls of all callers of the mmu notifier, reclaim included",
        lambda aged: aged.notifier_calls / aged.seconds if aged.seconds else 0.0,
    ),
    Column(
        "lock_wait_ns", INT, "ns", "", "time that all threads of the host waited for `mmu_lock`",
        lambda aged: aged.lock.wait_ns,
    ),
    Column(
        "lock_hold_ns", INT, "ns", "", "time that all threads of the host held `mmu_lock`",
        lambda aged: aged.lock.hold_ns,
    ),
    Column(
        "working_set_estimate_pages", FLOAT, "pages", "",
        "the guest's working set as a pass estimates it: pages found young, and pages that the policy takes for used "
        "untested; mean of the passes, the first left out; never above the guest's pages",
        lambda aged: aged.estimate_pages,
    ),
    Column(
        "working_set_unasked_pages", FLOAT, "pages", "", "of these, the pages that the policy takes for used untested",
        lambda aged: aged.mean_but_first("in_use"),
    ),
    Column(
        "working_set_host_read_pages", FLOAT, "pages", "", "of these, the pages that the migration thread alone has read",
        lambda aged: aged.mean_but_first("host_read"),
    ),
    Column(
        "working_set_pages", FLOAT, "pages", "",
        "pages that the guest accesses in the work it did in those periods, by its rates; null where these do not give it "
        "(traces, sweeps beside other work)",
        lambda aged: aged.working_set_pages,
    ),
    Column(
        "age_histogram_pages", JSON, "pages", "",
        "pages by age at the end: passes since one found the page young; the last entry stands for all older ones",
        lambda aged: aged.histogram.tolist(),
    ),
    Column(
        "age_expected_pages", JSON, "pages", "",
        "the same, computed from the guest's rates; null where not every pass tests every page",
        lambda aged: None if aged.expected is None else aged.expected.tolist(),
    ),
    Column(
        "age_misplaced_share", FLOAT, "share", "", "share of pages whose age differs from the computed one",
        lambda aged: None if aged.expected is None else misplaced_share(aged.histogram, aged.expected),
    ),
)  # fmt: skip
"""Keys of ``ageing[]`` in run.json."""


def ageing_section(machine: Machine) -> list[dict[str, Any]]:
    """``ageing`` of run.json: a row of totals for each daemon, those of the destination last."""
    return [read_row(AGEING, _aged(*each)) for each in _daemons(machine)]


def _daemons(machine: Machine) -> list[tuple[HostOf, int]]:
    """(host, number of the VM) of each ageing daemon."""
    return [(host, number) for host in hosts_of(machine) for number in range(len(host.daemons))]


def ageing_tables(machine: Machine) -> list[Table]:
    """The tables ``ageing_passes`` and ``age_map`` of a run."""
    passes = [row for each in _daemons(machine) for row in _passes(*each)]
    bins = [row for host, number in _daemons(machine) for row in _bins(host.name_of(number), host.daemons[number])]
    return [Table.read("ageing_passes", PASSES, passes), Table.read("age_map", AGE_MAP, bins)]


def _aged(machine: HostOf, number: int) -> Aged:
    daemon = machine.daemons[number]
    aged = Aged(
        vm=machine.name_of(number),
        passes=daemon.passes,
        true_sets=_true_sets(machine, number),
        histogram=age_counts(daemon.ages, len(daemon.passes)),
        expected=_expected(machine, number),
        notifier_calls=sum(one.count for one in machine.notifiers[number].latencies.values()),
        lock=machine.live_vms[number].lock,
        seconds=(machine.env.now_ns - machine.live_vms[number].since_ns) / NS_PER_S,
    )
    check_estimate(aged.estimate_pages or 0.0, machine.live_vms[number].memory.n_pages, "pages of the guest")
    return aged


def _expected(machine: HostOf, number: int) -> Any:
    """float64[ages]: pages by age, computed from the guest's rates; None as in ``Aged.expected``."""
    daemon, rates = machine.daemons[number], _rates(machine, number)
    spans_s = _work_spans_s(daemon.passes, _clocks(machine, number))
    if rates is None or not spans_s or not _asks_for_all(daemon):
        return None
    return expected_counts(rates[daemon.ages >= 0], float(np.mean(spans_s)), len(daemon.passes))


def _asks_for_all(daemon: AgeingDaemon) -> bool:
    """Whether each pass asks for every page: only then an age counts all passes since the page was young."""
    n_pages = len(daemon.ages)
    return all(one.asked == n_pages for one in daemon.passes)


def _passes(machine: HostOf, number: int) -> list[PassOf]:
    each = zip(machine.daemons[number].passes, _true_sets(machine, number), strict=True)
    return [PassOf(machine.name_of(number), i, found, pages) for i, (found, pages) in enumerate(each)]


def _bins(name: str, daemon: AgeingDaemon) -> list[Bin]:
    bins = list(pairwise(daemon.bin_edges.tolist()))
    return [
        Bin(name, i, first_gfn, end_gfn, age, young)
        for i, one in enumerate(daemon.passes)
        for (first_gfn, end_gfn), age, young in zip(bins, one.mean_ages.tolist(), one.young_shares.tolist(), strict=True)
    ]


def _true_sets(machine: HostOf, number: int) -> list[float | None]:
    """w(T) for each pass, T: the work of the guest since the one before."""
    passes, rates = machine.daemons[number].passes, _rates(machine, number)
    spans_s = _work_spans_s(passes, _clocks(machine, number))
    if rates is None:
        return [None, *(swept_pages(_workloads(machine, number), span_s) for span_s in spans_s)][: len(passes)]
    return [None, *(working_set_pages(rates, span_s) for span_s in spans_s)][: len(passes)]


def _work_spans_s(passes: Sequence[AgeingPass], n_clocks: int) -> list[float]:
    """Work between the starts of passes, mean of the work clocks [s]."""
    # Model limit: the true working set of a span takes the mean of all work clocks for the work of each workload.
    work_ns = np.array([one.work_ns for one in passes], np.float64)
    spans_s: list[float] = (np.diff(work_ns) / max(1, n_clocks) / NS_PER_S).tolist()
    return spans_s


def _clocks(machine: HostOf, number: int) -> int:
    return len(machine.live_vms[number].guest.clocks)


def _rates(machine: HostOf, number: int) -> Any:
    return page_rates_per_s(_workloads(machine, number), machine.live_vms[number].memory.n_pages)


def _workloads(machine: HostOf, number: int) -> Sequence[Workload]:
    spec = machine.spec
    return spec.workloads if number == 0 else spec.neighbours[number - 1].workloads
