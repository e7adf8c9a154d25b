"""Drawn touches: engine, plain draws and closed forms agree within 5 standard deviations."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from hostsim.guest.popularity import zipf_shares
from hostsim.machine.machine import Machine
from hostsim.qemu.parameters import MigrationParameters
from tests.helpers.plain import plain_output
from tests.helpers.tiers import quick_and_long
from tests.twins.drawn import (
    CASES,
    DURATION_NS,
    N_PAGES,
    Case,
    chi_square_z,
    engine_bits,
    poisson_mean_z,
    twin_bits,
    two_sample_z,
    variance_z,
)
from tests.twins.machine import TwinMachine

SIGMAS = 5.0
REPLICATIONS = 400
WRITES = 1500 * DURATION_NS // 10**9
MS = 1_000_000
MIGRATIONS = {
    "converging": (Fraction(120), MigrationParameters("7.2", 400_000, 60, timeout_ns=3_000 * MS)),
    "throttled": (
        Fraction(600),
        MigrationParameters("10.2", 400_000, 20, True, cpu_throttle_initial=50, timeout_ns=5_000 * MS),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_engine_dirties_as_many_pages_as_plain_draws(name: str) -> None:
    engine = engine_bits(CASES[name], range(REPLICATIONS))
    twin = twin_bits(CASES[name], range(REPLICATIONS))
    assert abs(two_sample_z(engine.sum(axis=1), twin.sum(axis=1))) < SIGMAS
    worst = max(abs(two_sample_z(engine[:, gfn], twin[:, gfn])) for gfn in range(N_PAGES))
    assert worst < SIGMAS


@pytest.mark.parametrize("name", ["uniform", "uniform, 3 vCPUs"])
def test_paced_uniform_writes_meet_the_occupancy_form(name: str) -> None:
    """O1: mean and variance of distinct pages after k uniform writes."""
    pages = engine_bits(CASES[name], range(REPLICATIONS)).sum(axis=1)
    missed = (1 - 1 / N_PAGES) ** WRITES
    both = (1 - 2 / N_PAGES) ** WRITES
    variance = N_PAGES * missed + N_PAGES * (N_PAGES - 1) * both - N_PAGES**2 * missed**2
    assert abs(pages.mean() - N_PAGES * (1 - missed)) < SIGMAS * (variance / REPLICATIONS) ** 0.5
    assert abs(variance_z(pages, variance)) < SIGMAS


def _shares(name: str) -> np.ndarray:
    """float64[N_PAGES]: share of the writes that each page gets, most popular first."""
    if "zipf" in name:
        weights = np.arange(1, N_PAGES + 1) ** -0.9
        return weights / weights.sum()
    if "hotcold" in name:
        return np.repeat([0.8 / 6, 0.2 / (N_PAGES - 6)], [6, N_PAGES - 6])
    return np.full(N_PAGES, 1 / N_PAGES)


@pytest.mark.parametrize("name", ["uniform poisson", "uniform poisson, 3 vCPUs", "hotcold poisson", "zipf"])
def test_poisson_writes_are_independent_bits(name: str) -> None:
    """O2: mean, variance, and the chi-square of the bits page by page."""
    bits = engine_bits(CASES[name], range(REPLICATIONS))
    dirty = 1 - np.exp(-WRITES * _shares(name))
    pages, variance = bits.sum(axis=1), float((dirty * (1 - dirty)).sum())
    assert abs(pages.mean() - dirty.sum()) < SIGMAS * (variance / REPLICATIONS) ** 0.5
    assert abs(variance_z(pages, variance)) < SIGMAS
    counts = bits.sum(axis=0)
    if "zipf" in name:  # ranks are scattered; undo it by the popularity itself
        counts = counts[np.argsort(-zipf_shares(N_PAGES, 0.9), kind="stable")]
    assert abs(chi_square_z(counts, REPLICATIONS, dirty)) < SIGMAS


@pytest.mark.parametrize(
    "name", quick_and_long(("uniform", "uniform poisson, 3 vCPUs", "hotcold", "zipf"), ("uniform", "zipf"))
)
@pytest.mark.parametrize("pace", MIGRATIONS)
@pytest.mark.parametrize("seeds", [40, pytest.param(400, marks=pytest.mark.swarm)])
def test_migrations_have_the_same_distribution(name: str, pace: str, seeds: int) -> None:
    rate, migration = MIGRATIONS[pace]
    case = Case(replace(CASES[name].load, write_rate_per_s=rate))
    engine = np.array([_engine_answer(case, seed, migration) for seed in range(seeds)])
    twin = np.array([_twin_answer(case, seed, migration) for seed in range(seeds)])
    scores = [abs(two_sample_z(engine[:, i], twin[:, i])) for i in range(engine.shape[1])]
    assert max(scores) < SIGMAS


def _engine_answer(case: Case, seed: int, migration: MigrationParameters) -> tuple[float, ...]:
    machine = Machine(case.spec(seed, migration, 6_000 * MS))
    machine.run()
    m = machine.migration
    answer = m.counters()
    dirtied = sum(point.dirtied_pages for point in m.recorder.syncs)
    throttle = max(point.throttle_percent for point in m.recorder.syncs)
    return answer.total_time_ms, answer.transferred, answer.dirty_sync_count, answer.duplicate, dirtied, throttle


def _twin_answer(case: Case, seed: int, migration: MigrationParameters) -> tuple[float, ...]:
    machine = TwinMachine(case.spec(seed, migration, 6_000 * MS), np.random.default_rng([seed, 78]))
    machine.run()
    m = machine.migration
    answer = m.query()
    dirtied, throttle = sum(row[4] for row in m.sync_rows), max(row[11] for row in m.sync_rows)
    keys = ("total_time_ms", "transferred", "dirty_sync_count", "duplicate")
    return (*(answer[key] for key in keys), dirtied, throttle)


def test_two_candidates_a_page_are_caught() -> None:
    """A class armed twice has twice its rate: the mean of O2 shows it."""
    assert abs(float(plain_output("tests.twins.drawn", "rate doubled", "200"))) > SIGMAS
    assert abs(poisson_mean_z(200)) < SIGMAS
