"""Small machines whose guest runs under KVM."""

from __future__ import annotations

from collections.abc import Callable, Generator
from fractions import Fraction
from typing import Any

from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import HostSheet
from hostsim.guest.workload import Workload
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.spec import MmuSpec
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import MigrationParameters

MS = 1_000_000
SHEET = HostSheet(1_000, 0, 100, MS, 50_000, MS, 0, 0, 5_000, 0)
TRACKING = ("get-dirty-log", "clear-dirty-log", "initially-all-set", "dirty-ring")


def sweep(n_pages: int, rate: int, vcpus: tuple[int, ...] = (0,), **more: Any) -> Workload:
    """Writes page after page, ``rate`` a second."""
    return Workload("load", "sequential", vcpus, 0, n_pages, Fraction(rate), **more)


def live_machine(
    *loads: Workload, tracking: str = "get-dirty-log", n_pages: int = 1024, filled: int | None = None, zero_every: int = 0,
    n_vcpus: int = 1, mmu: MmuSpec | None = None, migration: MigrationParameters | None = None,
    link: LinkSpec | None = None, duration_ns: int = 2_000 * MS,
) -> Machine:  # fmt: skip
    """``filled``: pages with content, from 0 on (None: all); ``zero_every``: but one in so many of them is zero."""
    filled = n_pages if filled is None else filled
    step = zero_every or n_pages
    fills = [(at, min(step - bool(zero_every), filled - at)) for at in range(0, filled, step)]
    blocks = lay_out([("pc.ram", n_pages, fills)])
    spec = MachineSpec(
        blocks, loads or (sweep(n_pages, 1),), n_vcpus, SHEET, 1, duration_ns, tracking, link or LinkSpec(), migration,
        mmu or MmuSpec(),
    )  # fmt: skip
    return Machine(spec, log_capacity=1 << 12)


def vm_of(machine: Machine) -> LiveVm:
    assert isinstance(machine.vm, LiveVm)
    return machine.vm


def at(machine: Machine, t_ns: int, call: Callable[[], object]) -> None:
    machine.env.timeout(t_ns).callbacks.append(lambda _: call())


def timed(machine: Machine, t_ns: int, *works: Callable[[], Generator[Any, Any, Any]]) -> list[tuple[int, Any]]:
    """Do ``works`` one after the other from ``t_ns`` on; the list gets (when it was over, its result) of each."""
    ends: list[tuple[int, Any]] = []

    def process() -> Generator[Any, Any, None]:
        yield machine.env.timeout(t_ns)
        for work in works:
            result = yield from work()
            ends.append((machine.env.now_ns, result))

    machine.env.process(process())
    return ends
