"""The work of a run before it runs, by the guest's dirty curve: a question keeps its budget by it.

Counted in pages as ``work_of`` counts a run that is done, never in seconds: every machine decides alike.
"""

from __future__ import annotations

from collections.abc import Iterator

from hostsim.core.constants import NS_PER_S, PAGE_BYTES
from hostsim.results.work import EXIT_WORK, SLEEP_WORK, WINDOW_NS, WINDOW_WORK, sleeps
from hostsim.scenario.build import workloads_of
from hostsim.scenario.schema import Migration, Scenario
from hostsim.study.predict.forecast import Forecast, bandwidth_bytes_per_s, first_pass_s, forecast, limit_of_s, speed_under
from hostsim.theory.guest_curve import guest_curve

ROUNDS_PER_STEP = 2
"""Rounds of too many dirty pages before auto-converge throttles further (migration/ram.c::migration_trigger_throttle)."""
LEAST_ROUND_S = 0.1
"""A window of QEMU's loop under a rate limit."""


def computed_work(scenario: Scenario) -> float:
    """The work of a run of ``scenario`` [pages].

    The first pass meets every page; each further page is harvested, sent, and under KVM's log faults once. Each vCPU of a
    throttled guest sleeps over and over. A migration that the computation does not know is taken to use its whole time.
    """
    found, first_s, most_s = forecast(scenario), first_pass_s(scenario), limit_of_s(scenario)
    total_s = most_s if found is None else min(_total_s(scenario, found), most_s)
    passes = scenario.vm.memory_pages / max(first_s, 1e-9)
    sent_again = 0.0 if not bandwidth_bytes_per_s(scenario) else passes * max(0.0, total_s - first_s)
    exits = 0 if scenario.vm.dirty_tracking == "tcg" else EXIT_WORK
    windows = WINDOW_WORK * total_s * NS_PER_S / WINDOW_NS
    return scenario.vm.memory_pages + (2 + exits) * sent_again + windows + _sleeps_work(scenario, total_s - first_s)


def _sleeps_work(scenario: Scenario, throttled_s: float) -> float:
    """The most work that sleeps of all vCPUs take in ``throttled_s``: at the first step of the throttle they wake most."""
    migration = scenario.migration
    if migration is None or not migration.auto_converge:
        return 0.0
    awake_s = throttled_s * (1 - migration.cpu_throttle_initial / 100)
    return SLEEP_WORK * sleeps(awake_s * NS_PER_S, scenario.vm.vcpus)


def _total_s(scenario: Scenario, found: Forecast) -> float:
    """Computed time of the migration [s]; one with auto-converge sends dirty pages again at each step of the throttle."""
    migration = scenario.migration
    if migration is None or not migration.auto_converge or not found.completes:
        return found.total_s
    return max(found.total_s, found.first_pass_s + sum(_throttled_rounds(scenario, found)))


def _throttled_rounds(scenario: Scenario, found: Forecast) -> Iterator[float]:
    """Lengths [s] of the rounds after the first pass, until one fits into the downtime or the throttle is at its most."""
    migration, curve = scenario.migration, guest_curve(workloads_of(scenario), scenario.seed)
    assert migration is not None, "asked before"
    sent_pages_per_s, steps = found.bandwidth_bytes_per_s / PAGE_BYTES, 0
    seconds, percent = curve(found.first_pass_s) / sent_pages_per_s, 0
    while seconds * found.bandwidth_bytes_per_s > found.threshold_bytes and percent < migration.max_cpu_throttle:
        yield seconds
        steps += 1
        if steps % ROUNDS_PER_STEP == 0:
            percent = min(migration.max_cpu_throttle, percent + _step(migration, percent))
        seconds = max(LEAST_ROUND_S, curve(seconds * speed_under(scenario, percent)) / sent_pages_per_s)


def _step(migration: Migration, percent: float) -> int:
    return migration.cpu_throttle_increment if percent else migration.cpu_throttle_initial
