"""multifd's compiled loop equals its plain twin, and neither knobs nor take-backs move a result."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from hostsim.core.knobs import Knobs
from hostsim.machine.machine import Machine
from hostsim.scenario import Scenario
from hostsim.simulation import run
from tests.tidy.source import report
from tests.twins.compare import engine_facts, first_difference, twin_facts
from tests.twins.configs import RANDOM, drawn_knobs, drawn_multifd_spec, drawn_spec, drawn_wired_multifd
from tests.twins.machine import TwinMachine

GROUP = 50


def disagreement(seed: int) -> str:
    """Empty if machine ``seed`` with multifd gives the same facts in the twin and, with any knobs, in the engine."""
    spec = drawn_multifd_spec(seed)
    expected = twin_facts(spec)
    for knobs in (Knobs(), drawn_knobs(seed)):
        if difference := first_difference(expected, engine_facts(spec, knobs)):
            return f"drawn_multifd_spec({seed}): {knobs}: {difference[:1000]}"
    return ""


def disagreement_over_wires(seed: int) -> str:
    """As ``disagreement``, over connections with windows, most of them with outages and losses."""
    spec = drawn_wired_multifd(seed)
    expected = twin_facts(spec)
    for knobs in (Knobs(), drawn_knobs(seed)):
        if difference := first_difference(expected, engine_facts(spec, knobs)):
            return f"drawn_wired_multifd({seed}): {knobs}: {difference[:1000]}"
    return _other_counts(seed) if expected["counters"]["status"] == "completed" and spec.link.has_faults else ""


def _other_counts(seed: int) -> str:
    """Empty if both count the same time-outs, bytes sent again and losses."""
    twin, machine = TwinMachine(drawn_wired_multifd(seed)), Machine(drawn_wired_multifd(seed))
    twin.run()
    machine.run()
    counts, expected = list(machine.migration.link.counts()), twin.migration.ram.counts()
    return "" if counts == expected else f"drawn_wired_multifd({seed}): twin {expected}, engine {counts}"


def moved_by_knobs(seed: int) -> str:
    """Empty if knobs move nothing where touches are drawn and connections have windows."""
    spec = replace(drawn_multifd_spec(seed, RANDOM), link=drawn_spec(seed).link)
    difference = first_difference(engine_facts(spec), engine_facts(spec, drawn_knobs(seed)))
    return f"drawn_multifd_spec({seed}): {drawn_knobs(seed)}: {difference[:1000]}" if difference else ""


@pytest.mark.parametrize("first", [0])
def test_engine_equals_twin(first: int) -> None:
    report([text for seed in range(first, first + GROUP) if (text := disagreement(seed))])


@pytest.mark.parametrize("first", [0])
def test_engine_equals_twin_over_connections_with_windows(first: int) -> None:
    report([text for seed in range(first, first + GROUP) if (text := disagreement_over_wires(seed))])


@pytest.mark.swarm
@pytest.mark.parametrize("first", range(GROUP, 1000, GROUP))
def test_engine_equals_twin_over_many_connections(first: int) -> None:
    report([text for seed in range(first, first + GROUP) if (text := disagreement_over_wires(seed))])


def test_drawn_connections_meet_faults() -> None:
    counts = [_wired_counts(seed) for seed in range(GROUP)]
    assert sum(timeouts > 0 for timeouts, _, _ in counts) > 5
    assert sum(losses > 0 for _, _, losses in counts) > 10
    assert sum(not drawn_wired_multifd(seed).link.has_faults for seed in range(GROUP)) > 3


def _wired_counts(seed: int) -> list[int]:
    machine = Machine(drawn_wired_multifd(seed))
    machine.run()
    return list(machine.migration.link.counts())


@pytest.mark.swarm
@pytest.mark.parametrize("first", range(GROUP, 2000, GROUP))
def test_engine_equals_twin_on_many_machines(first: int) -> None:
    report([text for seed in range(first, first + GROUP) if (text := disagreement(seed) or moved_by_knobs(seed))])


def test_speed_knobs_move_nothing_where_touches_are_drawn() -> None:
    report([text for seed in range(GROUP) if (text := moved_by_knobs(seed))])


def test_drawn_machines_cover_the_model() -> None:
    facts = [twin_facts(drawn_multifd_spec(seed)) for seed in range(GROUP)]
    assert {"completed", "cancelled", "active"} <= {one["counters"]["status"] for one in facts}
    assert sum(one["counters"]["duplicate"] > 0 for one in facts) > 10
    assert sum(one["counters"]["dirty_sync_count"] > 3 for one in facts) > 10
    specs = [drawn_multifd_spec(seed) for seed in range(GROUP)]
    assert {spec.migration.multifd_compression for spec in specs} == {"none", "zlib", "zstd"}
    assert any(spec.migration.zero_copy_send for spec in specs)


def under_kvm(seed: int) -> Scenario:
    """A guest whose exits take back pages that were sent ahead of them; zero pages that get written, several channels."""
    rng = Random(f"multifd under KVM {seed}")
    tracking = rng.choice(("get-dirty-log", "clear-dirty-log", "dirty-ring", "initially-all-set"))
    load = {
        "pattern": rng.choice(("uniform", "sequential", "zipf")), "size": "4MiB", "at": rng.choice(("0B", "6MiB")),
        "write_rate": "20000/s", "read_rate": "5000/s",
    }  # fmt: skip
    vm = {
        "memory": "16MiB", "vcpus": 2, "dirty_tracking": tracking, "fill": [{"size": "8MiB"}], "workload": [load],
    }  # fmt: skip
    migration = {
        "bandwidth": rng.choice(("16MiB/s", "unlimited")), "downtime_limit": "20ms", "multifd": True,
        "multifd_channels": rng.choice((1, 2, 5)), "zero_page_detection": rng.choice(("none", "legacy", "multifd")),
        "multifd_compression": rng.choice(("none", "zstd")), "timeout": "3s",
    }  # fmt: skip
    link = {"bandwidth": rng.choice(("unlimited", "200MB/s")), "latency": rng.choice(("0s", "100us", "3ms"))}
    return Scenario.model_validate({"seed": seed, "duration": "10s", "vm": vm, "migration": migration, "link": link})


def test_knobs_move_nothing_under_kvm() -> None:
    found = []
    for seed in range(4):
        scenario = under_kvm(seed)
        expected = run(scenario).to_dict()
        for knobs in (Knobs(send_batch_pages=7), Knobs(window_ns=777_777), drawn_knobs(seed)):
            got = run(scenario, knobs=knobs).to_dict()
            found += [f"{seed} {knobs}: {key}" for key in expected if expected[key] != got[key]]
    report(found)
