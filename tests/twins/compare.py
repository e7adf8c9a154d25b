"""The engine's run as the same plain facts the twin gives, and the first difference between two runs."""

from __future__ import annotations

from dataclasses import asdict, astuple
from itertools import zip_longest
from typing import Any

import numpy as np

from hostsim.core.knobs import Knobs
from hostsim.guest.pacing import work_at
from hostsim.guest.touch import CLOCK_FIRST
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.send import LOGGED
from tests.twins.machine import Facts, TwinMachine

LOG_CAPACITY = 1 << 15


def twin_facts(spec: MachineSpec) -> Facts:
    twin = TwinMachine(spec)
    twin.run()
    return twin.facts()


def engine_facts(spec: MachineSpec, knobs: Knobs | None = None) -> Facts:
    machine = Machine(spec, knobs, LOG_CAPACITY)
    windows = record_windows(machine)
    machine.run()
    m, now = machine.migration, machine.env.now
    guest = machine.vm.guest
    return {
        "end_ns": now,
        "marks": m.recorder.marks,
        "syncs": [astuple(point) for point in m.recorder.syncs],
        "transitions": _transitions(machine),
        "windows": windows,
        "sends": list(map(tuple, m.ram.send_log[: m.ram.send_state[LOGGED]].tolist())),
        "samples": [astuple(sample) for sample in m.recorder.samples],
        "counters": asdict(m.counters()),
        "last_answer": asdict(m.state.last_answer) if m.state.last_answer else None,
        "to_send": np.flatnonzero(m.ram.bmap).tolist(),
        "work_ns": {who: int(work_at(row, now)) for who, row in zip(_owners(machine), guest.clocks, strict=True)},
    }


def record_windows(machine: Machine) -> list[tuple[int, float, int]]:
    """A list that gets (t_ns, bytes/ms, threshold) of each window of the coming run."""
    windows: list[tuple[int, float, int]] = []
    m = machine.migration

    def trace(event: str, **fields: Any) -> None:
        if event == "migrate_transferred":
            windows.append((fields["t_ns"], fields["bandwidth"], m.state.threshold_bytes))

    m.recorder.trace = trace
    return windows


def _owners(machine: Machine) -> list[tuple[int, int]]:
    guest = machine.vm.guest
    return list(zip(guest.clock_workload.tolist(), guest.clock_vcpu.tolist(), strict=True))


def _transitions(machine: Machine) -> list[tuple[int, list[tuple[int, ...]]]]:
    owners, ints = _owners(machine), machine.vm.guest.table.ints
    return [
        (t_ns, sorted((*owners[ints[c, CLOCK_FIRST]], gfn, work_ns) for c, gfn, work_ns in log.tolist()))
        for t_ns, log in machine.tracker.transitions
        if len(log)
    ]


def first_difference(expected: Facts, got: Facts) -> str:
    """Empty if equal; else the name of the fact, and its first difference."""
    for name, value in expected.items():
        if value != got[name]:
            return f"{name}: {_where(value, got[name])}"
    return ""


def _where(expected: Any, got: Any) -> str:
    if isinstance(expected, dict) and isinstance(got, dict):
        return "; ".join(f"{k}: {expected[k]} / {got.get(k)}" for k in expected if expected[k] != got.get(k))
    if isinstance(expected, list):
        pairs = enumerate(zip_longest(expected, got))
        return next(f"[{i}] twin {a} / engine {b}" for i, (a, b) in pairs if a != b)
    return f"twin {expected} / engine {got}"
