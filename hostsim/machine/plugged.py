"""Daemons of plug-ins: processes of the host that read counters, age pages, set parameters and throttle the guest.

All they can do goes by way of ``Host``. It offers the calls of QEMU's monitor and of the mmu notifier, so no write is lost.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy
from numpy.typing import ArrayLike, NDArray

from hostsim.core.constants import NS_PER_MS
from hostsim.core.rng import stream_key
from hostsim.core.units import parse_duration, parse_speed
from hostsim.kvm.mmu_notifier import CLEAR_FLUSH_YOUNG, CLEAR_YOUNG, TEST_YOUNG
from hostsim.machine.spec import DaemonSpec
from hostsim.plugins.registry import Plugin
from hostsim.qemu.cpu_throttle import CpuThrottle

if TYPE_CHECKING:
    # Circle of types: the machine starts daemons, and a daemon's view is of that machine.
    from hostsim.machine.machine import Machine

Process = Generator[simpy.Event, Any, None]
Young = Generator[simpy.Event, Any, NDArray[np.bool_]]
THROTTLE_MAX = 99


class Host:
    """The host as a daemon of a plug-in sees it.

    options: the table ``options`` of its [[daemon]].
    draws: a generator that begins the same way in every run of one seed.
    """

    def __init__(self, machine: Machine, spec: DaemonSpec, number: int) -> None:
        self.options = spec.options
        self.draws = np.random.default_rng(stream_key(machine.spec.seed, f"daemon[{number}]/{spec.plugin.name}"))
        self.noted: dict[str, int | float] = {}
        self._machine, self._plugin = machine, spec.plugin
        self._throttle: CpuThrottle | None = None

    @property
    def now_ns(self) -> int:
        """Simulated time since the start of the run [ns]."""
        return self._machine.env.now_ns

    @property
    def n_pages(self) -> int:
        """Pages of the first VM, all RAMBlocks together."""
        return int(self._machine.vm.memory.n_pages)

    @property
    def n_vcpus(self) -> int:
        """VCPUs of the first VM."""
        return len(self._machine.vm.vcpus)

    def sleep(self, duration: int | str) -> simpy.Event:
        """``yield host.sleep("1s")``: an event after ``duration``, in ns or as a scenario writes it; at least 1 ns."""
        ns = int(duration) if isinstance(duration, int | np.integer) else parse_duration(duration)
        if ns < 1:
            raise self._plugin.refuse(f"a sleep of {ns} ns", "at least 1 ns, or time never passes")
        return self._machine.env.timeout(ns)

    def counters(self) -> dict[str, Any]:
        """work_ns: sum of the vCPUs' work; of a migration, figures of query-migrate: status, round, remaining_bytes, ...."""
        return {"work_ns": self._machine.vm.work_ns(), **self._machine.info()}

    def test_young(self, pages: ArrayLike) -> Young:
        """``young = yield from host.test_young(pages)``: bool[k], whether each was accessed since it was made old."""
        return (yield from self._ask(TEST_YOUNG, pages))

    def age(self, pages: ArrayLike, *, flush: bool = False) -> Young:
        """``test_young``, and make the pages old, a call of the notifier each; flush: by clear_flush_young, as reclaim."""
        return (yield from self._ask(CLEAR_FLUSH_YOUNG if flush else CLEAR_YOUNG, pages))

    def set_migration(self, *, bandwidth: str | int | None = None, downtime_limit: str | int | None = None) -> bool:
        """migrate-set-parameters now; False without a migration under way, or without a value.

        bandwidth: max-bandwidth, downtime_limit: downtime-limit, both as in [migration]; None: unchanged.
        """
        migration = self._machine.migration
        values: dict[str, int] = {}
        if bandwidth is not None:
            values["max_bandwidth"] = parse_speed(bandwidth)
        if downtime_limit is not None:
            values["downtime_limit_ms"] = parse_duration(downtime_limit) // NS_PER_MS
        if migration is None or not migration.running or not values:
            return False
        migration.parameters = replace(migration.parameters, **values)  # type: ignore[arg-type]
        for name, value in values.items():
            migration.recorder.mark(self.now_ns, f"migrate_set_parameter {name}", value)
        return True

    def throttle(self, percent: int) -> None:
        """cpu-throttle: the vCPUs sleep ``percent`` of their time from now on; 0: no more."""
        if not isinstance(percent, int | np.integer) or not 0 <= percent <= THROTTLE_MAX:
            raise self._plugin.refuse(f"a throttle of {percent!r}", f"a whole number from 0 to {THROTTLE_MAX}")
        throttle = self._own_throttle()
        throttle.set(int(percent)) if percent else throttle.stop()

    def note(self, **figures: float) -> None:
        """Keep the last value of each figure: run.json and comparisons have it as ``daemon.NAME.FIGURE``."""
        for name, value in figures.items():
            if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
                raise self._plugin.refuse(f"{name} = {value!r}", "a number")
            self.noted[name] = value if isinstance(value, int | float) else value.item()

    def _own_throttle(self) -> CpuThrottle:
        machine = self._machine
        if machine.migration is not None:
            return machine.migration.throttle  # QEMU has one throttle a VM: auto-converge sets it too
        if self._throttle is None:
            self._throttle = CpuThrottle(machine.env, machine.vm, machine.spec.sheet, machine.spec.seed)
        return self._throttle

    def _ask(self, event: str, pages: ArrayLike) -> Young:
        machine = self._machine
        firsts = self._checked(pages)
        # Model limit: daemons of plug-ins cannot age a host with [host.memory]: its reclaim would miss what they clear.
        if machine.spec.dirty_tracking == "tcg" or not machine.notifiers or machine.memory is not None:
            wanted = "a VM under KVM (vm.dirty_tracking) without [host.memory]"
            raise self._plugin.refuse("a call of the mmu notifier", wanted)
        young = np.zeros(self.n_pages, np.uint8)
        machine.live_vms[0].engine.tlb.model(self.now_ns)
        yield from machine.notifiers[0].each(event, firsts, 1, young)
        found: NDArray[np.bool_] = young[firsts] == 1
        return found

    def _checked(self, pages: ArrayLike) -> NDArray[np.int64]:
        firsts = np.atleast_1d(np.asarray(pages))
        if firsts.dtype.kind not in "iu" or (len(firsts) and (firsts.min() < 0 or firsts.max() >= self.n_pages)):
            raise self._plugin.refuse(f"pages {firsts[:3].tolist()}", f"whole numbers from 0 to {self.n_pages - 1}")
        return firsts.astype(np.int64)


def start(machine: Machine) -> list[tuple[str, Host]]:
    """Start the daemons of plug-ins; returns each one's name and host. PluginError, now or as the run goes on."""
    found = []
    for number, spec in enumerate(machine.spec.plugged):
        host = Host(machine, spec, number)
        machine.env.process(_guarded(spec.plugin, host))
        found.append((spec.plugin.name, host))
    return found


def _guarded(plugin: Plugin, host: Host) -> Process:
    with plugin.guarded():
        steps = plugin.load()(host)
    if not isinstance(steps, Generator):
        raise plugin.refuse(f"a {type(steps).__name__}", "a generator: a function of (host) with yield in it")
    value: Any = None
    while True:
        with plugin.guarded():
            try:
                event = steps.send(value)
            except StopIteration:
                return
        if not isinstance(event, simpy.Event):
            raise plugin.refuse(f"a yield of {event!r}", 'an event, as yield host.sleep("1s")')
        value = yield event


def figures_of(daemons: list[tuple[str, Host]]) -> dict[str, int | float]:
    """The figures that the daemons noted, by ``daemon.NAME.FIGURE``."""
    return {f"daemon.{name}.{key}": value for name, host in daemons for key, value in host.noted.items()}
