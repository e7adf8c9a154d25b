"""Drawn guests under KVM, migrated: however the work is cut, the run is the same, and no write is lost."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import pytest

from hostsim.core.knobs import Knobs
from hostsim.core.memory import lay_out
from hostsim.costs.era import era_names
from hostsim.costs.host_sheet import HostSheet
from hostsim.guest.pacing import Pacing
from hostsim.guest.workload import Workload
from hostsim.kvm.spec import MmuSpec
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import MigrationParameters
from tests.helpers.live import MS, TRACKING, vm_of
from tests.unit.test_host_kvm_migration import facts

SHEET = HostSheet(1000, 0, 100, 5 * MS, 100_000, MS, 60_000, 100_000, 50_000, 60_000)
SHEETS = [SHEET, replace(SHEET, page_send_ns=300, first_copy_ns=500)]
LINKS = [LinkSpec(rate, 100_000, 212_992) for rate in (0, 20_000_000, 200_000_000)]


def drawn_load(draw: random.Random, n_pages: int, n_vcpus: int) -> Workload:
    first = draw.randrange(n_pages // 2)
    size = draw.randrange(16, n_pages - first)
    pattern = draw.choice(["uniform", "hotcold", "zipf", "sequential", "strided"])
    load = Workload(
        f"load {first}", pattern, tuple(sorted(draw.sample(range(n_vcpus), draw.randint(1, n_vcpus)))), first, size,
        Fraction(draw.choice([1000, 30_000, 200_000])), Fraction(draw.choice([0, 0, 20_000])),
        pacing=Pacing(open_loop=draw.random() < 0.3), exponent=1.1, hot_pages=size // 8 + 1, hot_share=0.8,
        arrivals=draw.choice(["paced", "poisson"]), stride_pages=draw.choice([1, 7, 64]),
    )  # fmt: skip
    return load if pattern == "strided" else replace(load, stride_pages=1)


def drawn_mmu(draw: random.Random, tracking: str) -> MmuSpec:
    caught = draw.choice(["write-protect", "pml", *(["d-bit"] if tracking == "get-dirty-log" else [])])
    era = draw.choice(era_names()[era_names().index("E3" if tracking == "dirty-ring" else "E2") :])
    return MmuSpec(
        era, "cascade-lake", draw.choice(["tdp", "direct", *(["shadow"] if caught != "pml" else [])]),
        draw.choice(["4KiB", "2MiB"]), caught, draw.choice([None, False]),
        1024 if caught == "pml" else draw.choice([128, 4096]),
    )  # fmt: skip


def drawn_machine(seed: int) -> MachineSpec:
    draw = random.Random(seed)  # the machine's own draws have their keys
    n_pages, n_vcpus, tracking = draw.choice([1024, 3000, 8192]), draw.choice([1, 2, 4]), draw.choice(TRACKING)
    loads = tuple(drawn_load(draw, n_pages, n_vcpus) for _ in range(draw.randint(1, 3)))
    blocks = lay_out([("pc.ram", n_pages, [(0, draw.choice([0, n_pages // 2, n_pages]))]), ("vga.vram", 512, [])])
    parameters = MigrationParameters(
        draw.choice(["7.2", "10.0", "10.2"]), draw.choice([0, 32 << 20]), draw.choice([5, 50]),
        auto_converge=draw.random() < 0.5, cpu_throttle_initial=draw.choice([20, 70]),
        timeout_ns=draw.choice([0, 1500 * MS]),
    )  # fmt: skip
    return MachineSpec(
        blocks, loads, n_vcpus, draw.choice(SHEETS), seed, 2_500 * MS, tracking, draw.choice(LINKS), parameters,
        drawn_mmu(draw, tracking),
    )  # fmt: skip


def drawn_knobs(seed: int) -> Knobs:
    draw = random.Random(seed + 1)
    return Knobs(draw.choice([1, 7, 64, 1000]), 1 << 20, draw.choice([0, 333, 10_000, MS]))


def check_one(seed: int) -> None:
    spec = drawn_machine(seed)
    runs = [Machine(spec, knobs, log_capacity=1 << 12) for knobs in (None, drawn_knobs(seed))]
    for one in runs:
        one.run()
    vm_of(runs[0]).engine.mmu.check_counts()
    plain, cut = facts(runs[0]), facts(runs[1])
    parted = [name for name in plain if plain[name] != cut[name]]
    assert not parted, f"{parted} with {drawn_knobs(seed)}: python -m pytest {__file__} -m '' -k 'many_machines[{seed}]'"


@pytest.mark.parametrize("seed", range(12))
def test_knobs_move_nothing(seed: int) -> None:
    check_one(seed)


@pytest.mark.swarm
@pytest.mark.parametrize("seed", range(12, 1000))
def test_knobs_move_nothing_on_many_machines(seed: int) -> None:
    check_one(seed)
