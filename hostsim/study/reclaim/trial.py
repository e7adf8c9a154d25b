"""A trial of ``hostsim reclaim``: a run of the VM with proactive reclaim, a run without, and their difference."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import fmean

from hostsim.core.clock import Clock
from hostsim.core.constants import NS_PER_S, PAGE_BYTES
from hostsim.core.knobs import Knobs
from hostsim.core.latency import Latencies
from hostsim.core.memory import lay_out, make_memory
from hostsim.costs.host_sheet import load_sheet
from hostsim.guest.workload import build_guest
from hostsim.kvm.build import live_vm
from hostsim.kvm.notifier_plan import notifier_of
from hostsim.machine.trackers import TRACKERS
from hostsim.memory.fault_waits import MIGRATION
from hostsim.memory.host_memory import HostMemory
from hostsim.memory.policies.registry import policy_of
from hostsim.memory.proactive import ProactiveReclaim, ScanDone
from hostsim.memory.spec import HostMemorySpec
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import MigrationParameters
from hostsim.qemu.thread import Migration
from hostsim.study.how_far import WITH_IT_PER_MILLE, HowFar, ignore
from hostsim.study.reclaim.case import ReclaimCase

INTERFACE = "clear-dirty-log"
SPARE_PAGES = 4096
"""Frames beyond the VM's, so that the host never reclaims because memory is short."""
LATENCIES = ("stall", "pass")
OF_MIGRATIONS = (
    "migration_ns", "migration_bytes", "plain_migration_ns", "plain_migration_bytes", "read_back_pages",
    "dirtied_by_swap_in_pages",
)  # fmt: skip


@dataclass(frozen=True)
class ReclaimTrial:
    """Results of a trial.

    figures: by name, OF_MIGRATIONS only with a migration; latencies: by LATENCIES.
    completed: whether the migration completed, None without one.
    """

    figures: dict[str, float]
    latencies: dict[str, Latencies]
    completed: bool | None


def reclaim_trial(case: ReclaimCase, seed: int, how_far: HowFar = ignore) -> ReclaimTrial:
    """Run ``case`` with ``seed``. InvariantError if a frame, a page or a write is lost.

    how_far: called with the finished thousandths of the trial.
    """
    with_it, without = _Run(case, seed, reclaims=True), _Run(case, seed, reclaims=False)
    with_it.run()
    how_far(WITH_IT_PER_MILLE)
    without.run()
    passes = Latencies()
    for scan in with_it.measured_scans:
        passes.record(scan.took_ns)
    figures = {**_figures(case, with_it, without, passes), **_of_migration(case, with_it, without)}
    return ReclaimTrial(figures, {"stall": with_it.vm.page_waits.latencies, "pass": passes}, with_it.completed)


