"""A host with its VMs and at most one outgoing migration at a time, built from a scenario; an operator may try again.

KVM and the host's memory are loaded by the machines that have them: a guest under TCG has neither.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.clock import Clock
from hostsim.core.constants import PAGE_BYTES
from hostsim.core.knobs import Knobs
from hostsim.core.memory import make_memory
from hostsim.guest.pacing import work_at
from hostsim.guest.vm import Vm, VmBase
from hostsim.guest.workload import build_guest
from hostsim.machine.plugged import start
from hostsim.machine.spec import MachineSpec, NeighbourSpec
from hostsim.machine.trackers import TRACKERS
from hostsim.qemu import thread
from hostsim.qemu.calc_dirty_rate import DirtyRateThread
from hostsim.qemu.checkpoints import Checkpoints, begin
from hostsim.qemu.mechanism import acting_on
from hostsim.qemu.migration import Migration, Step
from hostsim.qemu.parameters import MigrationParameters

if TYPE_CHECKING:
    from hostsim.kvm.live_vm import LiveVm
    from hostsim.kvm.mmu_notifier import MmuNotifier
    from hostsim.machine.destination import DestinationHost
    from hostsim.machine.monitor import Monitor
    from hostsim.machine.recording import Recording
    from hostsim.memory.ageing_daemon import AgeingDaemon
    from hostsim.memory.host_memory import HostMemory, OutOfMemory
    from hostsim.memory.proactive import MeasuredWindow, ProactiveReclaim


class Attempts:
    """Migrations of one VM, one after the other; each starts with an empty destination and a bitmap of all ones.

    every: the attempts so far, the last of which may still wait for its start.
    done: fires at the end of the last attempt.
    """

    def __init__(
        self, env: Clock, parameters: MigrationParameters, make: Callable[[MigrationParameters], Migration]
    ) -> None:
        """``make``: returns a migration that is ready to start."""
        self._env, self._parameters, self._make = env, parameters, make
        self.every: list[Migration] = []
        self._begin(parameters)
        self.done: simpy.Event = env.process(self._more()) if parameters.retries else self.every[0].done

    @property
    def begun(self) -> list[Migration]:
        """The attempts that have started; the first one counts from the begin of the run."""
        return [self.every[0], *(migration for migration in self.every[1:] if migration.state.start_ns)]

    def _begin(self, parameters: MigrationParameters) -> None:
        self.every.append(self._make(parameters))
        thread.start(self.every[-1])

    def _more(self) -> Step:
        p = self._parameters
        again = replace(p, start_ns=p.retry_after_ns)
        yield self.every[-1].done
        while self.every[-1].state.status != "completed" and len(self.every) <= p.retries:
            before = self.every[-1]
            before.recorder.last_tally = before.vm.tally()
            self._begin(again)
            yield self.every[-1].done


Progress = Callable[[int, dict[str, Any]], None]
PROGRESS_PERIOD_NS = 100_000_000


class Machine:
    """A machine ready to run: ``run()`` once, then read the rest.

    vm: the VM that a migration moves.
    live_vms: all VMs under KVM, ``vm`` first.
    notifiers: one a VM of ``live_vms`` if reclaim or ageing uses them, else empty.
    memory: host memory that can run short; None: all pages are resident.
    reclaim: pages of ``vm`` out by the clock; None without a ReclaimSpec or with a policy that keeps all pages.
    window: the time that a study of reclaim measures; None without a ReclaimSpec.
    daemons: one ageing daemon a VM, or empty.
    checkpoints: of the VM that is migrated; None: the destination runs the VM after the switchover.
    dirty_rates: measurements of the guest's dirty rate; None without any.
    acting: actors on ``vm``, by the name of their mechanism, with a migration or without.
    there: the destination's host from the switch to post-copy on; None before, and without a HostMemorySpec of it.
    attempts: migrations of ``vm``, the first one and the retries; None without [migration].
    monitor: None without host memory, ageing and neighbours.
    plugged: name and host of each daemon of a plug-in.
    work_done_ns: the time at which the workloads of the VM had done their windows of work; None unless the run waits for it.
    """

    def __init__(
        self, spec: MachineSpec, knobs: Knobs | None = None, log_capacity: int = 0, recording: Recording | None = None
    ) -> None:
        """``log_capacity``: entries of each log for tests (page sends, first writes of a sync, exits), 0: none.

        recording: takes slices of the run for a timeline; None: none are kept.

        InputError if KVM of ``spec.mmu`` does not offer ``spec.dirty_tracking``.
        """
        knobs = knobs or Knobs()
        self.spec = spec
        self.env, self._recording = Clock(recording), recording
        self.vm = self._vm(log_capacity)
        self.live_vms = [*self._first(), *(self._neighbour(i, other) for i, other in enumerate(spec.neighbours))]
        if recording is not None:
            n_vcpus = spec.n_vcpus + sum(other.n_vcpus for other in spec.neighbours)
            recording.watch(self.env, self.live_vms, n_vcpus)
        self.tracker = TRACKERS[spec.dirty_tracking](self.vm, knobs, log_capacity)
        self.acting = acting_on(self)
        self.dirty_rates = self._dirty_rates()
        self.notifiers = self._notifiers()
        self.reclaim: ProactiveReclaim | None = None
        self.window: MeasuredWindow | None = None
        self.memory = self._memory()
        self.daemons = self._daemons()
        self.monitor = self._monitor()
        self.checkpoints: Checkpoints | None = None
        self.there: DestinationHost | None = None
        self._exhausted_there: simpy.Event = self.env.event()
        self.attempts = self._attempts(knobs, log_capacity)
        self.work_done_ns: int | None = None
        self.plugged = start(self)

    def run(self, progress: Progress | None = None) -> None:
        """Run until all goals are reached, memory has run out, or the duration is over. InvariantError.

        Goals are the end of the migration, the end of the work, and the passes over the first VM, as far as the spec has
        them.
        """
        end = self.env.timeout(self.spec.duration_ns)
        if progress is not None:
            self.env.process(self._report(progress))
        goals = list(self._goals())
        others = goals if len(goals) < 2 else [self.env.all_of(goals)]
        others += [self.memory.exhausted] if self.memory is not None else []
        others += [self._exhausted_there] if self.spec.destination_memory is not None and others else []
        self.env.run(until=self.env.any_of([end, *others]) if others else end)
        for host in (self, self.there):
            if host is not None and host.monitor is not None:
                host.monitor.look()

    def _goals(self) -> Iterator[simpy.Event]:
        if self.attempts is not None:
            yield self.attempts.done
        if self.spec.until_work:
            yield self.env.process(self._work())
        if self.spec.ageing is not None and self.spec.ageing.passes:
            yield self.daemons[0].over

    @property
    def work_clocks(self) -> NDArray[np.int64]:
        """int64[n_clocks, N_FIELDS]: work clocks of the VM where it runs: at the destination after a switch to post-copy."""
        there = None if self.migration is None else self.migration.destination
        return self.vm.guest.clocks if there is None else there.clocks

    def _work(self) -> Generator[simpy.Event, Any, None]:
        """Wait until all windows of work are done, those of the host's clock over. Work is never ahead of time."""
        guest = self.vm.guest
        for clock, number in enumerate(guest.clock_workload.tolist()):
            active = self.spec.workloads[number].active
            end_ns = 0 if active is None else active.start_ns + active.length_ns
            if active is not None and active.is_of_host:
                yield self.env.timeout(max(0, end_ns - self.env.now_ns))
                # Work that arrived in the window may be left; what a closed loop did not do in it is not done.
                end_ns = active.length_ns if self.spec.workloads[number].pacing.open_loop else 0
            while (left_ns := end_ns - int(work_at(self.work_clocks[clock], self.env.now_ns))) > 0:
                yield self.env.timeout(left_ns)
        self.work_done_ns = self.env.now_ns

    def _vm(self, log_capacity: int) -> VmBase:
        spec, memory = self.spec, make_memory(self.spec.blocks)
        guest, stop_ns = build_guest(spec.workloads, spec.seed), spec.sheet.vm_stop_ns
        if spec.dirty_tracking == "tcg":
            return Vm(self.env, memory, guest, spec.n_vcpus, stop_ns)
        from hostsim.kvm.build import live_vm
        from hostsim.machine.recording import exits_kept

        kept = log_capacity or exits_kept(self._recording, spec.mmu.index, spec.n_vcpus)
        return live_vm(self.env, memory, guest, spec.n_vcpus, stop_ns, spec.mmu, spec.dirty_tracking, kept)

    def _first(self) -> list[LiveVm]:
        if self.spec.dirty_tracking == "tcg":
            return []
        from hostsim.kvm.live_vm import LiveVm

        assert isinstance(self.vm, LiveVm), "made by _vm"
        return [self.vm]

    def _neighbour(self, number: int, spec: NeighbourSpec) -> LiveVm:
        from hostsim.kvm.build import live_vm
        from hostsim.machine.recording import exits_kept

        memory, guest = make_memory(spec.blocks), build_guest(spec.workloads, spec.seed)
        stop_ns = self.spec.sheet.vm_stop_ns
        kept = exits_kept(self._recording, spec.mmu.index, spec.n_vcpus)
        vm = live_vm(self.env, memory, guest, spec.n_vcpus, stop_ns, spec.mmu, spec.dirty_tracking, kept)
        vm.call(f"neighbour[{number}]")
        return vm

    def _dirty_rates(self) -> DirtyRateThread | None:
        spec = self.spec
        if not spec.dirty_rates:
            return None
        qemu, late_ns = (spec.migration or MigrationParameters()).qemu, spec.sheet.sleep_overshoot_ns
        thread = DirtyRateThread(self.env, self.vm, self.tracker, qemu, late_ns, spec.seed)
        thread.schedule(spec.dirty_rates)
        return thread

    def _notifiers(self) -> list[MmuNotifier]:
        spec = self.spec
        if spec.memory is None and spec.ageing is None and not spec.plugged:
            return []
        from hostsim.kvm.notifier_plan import notifier_of

        mmus = [spec.mmu, *(neighbour.mmu for neighbour in spec.neighbours)]
        lock = "era" if spec.ageing is None else spec.ageing.mmu_lock
        return [notifier_of(vm, mmu, lock) for vm, mmu in zip(self.live_vms, mmus, strict=False)]

    def _memory(self) -> HostMemory | None:
        spec = self.spec
        if spec.memory is None:
            return None
        from hostsim.memory.host_memory import HostMemory
        from hostsim.memory.proactive import MeasuredWindow, cold_policy, reclaim_of

        memory = HostMemory(self.env, spec.memory, spec.seed)
        limits = [spec.limit_pages, *(neighbour.limit_pages for neighbour in spec.neighbours)]
        taken_by = cold_policy(spec.memory.reclaim, spec.mmu.era, self.vm.memory.n_pages, spec.seed)
        policies = [taken_by, *[None] * len(spec.neighbours)]
        each = zip(self.live_vms, self.notifiers, limits, self._eras, policies, strict=True)
        for vm, notifier, limit, era, policy in each:
            memory.add(vm, notifier, limit, era, policy)
        if spec.memory.reclaim is not None:
            self.reclaim = reclaim_of(memory, memory.vms[0], taken_by, spec.memory.reclaim, spec.mmu.era)
            self.window = MeasuredWindow(memory.vms[0], spec.memory.reclaim.warm_up_ns)
        memory.begin()
        return memory

    def _daemons(self) -> list[AgeingDaemon]:
        spec = self.spec.ageing
        if spec is None:
            return []
        from hostsim.memory.ageing_daemon import daemon_of

        pages = [None] * len(self.live_vms) if self.memory is None else self.memory.vms
        each = zip(self.live_vms, self.notifiers, self._eras, pages, strict=True)
        return [daemon_of(vm, notifier, spec, era, place, self.spec.seed) for vm, notifier, era, place in each]

    @property
    def _eras(self) -> list[str]:
        """Era of the kernel under each VM."""
        return [self.spec.mmu.era, *(neighbour.mmu.era for neighbour in self.spec.neighbours)]

    def _monitor(self) -> Monitor | None:
        spec = self.spec
        if spec.memory is None and spec.ageing is None and not spec.neighbours:
            return None
        from hostsim.machine.monitor import Monitor

        return Monitor(self.env, self.live_vms, self.memory)

    @property
    def out_of_memory(self) -> OutOfMemory | None:
        """The moment at which memory ran out and the VM that the kernel would kill; None if memory did not run out."""
        found = [host.memory.out_of_memory for host in (self, self.there) if host is not None and host.memory is not None]
        return next((one for one in found if one is not None), None)

    def name_of(self, number: int) -> str:
        """Name of VM ``number`` in results: its key in the scenario."""
        return "vm" if number == 0 else f"neighbour[{number - 1}]"

    def _run_out(self, _: simpy.Event) -> None:
        self._exhausted_there.succeed()

    def _move(self, missing: NDArray[np.uint8]) -> DestinationHost:
        """The destination's host at the switch to post-copy, now; missing: uint8[n_pages]."""
        from hostsim.machine.destination import DestinationHost

        self.there = DestinationHost(self.env, self.spec, self.vm, missing)
        self.there.memory.exhausted.callbacks.append(self._run_out)
        return self.there

    @property
    def migration(self) -> Migration | None:
        """The last attempt to migrate ``vm`` that has started."""
        return None if self.attempts is None else self.attempts.begun[-1]

    def _attempts(self, knobs: Knobs, log_capacity: int) -> Attempts | None:
        spec = self.spec

        def ready(parameters: MigrationParameters) -> Migration:
            migration = Migration(
                self.env, self.vm, self.tracker, parameters, spec.link, spec.sheet, knobs, log_capacity, spec.content,
                spec.inputs, spec.seed,
            )
            if self.monitor is not None:
                migration.recorder.on_cut = self.monitor.cut
            migration.acting = self.acting
            migration.move = None if spec.destination_memory is None else self._move
            if spec.checkpoints is not None:
                self.checkpoints = begin(migration, spec.checkpoints, spec.seed)
            return migration

        return None if spec.migration is None else Attempts(self.env, spec.migration, ready)

    def _report(self, progress: Progress) -> Generator[simpy.Event, Any, None]:
        while True:
            progress(self.env.now_ns, self.info())
            yield self.env.timeout(PROGRESS_PERIOD_NS)

    def info(self) -> dict[str, Any]:
        """Figures of the migration as it stands, as query-migrate has them."""
        if self.migration is None:
            return {"status": "running"}
        now = self.migration.counters()
        rate = self.migration.state.bandwidth_bytes_per_ms * 1000
        return {
            "status": now.status, "round": now.dirty_sync_count, "remaining_bytes": now.remaining,
            "total_bytes": now.total, "dirty_bytes_per_s": now.dirty_pages_rate * PAGE_BYTES, "bandwidth_bytes_per_s": rate,
            "threshold_bytes": self.migration.state.threshold_bytes, "throttle_percent": now.cpu_throttle_percentage,
        }  # fmt: skip
