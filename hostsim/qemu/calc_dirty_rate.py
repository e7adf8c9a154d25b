"""calc-dirty-rate: a thread beside the guest that estimates how much memory the guest dirties a second.

QEMU 10.0 migration/dirtyrate.c (7.2 alike): ::calculate_dirtyrate_sample_vm hashes pages drawn at random twice,
::calculate_dirtyrate_dirty_bitmap counts the pages of KVM's log, ::calculate_dirtyrate_dirty_ring the entries of its rings.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.clock import Clock
from hostsim.core.constants import NS_PER_MS, PAGE_BYTES
from hostsim.core.dirty_tracker import DirtyTracker
from hostsim.core.rng import stream_key
from hostsim.guest.vm import VmBase
from hostsim.guest.written import Works, class_works, written_pages
from hostsim.qemu.mib_per_s import PAGES_A_MIB, mib_per_s
from hostsim.qemu.version import Version

Step = Generator[simpy.Event, Any, None]
Mode = Literal["page-sampling", "dirty-bitmap", "dirty-ring"]
"""qapi/migration.json::DirtyRateMeasureMode."""
MIN_RAMBLOCK_BYTES = 128 << 10
"""::skip_sample_ramblock: MIN_RAMBLOCK_SIZE << 10. The comment there says megabytes, the code compares with KiB."""
PAGES_A_GIB = (1 << 30) // PAGE_BYTES


@dataclass(frozen=True)
class CalcDirtyRate:
    """One command. at_ns: simulated time; calc_time_ms: period; sample_pages: pages drawn for each GiB (page-sampling)."""

    at_ns: int
    mode: Mode
    calc_time_ms: int
    sample_pages: int


@dataclass(frozen=True)
class DirtyRate:
    """One answer to query-dirty-rate, and the truth beside it.

    calc_time_ms: actual period.
    dirty_rate: MiB/s; vcpu_dirty_rates: of each vCPU, empty without rings.
    written_pages: distinct pages that the guest wrote within the period.
    lost_ns: time that all vCPUs together lost to exits within the period.
    """

    command: CalcDirtyRate
    start_ns: int
    calc_time_ms: int
    dirty_rate: int
    vcpu_dirty_rates: tuple[int, ...]
    written_pages: int
    lost_ns: int


class DirtyRateThread:
    """The commands of one VM; ``answers`` gets an entry when a measurement is over."""

    # Model limit: hashing takes no time; a page of 4 KiB takes QEMU about a microsecond, so 1,000 samples a millisecond.
    # Model limit: page-sampling draws by itself which pages a random workload wrote in the period. They follow the
    # law of the workload, but they are not the pages of a dirty log that runs at the same time.

    def __init__(
        self, env: Clock, vm: VmBase, tracker: DirtyTracker, qemu: Version, late_ns: int, seed: int
    ) -> None:
        """late_ns: lateness of the thread's sleep; seed: of the run."""
        self.answers: list[DirtyRate] = []
        self._env, self._vm, self._tracker, self._qemu = env, vm, tracker, qemu
        self._late_ns, self._seed = late_ns, seed

    def schedule(self, commands: Sequence[CalcDirtyRate]) -> None:
        """Measure at the times of ``commands``, which do not overlap."""
        modes = {"page-sampling": self._sample, "dirty-bitmap": self._bitmap, "dirty-ring": self._ring}
        for command in commands:
            self._env.process(self._later(command, modes[command.mode](command)))

    def _later(self, command: CalcDirtyRate, measure: Step) -> Step:
        yield self._env.timeout(max(0, command.at_ns - self._env.now_ns))
        yield from measure

    # -- page-sampling

    def _sample(self, command: CalcDirtyRate) -> Step:
        began = self._begin()
        draws = np.random.Generator(np.random.Philox(key=stream_key(self._seed, f"calc-dirty-rate/{command.at_ns}")))
        samples, mib = self._drawn(command.sample_pages, draws)
        waited_ms = yield from self._wait(command)
        written = written_pages(self._vm.guest, self._vm.memory.n_pages, began.works, self._works(), draws)
        # update_dirtyrate: unsigned integers, the division last.
        rate = int(written[samples].sum()) * mib * 1000 // (len(samples) * waited_ms) if len(samples) else 0
        self._answer(command, began, waited_ms, rate, (), int(written.sum()))

    def _drawn(self, per_gib: int, draws: np.random.Generator) -> tuple[NDArray[np.int64], int]:
        """Sampled gfns, and MiB of the sampled RAMBlocks; a page may be drawn twice (::save_ramblock_hash)."""
        gfns, mib = [np.zeros(0, np.int64)], 0
        for block in self._vm.memory.blocks:
            if block.n_pages * PAGE_BYTES < MIN_RAMBLOCK_BYTES:
                continue
            # g_rand_int_range excludes its end, so the last page of a block is never drawn.
            count = block.n_pages * per_gib // PAGES_A_GIB
            gfns.append(block.first_gfn + draws.integers(0, block.n_pages - 1, count))
            mib += block.n_pages // PAGES_A_MIB
        return np.concatenate(gfns), mib

    # -- the log of KVM

    def _bitmap(self, command: CalcDirtyRate) -> Step:
        from hostsim.kvm.trackers.clear_dirty_log import ClearDirtyLog

        yield from self._tracker.start_log()
        # With an initially-all-set log the first sync finds all pages, so that QEMU always leaves it out.
        yield from self._tracker.sync(self._scratch())
        if isinstance(self._tracker, ClearDirtyLog):
            yield from self._tracker.clear(0, self._vm.memory.n_pages)
        began = self._begin()
        waited_ms = yield from self._wait(command)
        found = yield from self._tracker.sync(self._scratch())
        yield from self._tracker.stop_log()
        rate = mib_per_s(found.dirtied_pages, waited_ms, self._qemu)
        self._answer(command, began, waited_ms, rate, (), found.dirtied_pages)

    def _ring(self, command: CalcDirtyRate) -> Step:
        from hostsim.kvm.trackers.dirty_ring import DirtyRing

        assert isinstance(self._tracker, DirtyRing), "a checked scenario has dirty rings"
        yield from self._tracker.start_log()
        began, before, bits = self._begin(), self._tracker.dirtied.copy(), self._scratch()
        waited_ms = yield from self._wait(command)
        yield from self._tracker.sync(bits)
        yield from self._tracker.stop_log()
        rates = tuple(mib_per_s(pages, waited_ms, self._qemu) for pages in (self._tracker.dirtied - before).tolist())
        self._answer(command, began, waited_ms, sum(rates), rates, int(np.count_nonzero(bits)))

    def _scratch(self) -> NDArray[np.uint8]:
        return np.zeros(self._vm.memory.n_pages, np.uint8)

    # -- all modes

    def _works(self) -> Works:
        return class_works(self._vm.guest, self._env.now_ns)

    def _begin(self) -> _Began:
        return _Began(self._env.now_ns, self._works(), self._stalled_ns())

    def _stalled_ns(self) -> int:
        tally = self._vm.tally()
        return 0 if tally is None else int(tally.stall_ns)

    def _wait(self, command: CalcDirtyRate) -> Generator[simpy.Event, Any, int]:
        """Sleep for the period; return the whole milliseconds that passed (::dirty_stat_wait)."""
        began_ms = self._env.now_ns // NS_PER_MS
        yield self._env.timeout(command.calc_time_ms * NS_PER_MS + self._late_ns)
        return self._env.now_ns // NS_PER_MS - began_ms

    def _answer(
        self, command: CalcDirtyRate, began: _Began, waited_ms: int, rate: int, rates: tuple[int, ...], written: int
    ) -> None:
        lost_ns = self._stalled_ns() - began.stalled_ns
        self.answers.append(DirtyRate(command, began.ns, waited_ms, rate, rates, written, lost_ns))


@dataclass(frozen=True)
class _Began:
    """Start of a period: time, work of the touch classes, time that the vCPUs had lost to exits."""

    ns: int
    works: Works
    stalled_ns: int
