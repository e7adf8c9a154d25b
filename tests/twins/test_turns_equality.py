"""A vCPU and the loader that take turns on one core: engine and twin of post-copy agree, number by number."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from random import Random

from hostsim.guest.pacing import Pacing
from hostsim.guest.workload import Workload
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.mechanisms.postcopy import NAME
from hostsim.qemu.postcopy.destination import Destination
from tests.tidy.source import report
from tests.twins import postcopy_compare

SEEDS = (0, 5, 12, 13, 23, 28)


def turning(seed: int) -> MachineSpec:
    """A drawn machine without latency whose sweeps take turns with the loader; some catch up with late work."""
    spec, rng = postcopy_compare.drawn_postcopy(seed), Random(f"turns {seed}")
    costs = replace(
        spec.inputs[NAME], turn_block_ns=rng.choice((1, 8_000, 50_000)), turn_place_ns=rng.choice((1, 13_500, 90_000)),
        turn_fault_ns=rng.choice((9_000, 40_000)), turn_fault_spread_ns=rng.choice((0, 9_000)),
        place_page_ns=rng.choice((1_000, 3_100, 50_000)), wake_ns=rng.choice((1_000, 18_000)),
    )  # fmt: skip
    link = replace(
        spec.link, latency_ns=0, outages=(), loss=0.0, bandwidth_bytes_per_s=0,
        socket_buffer_bytes=rng.choice((20_000, 212_992)), wake_bytes=rng.choice((0, 16_000)),
    )  # fmt: skip
    migration = replace(spec.migration, max_postcopy_bandwidth=rng.choice((0, 0, 4_104_000)))
    n_pages = max(block.n_pages for block in spec.blocks)
    rate, pacing = Fraction(rng.choice((30_000, 300_000, 1_000_000))), rng.choice((Pacing(), Pacing(True, Fraction(20))))
    sweeps = [Workload(f"sweep {v}", "sequential", (v,), 0, n_pages, rate, pacing=pacing) for v in range(spec.n_vcpus)]
    loads = (*sweeps[: rng.choice((1, 2))], *(load for load in spec.workloads if load.pattern == "uniform"))
    return replace(spec, workloads=loads, link=link, migration=migration, inputs={**spec.inputs, NAME: costs})


def test_turns_are_the_twins() -> None:
    report([text for seed in SEEDS if (text := postcopy_compare.disagreement(seed, turning(seed)))])


def test_the_machines_take_turns() -> None:
    assert sum(_faults(seed, True) != _faults(seed, False) for seed in SEEDS) >= 4


def _faults(seed: int, in_turns: bool) -> int:
    spec = turning(seed)
    costs = spec.inputs[NAME] if in_turns else replace(spec.inputs[NAME], turn_block_ns=0)
    machine = Machine(replace(spec, inputs={**spec.inputs, NAME: costs}))
    machine.run()
    assert machine.migration is not None
    assert isinstance(machine.migration.destination, Destination)
    return machine.migration.destination.faults
