"""Draw docs/background/clear.png: what four vCPUs do while KVM_CLEAR_DIRTY_LOG goes over their pages, in two kernels."""

from __future__ import annotations

import sys
from collections.abc import Generator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from hostsim.guest.workload import Workload
from hostsim.host.kvm.live_vm import LiveVm
from hostsim.host.kvm.spec import MmuSpec
from hostsim.host.machine import Machine, MachineSpec
from hostsim.host.sheet import load_sheet
from hostsim.kernels.kvm.layout import DONE, IN_GUEST, LOGGED_EXITS, V_KIND, V_STAGE, WAITING
from hostsim.mmu.fault_kinds import WP
from hostsim.mmu.memory import lay_out

mpl.use("Agg")
import matplotlib.pyplot as plt

OUT = Path(__file__).resolve().parents[1] / "background" / "clear.png"
BLUE, VERMILION, ORANGE, GREY, GREEN = "#0072b2", "#d55e00", "#e69f00", "#9aa0a6", "#009e73"
N_PAGES, N_VCPUS = 4096, 4
WRITES_PER_S = 1_200_000
START_NS, SYNC_NS, CLEAR_NS = 0, 400_000, 500_000
FROM_NS, TO_NS, LOOK_NS = CLEAR_NS - 12_000, CLEAR_NS + 72_000, 20
ERAS = {"E2": "5.10: write-protection faults share mmu_lock", "E4": "5.17: they take no lock"}
WAITS, HOLDS, LEAVES, RUNS = range(4)


@dataclass
class Seen:
    """looks: when the vCPUs were looked at [ns] and, a row each, what they did; marks: what the host did when [ns]."""

    t_ns: list[int] = field(default_factory=list)
    looks: list[NDArray[np.int64]] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)
    log: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 4), np.int64))


def simulated(era: str) -> Seen:
    """A 16 MiB guest whose only chunk is cleared once."""
    load = Workload("writer", "uniform", tuple(range(N_VCPUS)), 0, N_PAGES, Fraction(WRITES_PER_S))
    blocks = lay_out([("pc.ram", N_PAGES, [(0, N_PAGES)])])
    spec = MachineSpec(
        blocks, (load,), N_VCPUS, load_sheet("qemu-tcg-2core"), dirty_tracking="clear-dirty-log", mmu=MmuSpec(era=era),
        duration_ns=TO_NS,
    )  # fmt: skip
    machine, seen = Machine(spec, log_capacity=1 << 14), Seen()
    machine.env.process(_host(machine, seen))
    machine.env.process(_look(machine, seen))
    machine.run()
    kvm = _vm(machine).engine.kvm
    seen.log = kvm.log[: kvm.state[LOGGED_EXITS]]
    return seen


def _vm(machine: Machine) -> LiveVm:
    assert isinstance(machine.vm, LiveVm)
    return machine.vm


def _host(machine: Machine, seen: Seen) -> Generator[Any, Any, None]:
    env, tracker, vm = machine.env, machine.tracker, _vm(machine)
    yield from tracker.start_log()
    yield env.timeout(SYNC_NS - env.now_ns)
    yield from tracker.sync(np.zeros(N_PAGES, np.uint8))
    yield env.timeout(CLEAR_NS - env.now_ns)
    waited_ns, held_ns = vm.lock.wait_ns, vm.lock.hold_ns
    yield from tracker.before_send(0)
    seen.marks["granted"] = CLEAR_NS + vm.lock.wait_ns - waited_ns
    seen.marks["released"] = seen.marks["granted"] + vm.lock.hold_ns - held_ns
    seen.marks["over"] = env.now_ns


def _look(machine: Machine, seen: Seen) -> Generator[Any, Any, None]:
    """Looking at the guest moves nothing: the run is the same however it is cut."""
    vcpus = _vm(machine).engine.kvm.vcpus
    yield machine.env.timeout(FROM_NS)
    while True:
        stage = vcpus[V_STAGE]
        what = np.select([stage == IN_GUEST, stage == WAITING, stage == DONE], [RUNS, WAITS, HOLDS], LEAVES)
        seen.t_ns.append(machine.env.now_ns)
        seen.looks.append(what)
        yield machine.env.timeout(LOOK_NS)
