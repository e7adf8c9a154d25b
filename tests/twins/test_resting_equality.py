"""Work in windows of the host's clock: engine and twin agree, number by number, in pre-copy, in post-copy and under KVM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from hostsim.guest.workload import Active, Workload
from hostsim.machine.spec import MachineSpec
from tests.tidy.source import report
from tests.twins import compare, kvm_configs, postcopy_compare
from tests.twins.configs import drawn_knobs, drawn_spec
from tests.twins.kvm_case import Case
from tests.twins.kvm_engine import EngineRun
from tests.twins.kvm_run import certain_run
from tests.twins.test_thinking_equality import thinking

MS = 1_000_000
SEEDS = range(12)


def resting(loads: Sequence[Workload], seed: int, unit_ns: int) -> tuple[Workload, ...]:
    """Most of ``loads`` in windows of the host's clock of some ``unit_ns``; some think, too."""
    rng = Random(f"rest {seed}")
    loads = thinking(loads, seed, unit_ns) if seed % 3 == 0 else tuple(loads)
    return tuple(replace(load, active=_window(rng, unit_ns)) if rng.random() < 0.7 else load for load in loads)


def _window(rng: Random, unit_ns: int) -> Active:
    length_ns = unit_ns * rng.choice((3, 10, 50, 150))
    start_ns, rest_ns = unit_ns * rng.choice((-40, 0, 7, 30)), unit_ns * rng.choice((0, 2, 20, 80))
    return Active(start_ns, length_ns, length_ns + rest_ns if rng.random() < 0.8 else 0, is_of_host=True)


def spec_of(seed: int) -> MachineSpec:
    spec = drawn_spec(seed)
    return replace(spec, workloads=resting(spec.workloads, seed, MS))


def postcopy_of(seed: int) -> MachineSpec:
    spec = postcopy_compare.drawn_postcopy(seed)
    return replace(spec, workloads=resting(spec.workloads, seed, MS))


def case_of(seed: int) -> Case:
    case = kvm_configs.drawn_case(seed)
    return replace(case, workloads=resting(case.workloads, seed, max(1, case.end_ns // 400)))


def test_a_migration_of_a_guest_that_rests_is_the_twins() -> None:
    found = {}
    for seed in SEEDS:
        expected = compare.twin_facts(spec_of(seed))
        found[seed] = [compare.first_difference(expected, compare.engine_facts(spec_of(seed), drawn_knobs(seed)))]
    report([f"{seed}: {text}" for seed, texts in found.items() for text in texts if text])


def test_post_copy_of_a_guest_that_rests_is_the_twins() -> None:
    report([text for seed in SEEDS if (text := postcopy_compare.disagreement(seed, postcopy_of(seed)))])


def test_a_guest_under_kvm_that_rests_is_the_twins() -> None:
    report([text for seed in SEEDS if (text := _difference_under_kvm(seed))])


def _difference_under_kvm(seed: int) -> str:
    case = case_of(seed)
    twin = certain_run(case)
    engine = EngineRun(case, twin.end_ns, kvm_configs.drawn_cuts(seed, case))
    text = compare.first_difference(twin.facts(), engine.facts())
    return f"{seed}: {text}" if text else ""


def test_the_machines_rest() -> None:
    loads = [load for seed in SEEDS for load in (*spec_of(seed).workloads, *case_of(seed).workloads)]
    assert sum(load.host_windows[1] > 0 for load in loads) > len(loads) // 2
