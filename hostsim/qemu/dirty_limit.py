"""dirty-limit: each vCPU sleeps when its dirty ring is full, so long that it dirties no more than its quota.

10.x system/dirtylimit.c (7.2 softmmu/): ::vcpu_dirty_rate_stat_thread measures each vCPU's rate over a period,
::dirtylimit_set_throttle turns rate and quota into a sleep, ::dirtylimit_vcpu_execute sleeps at each exit for a full ring;
migration/dirtyrate.c::vcpu_calculate_dirtyrate. While dirty-limit is in service a full ring is reaped by itself, and the
reaper thread rests (accel/kvm/kvm-all.c). Only writers are held back: a vCPU that reads fills no ring.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from hostsim.core.clock import Clock
from hostsim.core.constants import NS_PER_MS
from hostsim.qemu.mib_per_s import PAGES_A_MIB, mib_per_s
from hostsim.qemu.parameters import BEHAVIOUR
from hostsim.qemu.version import Version

if TYPE_CHECKING:
    from hostsim.kvm.live_vm import LiveVm
    from hostsim.kvm.trackers.dirty_ring import DirtyRing

Step = Generator[simpy.Event, Any, None]
CALC_TIME_MS = 1000
"""DIRTYLIMIT_CALC_TIME_MS: the period outside a migration."""
TOLERANCE_MIB_PER_S = 25
"""DIRTYLIMIT_TOLERANCE_RANGE."""
LINEAR_ADJUSTMENT_PCT = 50
"""DIRTYLIMIT_LINEAR_ADJUSTMENT_PCT."""
THROTTLE_PCT_MAX = 99
"""DIRTYLIMIT_THROTTLE_PCT_MAX."""
NS_PER_US = 1000


@dataclass(frozen=True)
class LimitChange:
    """An operator's set-vcpu-dirty-limit, or cancel-vcpu-dirty-limit with a quota of 0.

    at_ns: simulated time. quota: MiB/s. vcpus: their numbers, () for all.
    """

    at_ns: int
    quota: int
    vcpus: tuple[int, ...] = ()


@dataclass(frozen=True)
class Adjustment:
    """Rates and sleeps after a period, one a vCPU: MiB/s, and microseconds for each full ring."""

    t_ns: int
    rates: tuple[int, ...]
    throttle_us: tuple[int, ...]


class DirtyLimit:
    """The dirty-limit of one VM.

    quota: int64[n_vcpus], MiB/s, 0: the vCPU is not limited. rates: int64[n_vcpus], of the last period, MiB/s.
    throttle_us: int64[n_vcpus], sleep at each full ring.
    history: an entry a period.
    """

    def __init__(self, env: Clock, vm: LiveVm, ring: DirtyRing, qemu: Version) -> None:
        """``qemu``: decides whether a kick ends a sleep, and how rates are rounded."""
        for vcpu in vm.vcpus:
            vcpu.kick_ends_nap = BEHAVIOUR[qemu].kick_ends_limit_sleep
        self._qemu: Version = qemu
        n_vcpus = len(vm.vcpus)
        self.quota, self.rates, self.throttle_us = (np.zeros(n_vcpus, np.int64) for _ in range(3))
        self.history: list[Adjustment] = []
        self.period_ms = CALC_TIME_MS
        self._env, self._vm, self._ring = env, vm, ring
        self._max_rate = 0
        """The greatest rate ever seen: dirtylimit_dirty_ring_full_time keeps it in a static variable."""
        self._thread_runs = False
        vm.ring_sleep_ns = self._sleep_ns

    @property
    def in_service(self) -> bool:
        """dirtylimit_in_service."""
        return bool(self.quota.any())

    @property
    def throttle_time_per_round_us(self) -> int:
        """``dirty-limit-throttle-time-per-round`` of query-migrate: the longest sleep of a vCPU at a full ring."""
        return int(self.throttle_us.max())

    @property
    def ring_full_time_us(self) -> int:
        """``dirty-limit-ring-full-time``: estimated time in which a vCPU fills its ring, 0 if the guest dirties nothing."""
        mean = int(self.rates.sum()) // len(self.rates)
        return self._ring_full_us(mean) if mean else 0

    def set(self, quota: int, vcpus: Sequence[int] = ()) -> None:
        """qmp_set_vcpu_dirty_limit: the quota [MiB/s] of ``vcpus`` (all without any); 0 lifts it."""
        self.quota[list(vcpus) or slice(None)] = quota
        self._ring.limited = self.in_service
        if self.in_service and not self._thread_runs:
            self._thread_runs = True
            self._env.process(self._stat_thread())

    def schedule(self, changes: Sequence[LimitChange]) -> None:
        """Let an operator act at the times of ``changes``."""
        for change in changes:
            self._env.process(self._change(change))

    def _change(self, change: LimitChange) -> Step:
        yield self._env.timeout(max(0, change.at_ns - self._env.now_ns))
        self.set(change.quota, change.vcpus)

    def _sleep_ns(self, vcpu: int) -> int:
        return int(self.throttle_us[vcpu]) * NS_PER_US if self.quota[vcpu] else 0

    def _stat_thread(self) -> Step:
        yield from self._ring.start_log()
        while self.in_service:
            before, started_ns = self._ring.dirtied.copy(), self._env.now_ns
            yield self._env.timeout(self.period_ms * NS_PER_MS)
            waited_ms = (self._env.now_ns - started_ns) // NS_PER_MS
            yield from self._ring.flush_rings()
            self.rates[:] = [mib_per_s(n, waited_ms, self._qemu) for n in (self._ring.dirtied - before).tolist()]
            self._adjust()
        yield from self._ring.stop_log()
        self._thread_runs = False
        self.throttle_us[:] = 0

    def _adjust(self) -> None:
        for vcpu, (quota, current) in enumerate(zip(self.quota.tolist(), self.rates.tolist(), strict=True)):
            if quota and abs(quota - current) > TOLERANCE_MIB_PER_S:
                self.throttle_us[vcpu] = self._throttle(int(self.throttle_us[vcpu]), quota, current)
        self.history.append(
            Adjustment(self._env.now_ns, tuple(self.rates.tolist()), tuple(self.throttle_us.tolist()))
        )

    def _throttle(self, throttle_us: int, quota: int, current: int) -> int:
        """dirtylimit_set_throttle: the new sleep; far from the quota by the ratio, near it by a tenth of the fill time."""
        if current == 0:
            return 0
        full_us = self._ring_full_us(current)
        high, sign = max(quota, current), 1 if quota < current else -1
        percent = abs(quota - current) * 100 // high
        step_us = int(full_us * percent / (100 - percent)) if percent > LINEAR_ADJUSTMENT_PCT else full_us // 10
        return max(0, min(throttle_us + sign * step_us, full_us * THROTTLE_PCT_MAX))

    def _ring_full_us(self, rate: int) -> int:
        """dirtylimit_dirty_ring_full_time: time to fill a ring at the greatest rate seen."""
        self._max_rate = max(self._max_rate, rate)
        ring_mib = self._vm.engine.config.ring_entries // PAGES_A_MIB
        return ring_mib * 1_000_000 // self._max_rate