class _Run:
    """A VM on a host with enough memory, with proactive reclaim or without."""

    def __init__(self, case: ReclaimCase, seed: int, *, reclaims: bool) -> None:
        env, n_pages = Clock(), case.n_pages
        memory = make_memory(lay_out([("pc.ram", n_pages, [(0, n_pages)])]))
        self.case = case
        self.vm = live_vm(env, memory, build_guest([case.workload()], seed), case.n_vcpus, 0, case.mmu, INTERFACE)
        spec = HostMemorySpec(n_pages + n_pages // 4 + SPARE_PAGES, case.swap, async_pf=case.async_pf)
        self.host = HostMemory(env, spec, seed)
        by = policy_of(case.policy, case.mmu.era, "reclaim").pages_out
        assert by is not None, "policy_of refuses what does not page out"
        policy = by.make(n_pages, seed, case.age_scans) if reclaims else None
        self.pages = self.host.add(self.vm, notifier_of(self.vm, case.mmu), policy=policy)
        self.reclaim: ProactiveReclaim | None = None
        if policy is not None:
            period_ns = by.period_ns(case.age_ns, case.scan_ns)
            self.reclaim = ProactiveReclaim(self.host, self.pages, policy, period_ns, flushes=by.flushes)
        self.host.begin()
        self.migration = self._migration() if case.migrates else None
        self.start_work_ns = self.start_ns = 0
        self.start_counts = Counter[str]()
        self.resident: list[int] = []

    def _migration(self) -> Migration:
        case, env = self.case, self.vm.env
        tracker = TRACKERS[INTERFACE](self.vm, Knobs(), 0)
        parameters = MigrationParameters(
            max_bandwidth=0, start_ns=case.warm_up_ns, timeout_ns=case.timeout_ns
        )
        return Migration(env, self.vm, tracker, parameters, LinkSpec(case.bandwidth), load_sheet("generic"), Knobs())

    def run(self) -> None:
        """Run the warm-up, then the window that is measured."""
        case, env = self.case, self.vm.env
        env.run(until=case.warm_up_ns)
        self.vm.page_waits.count_anew()
        self.start_counts, self.start_work_ns, self.start_ns = Counter(self.pages.counts), self.vm.work_ns(), env.now_ns
        env.run(until=self.migration.done if self.migration else env.now_ns + case.measure_ns)
        self.vm.engine.mmu.check_counts()
        self.host.check()

    @property
    def window_ns(self) -> int:
        """Length of the window that is measured."""
        return self.vm.env.now_ns - self.start_ns

    @property
    def work_share(self) -> float:
        """Work done in the window, over the work that the vCPUs could have done; a migration's stop is left out."""
        end_ns = self.migration.state.downtime_start_ns if self.completed and self.migration else self.vm.env.now_ns
        return (self.vm.work_ns() - self.start_work_ns) / ((end_ns - self.start_ns) * self.case.n_vcpus)

    @property
    def measured_scans(self) -> list[ScanDone]:
        """Scans that began in it."""
        assert self.reclaim is not None
        return [scan for scan in self.reclaim.scans if scan.start_ns >= self.start_ns]

    @property
    def completed(self) -> bool | None:
        """Whether the migration completed; None without one."""
        return None if self.migration is None else self.migration.state.status == "completed"


def _figures(case: ReclaimCase, run: _Run, plain: _Run, passes: Latencies) -> dict[str, float]:
    stalls = run.vm.page_waits.latencies
    resident = [scan.resident for scan in run.measured_scans] or [run.pages.charged]
    return {
        "cold_bytes": case.cold_pages() * PAGE_BYTES,
        "reclaimed_bytes": max(0.0, (case.n_pages - fmean(resident)) * PAGE_BYTES),
        "refaults_per_s": stalls.count * NS_PER_S / run.window_ns,
        "stall_p50_ns": float(stalls.percentile_ns(50.0)),
        "stall_p90_ns": float(stalls.percentile_ns(90.0)),
        "stall_p99_ns": float(stalls.percentile_ns(99.0)),
        "stall_p99.9_ns": float(stalls.percentile_ns(99.9)),
        "slowdown_percent": 100.0 * (plain.work_share / run.work_share - 1.0),
        "pass_mean_ns": passes.mean_ns,
        "pass_max_ns": float(passes.max_ns),
        "swapped_out_per_s": (run.pages.counts["swapped_out"] - run.start_counts["swapped_out"]) * NS_PER_S / run.window_ns,
    }


def _of_migration(case: ReclaimCase, run: _Run, plain: _Run) -> dict[str, float]:
    """Swap-in maps writable, so on a logged slot each fault that waited for the host dirtied its page."""
    if not case.migrates:
        return {}
    assert run.migration is not None
    assert plain.migration is not None
    return {
        "migration_ns": float(run.window_ns),
        "migration_bytes": float(run.migration.transferred_bytes),
        "plain_migration_ns": float(plain.window_ns),
        "plain_migration_bytes": float(plain.migration.transferred_bytes),
        "read_back_pages": float(run.pages.waits[MIGRATION].fetched),
        "dirtied_by_swap_in_pages": float(run.vm.page_waits.latencies.count),
    }
