"""Tasks that think, and work in windows of the host's clock: engine and twin agree in pre-copy, post-copy and under KVM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import pytest

from hostsim.guest.pacing import Pacing
from hostsim.guest.workload import Active, Workload
from hostsim.machine.spec import MachineSpec
from tests.tidy.source import report
from tests.twins import compare, kvm_configs, postcopy_compare
from tests.twins.configs import drawn_knobs, drawn_spec
from tests.twins.kvm_case import Case
from tests.twins.kvm_engine import EngineRun
from tests.twins.kvm_run import certain_run

MS = 1_000_000
SEEDS = range(12)
Pause = Callable[[Sequence[Workload], int, int], tuple[Workload, ...]]


def thinking(loads: Sequence[Workload], seed: int, unit_ns: int) -> tuple[Workload, ...]:
    """Half of ``loads``, in a closed loop: bursts and sleeps of some ``unit_ns``, often of equal lengths."""
    rng = Random(f"think {seed}")
    times_ns = [unit_ns * n for n in (1, 2, 5, 5, 20)]
    return tuple(
        replace(load, pacing=Pacing(burst_ns=rng.choice(times_ns), think_ns=rng.choice(times_ns)))
        if rng.random() < 0.7 else load
        for load in loads
    )  # fmt: skip


def resting(loads: Sequence[Workload], seed: int, unit_ns: int) -> tuple[Workload, ...]:
    """Most of ``loads`` in windows of the host's clock of some ``unit_ns``; some think, too."""
    rng = Random(f"rest {seed}")
    loads = thinking(loads, seed, unit_ns) if seed % 3 == 0 else tuple(loads)
    return tuple(replace(load, active=_window(rng, unit_ns)) if rng.random() < 0.7 else load for load in loads)


def _window(rng: Random, unit_ns: int) -> Active:
    length_ns = unit_ns * rng.choice((3, 10, 50, 150))
    start_ns, rest_ns = unit_ns * rng.choice((-40, 0, 7, 30)), unit_ns * rng.choice((0, 2, 20, 80))
    return Active(start_ns, length_ns, length_ns + rest_ns if rng.random() < 0.8 else 0, is_of_host=True)


EACH = pytest.mark.parametrize("pause", [thinking, resting])


def spec_of(seed: int, pause: Pause) -> MachineSpec:
    spec = drawn_spec(seed)
    return replace(spec, workloads=pause(spec.workloads, seed, MS))


def postcopy_of(seed: int, pause: Pause) -> MachineSpec:
    spec = postcopy_compare.drawn_postcopy(seed)
    return replace(spec, workloads=pause(spec.workloads, seed, MS))


def case_of(seed: int, pause: Pause) -> Case:
    case = kvm_configs.drawn_case(seed)
    return replace(case, workloads=pause(case.workloads, seed, max(1, case.end_ns // 400)))


@EACH
def test_a_migration_of_a_guest_that_pauses_is_the_twins(pause: Pause) -> None:
    found = {}
    for seed in SEEDS:
        spec = spec_of(seed, pause)
        found[seed] = [compare.first_difference(compare.twin_facts(spec), compare.engine_facts(spec, drawn_knobs(seed)))]
    report([f"{seed}: {text}" for seed, texts in found.items() for text in texts if text])


@EACH
def test_post_copy_of_a_guest_that_pauses_is_the_twins(pause: Pause) -> None:
    report([text for seed in SEEDS if (text := postcopy_compare.disagreement(seed, postcopy_of(seed, pause)))])


@EACH
def test_a_guest_under_kvm_that_pauses_is_the_twins(pause: Pause) -> None:
    report([text for seed in SEEDS if (text := _difference_under_kvm(seed, pause))])


def _difference_under_kvm(seed: int, pause: Pause) -> str:
    case = case_of(seed, pause)
    twin = certain_run(case)
    engine = EngineRun(case, twin.end_ns, kvm_configs.drawn_cuts(seed, case))
    text = compare.first_difference(twin.facts(), engine.facts())
    return f"{seed}: {text}" if text else ""


@EACH
def test_the_machines_pause(pause: Pause) -> None:
    loads = [load for seed in SEEDS for load in (*spec_of(seed, pause).workloads, *case_of(seed, pause).workloads)]
    pauses = [load.host_windows[1] > 0 if pause is resting else load.pacing.burst_ns > 0 for load in loads]
    assert sum(pauses) > len(loads) // 2
