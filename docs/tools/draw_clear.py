"""Draw docs/background/clear.png: what four vCPUs do while KVM_CLEAR_DIRTY_LOG goes over their pages, in two kernels."""

from __future__ import annotations

import sys
from collections.abc import Generator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pictures import Figures, run

from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import load_sheet
from hostsim.guest.workload import Workload
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.loops.layout import DONE, IN_GUEST, WAITING
from hostsim.kvm.spec import MmuSpec
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.report.drawing import BLUE, GREEN, GREY, INK, SKY, VERMILION, titled

N_PAGES, N_VCPUS = 4096, 4
WRITES_PER_S = 1_200_000
START_NS, SYNC_NS, CLEAR_NS = 0, 400_000, 500_000
FROM_NS, TO_NS, LOOK_NS = CLEAR_NS - 12_000, CLEAR_NS + 72_000, 20
ERAS = {"E2": "5.10: write-protection faults share mmu_lock", "E4": "5.17: they take no lock"}
WAITS, HOLDS, LEAVES, RUNS = range(4)
LOCKLESS = 0


@dataclass
class Seen:
    """looks: when the vCPUs were looked at [ns] and, a row each, what they did; marks: what the host did when [ns]."""

    t_ns: list[int] = field(default_factory=list)
    looks: list[NDArray[np.int64]] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)
    log: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 4), np.int64))


def simulated(era: str) -> Seen:
    """A 16 MiB guest whose only chunk is cleared once."""
    load = Workload("writer", "uniform", tuple(range(N_VCPUS)), 0, N_PAGES, Fraction(WRITES_PER_S), arrivals="poisson")
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
    seen.log = kvm.log[: kvm.state.logged_exits]
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
    kvm = _vm(machine).engine.kvm
    yield machine.env.timeout(FROM_NS)
    while True:
        stage, hold_ns = kvm.vcpus["stage"], kvm.costs.hold_ns
        # A fault without the lock is one stage from the touch on: what comes before its hold is the exit.
        holds = kvm.vcpus["next_ns"] - machine.env.now_ns <= hold_ns[kvm.vcpus["kind"]]
        handles = (stage == DONE) & (holds | (kvm.vcpus["lock_mode"] != LOCKLESS))
        what = np.select([stage == IN_GUEST, stage == WAITING, handles], [RUNS, WAITS, HOLDS], LEAVES)
        seen.t_ns.append(machine.env.now_ns)
        seen.looks.append(what)
        yield machine.env.timeout(LOOK_NS)


LANES = {WAITS: (SKY, "waits for mmu_lock"), HOLDS: (VERMILION, "handles a fault"), LEAVES: (GREY, "exit, entry")}


def draw_vcpus(axes: Any, seen: Seen) -> None:
    """A lane for each vCPU: blank while it is in the guest; a tick where a fault has set its spte."""
    t_us = (np.array(seen.t_ns) - CLEAR_NS) / 1000
    looks = np.array(seen.looks)
    for v in range(N_VCPUS):
        for what, (color, label) in LANES.items():
            axes.fill_between(
                t_us, N_VCPUS - v - 0.38, N_VCPUS - v + 0.38, where=looks[:, v] == what, step="post", color=color,
                linewidth=0, label="_" if v else label,
            )  # fmt: skip
    is_shown = seen.log["ns"] >= FROM_NS
    set_us, lane = (seen.log["ns"][is_shown] - CLEAR_NS) / 1000, N_VCPUS - seen.log["vcpu"][is_shown]
    axes.plot(set_us, lane + 0.44, "|", color=INK, markersize=5, markeredgewidth=1.0, label="spte set")


def draw_host(axes: Any, marks: dict[str, int]) -> None:
    """The lane of the migration thread, and the instant at which protection holds."""
    granted, released, over = ((marks[name] - CLEAR_NS) / 1000 for name in ("granted", "released", "over"))
    axes.barh([0], [released - granted], left=granted, height=0.76, color=BLUE, label="CLEAR holds mmu_lock")
    axes.barh([0], [over - released], left=released, height=0.76, color=GREEN, label="flushes")
    axes.axvline(over, color=GREEN, linewidth=1.0, linestyle="--")


def draw(axes: Any, era: str, seen: Seen) -> None:
    """One kernel."""
    draw_vcpus(axes, seen)
    draw_host(axes, seen.marks)
    lanes = ["migration", *(f"vCPU {v}" for v in reversed(range(N_VCPUS)))]
    axes.set_yticks(range(N_VCPUS + 1), lanes)
    axes.set(xlim=((FROM_NS - CLEAR_NS) / 1000, (TO_NS - CLEAR_NS) / 1000), ylim=(-0.5, N_VCPUS + 0.65))
    axes.set_title(f"{era}, {ERAS[era]}", fontsize=10, loc="left")
    axes.grid(visible=False)


def draw_both() -> Figure:
    """A kernel below the other."""
    figure = Figure(figsize=(9.6, 5.4), layout="constrained")
    rows = figure.subplots(2, 1, sharex=True)
    for axes, era in zip(rows, ERAS, strict=True):
        draw(axes, era, simulated(era))
    rows[-1].set_xlabel("time since the CLEAR was asked for [us]")
    handles, labels = rows[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
    titled(figure, "Do vCPUs wait while KVM_CLEAR_DIRTY_LOG goes over their pages?")
    return figure


def figures() -> Figures:
    """By place under docs/."""
    return {"background/clear.png": draw_both}


if __name__ == "__main__":
    sys.exit(run(__file__, figures))
