"""The cost of a run, in counts that no noisy machine can blur. ``python -m tests.golden.counts`` writes counts.json anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu import send, tcg
from tests.golden.machines import MACHINES

PATH = Path(__file__).with_name("counts.json")
KERNELS = ((tcg, "arm"), (tcg, "start_paced"), (tcg, "harvest"), (tcg, "harvest_paced"), (send, "send_pages"))


def counts(spec: MachineSpec) -> dict[str, int]:
    """SimPy events scheduled, kernel calls, syncs, pages harvested and sent."""
    calls = {"n": 0}
    kept = [(home, name, getattr(home, name)) for home, name in KERNELS]
    try:
        for home, name, kernel in kept:
            setattr(home, name, _counted(kernel, calls))
        machine = Machine(spec)
        machine.run()
    finally:
        for home, name, kernel in kept:
            setattr(home, name, kernel)
    m = machine.migration
    return {
        "simpy_events": next(machine.env._eid),
        "kernel_calls": calls["n"],
        "syncs": m.state.dirty_sync_count,
        "pages_harvested": sum(point.dirtied_pages for point in m.recorder.syncs),
        "pages_sent": m.ram.normal_pages + m.ram.zero_pages,
    }


def _counted(kernel: Callable[..., Any], calls: dict[str, int]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        calls["n"] += 1
        return kernel(*arguments)

    return call


if __name__ == "__main__":
    PATH.write_text(json.dumps({name: counts(spec) for name, spec in MACHINES.items()}, indent=2) + "\n")
