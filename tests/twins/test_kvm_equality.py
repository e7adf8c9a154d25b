"""Guests under KVM with hosts that work on them: the engine equals the plain twin, number by number."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.helpers.plain import plain_output
from tests.helpers.tiers import quick_and_long
from tests.tidy.source import report
from tests.twins.kvm_compare import difference, replay_command
from tests.twins.kvm_configs import INTERFACES, drawn_case, drawn_page_tables
from tests.twins.kvm_run import TwinRun, certain_run

GROUP = 50
DEFAULT_SEEDS, MORE_SEEDS = range(0, 200, GROUP), range(200, 300, GROUP)
SWARM_SEEDS = range(100_000, 110_000, GROUP)
PLAIN_SEEDS = ("3", "41", "87")


def differences(first: int) -> list[str]:
    return [text for seed in range(first, first + GROUP) if (text := difference(seed))]


@pytest.mark.parametrize("first", quick_and_long(DEFAULT_SEEDS, DEFAULT_SEEDS[::2]))
def test_engine_equals_twin_however_the_run_is_cut(first: int) -> None:
    report(differences(first))


@pytest.mark.swarm
@pytest.mark.parametrize("first", [*MORE_SEEDS, *SWARM_SEEDS])
def test_engine_equals_twin_on_many_hosts(first: int) -> None:
    report(differences(first))


@pytest.mark.parametrize("first", quick_and_long(range(0, 60, 20), [0]))
def test_engine_equals_twin_where_the_guest_writes_page_tables(first: int) -> None:
    report([text for seed in range(first, first + 20) if (text := difference(seed, drawn_page_tables))])


@pytest.mark.swarm
@pytest.mark.parametrize("first", range(60, 2000, 20))
def test_engine_equals_twin_on_many_guests_that_write_page_tables(first: int) -> None:
    report([text for seed in range(first, first + 20) if (text := difference(seed, drawn_page_tables))])


def test_drawn_page_tables_are_synced_and_lose_sptes() -> None:
    runs = [certain_run(drawn_page_tables(seed)) for seed in range(40)]
    sums: Counter[str] = sum((Counter(run.facts()["page_tables"]) for run in runs), Counter())
    assert sums["cr3_loads"] > 200, sums
    assert sums["unsync_tables"] > 200, sums
    assert sums["dropped_sptes"] > 30, sums
    assert sum(run.end_ns == run.case.end_ns for run in runs) > 10


def test_engine_equals_twin_in_plain_python() -> None:
    assert plain_output("tests.twins.kvm_compare", *PLAIN_SEEDS) == "equal\n"


@pytest.mark.parametrize("seed", quick_and_long(range(0, 300, 20), range(0, 300, 60)))
def test_what_comes_after_the_end_changes_nothing_before(seed: int) -> None:
    case = drawn_case(seed)
    whole = TwinRun(case).port.guest.log
    for share in (3, 2):
        end_ns = case.end_ns // share
        assert TwinRun(case, end_ns).port.guest.log == [row for row in whole if row[0] < end_ns], replay_command(seed)


@pytest.mark.parametrize("share", [3, pytest.param(1, marks=pytest.mark.swarm)], ids="1/{}".format)
def test_drawn_hosts_cover_the_model(share: int) -> None:
    runs = [certain_run(drawn_case(seed)) for seed in range(450 // share)]
    facts = [run.facts() for run in runs]
    seen = Counter(kind for one in facts for kind in one["exits"])
    assert min(seen[kind] for kind in ("map", "track", "wp", "split", "spurious", "retry")) > 50 // share, seen
    assert seen["pml_full"] >= 8 // share
    assert sum(sum(one["ring_full"]) for one in facts) > 30 // share
    assert sum(one["host_wait_ns"] > 0 for one in facts) > 100 // share
    assert sum(len({ns for ns, *_ in one["log"]}) < len(one["log"]) for one in facts) > 40 // share
    aged = [row for one in facts for row in one["ager"]]
    assert sum(len(young) > 0 for _, young in aged) > 100 // share
    assert sum("old" in words for one in facts for words in (*one["spte"].values(), *one["large"].values())) > 1000 // share
    assert sum("stale" in words for one in facts for words in (*one["spte"].values(), *one["large"].values())) > 500 // share
    assert sum(run.end_ns == run.case.end_ns for run in runs) > 200 // share
    _check_interfaces(runs, 11 // share)


def _check_interfaces(runs: list[TwinRun], least: int) -> None:
    found: Counter[tuple[str, str]] = Counter()
    for run in runs:
        syncs = [row for row in run.actors.record["migration"] if row[1] == "sync"]
        found[run.case.rules.interface, run.case.rules.mechanism] += sum(new > 0 for _, _, new, _ in syncs)
    assert {interface for interface, _ in found} == set(INTERFACES)
    assert min(found.values()) >= least, found
    assert len(found) == len(INTERFACES) * 2 + 1
