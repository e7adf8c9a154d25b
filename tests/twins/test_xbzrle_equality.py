"""With XBZRLE the engine equals the twin, which keeps copies of contents where the engine computes from writes.

The contents of swept pages are known, so all figures are equal; those of drawn pages agree in the mean. The engine takes the
guest's work as even between two syncs; here it is: no ticks, no throttle, one vCPU a page.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from fractions import Fraction
from functools import cache
from random import Random

import numpy as np
import pytest

from hostsim.guest.pacing import Pacing
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.parameters import MigrationParameters
from tests.helpers.tiers import quick_and_long
from tests.tidy.source import report
from tests.twins.compare import engine_facts, first_difference, twin_facts
from tests.twins.configs import drawn_knobs, drawn_spec
from tests.twins.drawn import CASES, Case, two_sample_z
from tests.twins.machine import Facts, TwinMachine
from tests.twins.xbzrle import CHANGED_BYTES

GROUP = 40
DEFAULT_SEEDS = range(80)


def spec_of(seed: int) -> MachineSpec:
    """Machine number ``seed`` with XBZRLE; a small cache, so that pages meet in its slots."""
    spec, rng = drawn_spec(seed, ("sequential", "strided")), Random(f"xbzrle/{seed}")
    load = spec.workloads[0]
    pacing = Pacing(rng.random() < 0.5)
    load = replace(
        load, vcpus=load.vcpus[:1], split=False, changed_bytes=CHANGED_BYTES, changed_place="same", pacing=pacing,
        write_rate_per_s=Fraction(rng.choice((240, 1200, 6000))), active=None if rng.random() < 0.7 else load.active,
    )  # fmt: skip
    migration = replace(
        spec.migration, auto_converge=False, xbzrle=True, xbzrle_cache_size=4096 << rng.randrange(9),
        downtime_limit_ms=rng.choice((0, 1, 5, 20)), avail_switchover_bandwidth=0,
        timeout_ns=spec.migration.timeout_ns or rng.choice((0, 5_000_000_000)),
    )  # fmt: skip
    costs = {name: rng.choice((0, 1_000, 40_000)) for name in ("xbzrle_encode_ns", "xbzrle_run_ns", "xbzrle_insert_ns")}
    return replace(spec, workloads=(load,), migration=migration, sheet=replace(spec.sheet, **costs))


def difference(seed: int) -> str:
    """Figures of the engine, in pieces of drawn sizes, that differ from the twin's; "" if none does."""
    spec, twin = spec_of(seed), twin_of(seed)
    return first_difference(twin, engine_facts(spec)) or first_difference(twin, engine_facts(spec, drawn_knobs(seed)))


@cache
def twin_of(seed: int) -> Facts:
    return twin_facts(spec_of(seed))


@pytest.mark.parametrize("first", quick_and_long(DEFAULT_SEEDS[::GROUP], DEFAULT_SEEDS[:: 2 * GROUP]))
def test_engine_equals_twin(first: int) -> None:
    report([f"{seed}: {text}" for seed in range(first, first + GROUP) if (text := difference(seed))])


@pytest.mark.swarm
@pytest.mark.parametrize("first", range(10_000, 14_000, GROUP))
def test_engine_equals_twin_on_many_machines(first: int) -> None:
    report([f"{seed}: {text}" for seed in range(first, first + GROUP) if (text := difference(seed))])


MS = 1_000_000
SLOW_LINK = MigrationParameters(
    "10.2", 400_000, 20, xbzrle=True, xbzrle_cache_size=32 * 4096, timeout_ns=4_000 * MS
)
"""Never switched over, for two pages remain in a window; half of the pages share a slot with another page."""


def drawn_answers(name: str, seed: int) -> tuple[list[float], list[float]]:
    """(engine, twin): pages, misses, bytes of deltas, deltas over pages, bytes sent."""
    load = replace(
        CASES[name].load, write_rate_per_s=Fraction(200), changed_bytes=CHANGED_BYTES, changed_place="same"
    )  # fmt: skip
    spec = Case(load).spec(seed, SLOW_LINK, 6_000 * MS)
    machine = Machine(spec)
    machine.run()
    twin = TwinMachine(spec, np.random.default_rng([seed, 79]))
    twin.run()
    m = machine.migration
    c, t = m.state.last_answer or m.counters(), twin.migration.answer or twin.migration.query()
    return _figures(asdict(c.mechanisms["xbzrle"]), c.transferred), _figures(t["mechanisms"]["xbzrle"], t["transferred"])


def _figures(cache: dict[str, float], sent_bytes: int) -> list[float]:
    deltas = cache["bytes"] / (6 + CHANGED_BYTES)
    return [cache["pages"], cache["cache_miss"], cache["bytes"], deltas / max(1, cache["pages"]), sent_bytes]


@pytest.mark.parametrize("name", ["uniform", "uniform poisson, 3 vCPUs", "hotcold", "zipf"])
@pytest.mark.parametrize("seeds", [40, pytest.param(400, marks=pytest.mark.swarm)])
def test_drawn_contents_have_the_same_distribution(name: str, seeds: int) -> None:
    both = np.array([drawn_answers(name, seed) for seed in range(seeds)], np.float64)
    assert 0.3 < both[:, :, 3].mean() < 0.97, "some pages are sent again though nothing in them has changed"
    scores = [two_sample_z(both[:, 0, i], both[:, 1, i]) for i in range(both.shape[2])]
    assert max(map(abs, scores)) < 5.0, scores


def test_the_machines_use_the_cache() -> None:
    found = [twin_of(seed)["counters"]["mechanisms"]["xbzrle"] for seed in DEFAULT_SEEDS]
    assert sum(answer["pages"] > 20 for answer in found) > 10
    assert sum(0 < answer["bytes"] < 4006 * answer["pages"] for answer in found) > 5, "some pages were equal"
    assert sum(answer["cache_miss"] > 20 for answer in found) > 20
