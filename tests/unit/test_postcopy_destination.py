"""Post-copy to a destination whose memory runs short: frames, swap and ageing there, and what the source has swapped out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hostsim.core.errors import InputError, InvariantError
from hostsim.core.knobs import Knobs
from hostsim.kvm.loops.layout import RESIDENT
from hostsim.machine.destination import NAME
from hostsim.machine.machine import Machine
from hostsim.memory.fault_in import FaultIn
from hostsim.memory.fault_waits import MAJOR, MIGRATION, VCPU
from hostsim.memory.pages import MISSING, SWAPPED, VmPages
from hostsim.memory.swap_area import Copy
from hostsim.qemu.postcopy.live import LiveDestination
from hostsim.results.memory import host_result
from hostsim.scenario import Scenario
from hostsim.scenario.build import build
from hostsim.scenario.plausible import warnings_of

LOAD = {
    "name": "service", "pattern": "hotcold", "hot_size": "2MiB", "hot_share": "90%", "write_rate": "8000/s",
    "read_rate": "8000/s",
}  # fmt: skip
VM = {"memory": "12MiB", "vcpus": 2, "filled": "all", "dirty_tracking": "get-dirty-log", "workload": [LOAD]}
MIGRATION_KEYS = {
    "start": "20ms", "bandwidth": "unlimited", "postcopy_ram": True, "postcopy_after": "10ms",
    "max_postcopy_bandwidth": "200Mbit/s",
}  # fmt: skip
SHORT = {"memory": {"size": "8MiB"}}
AGEING = {"policy": "idle", "period": "40ms", "passes": 8}


def scenario(**tables: Any) -> Scenario:
    link = {"bandwidth": "1Gbit/s"}
    return Scenario.model_validate({"vm": VM, "migration": MIGRATION_KEYS, "link": link, "destination": SHORT} | tables)


def ran(knobs: Knobs | None = None, **tables: Any) -> Machine:
    machine = Machine(build(scenario(**tables)), knobs)
    machine.run()
    assert machine.migration is not None
    assert machine.migration.state.status == "completed"
    return machine


def figures(machine: Machine) -> tuple[Any, ...]:
    there, destination = machine.there, machine.migration.destination
    pages = there.memory.vms[0]
    return (
        machine.env.now_ns, destination.requests, destination.faults, destination.stalled_ns, dict(pages.counts),
        [waits.ns for waits in pages.waits.values()], pages.where.tolist(), there.vm.engine.exits.tolist(),
        there.vm.work_ns(),
        [(one.start_ns, one.asked, one.young) for daemon in there.daemons for one in daemon.passes],
    )  # fmt: skip


@pytest.fixture(scope="module")
def short() -> Machine:
    return ran(ageing=AGEING)


def test_placed_pages_go_to_swap_and_come_back(short: Machine) -> None:
    pages, n_pages = short.there.memory.vms[0], short.vm.memory.n_pages
    assert pages.counts["swapped_out"] > 1000
    assert pages.waits[VCPU].latencies[MAJOR].count > 50
    assert short.migration.destination.faults > 5
    assert pages.counts["placed"] == short.migration.destination.n_missing
    assert not (pages.where == MISSING).any()
    assert (pages.where == RESIDENT).sum() + np.isin(pages.where, range(SWAPPED, MISSING)).sum() == n_pages


def test_windows_move_nothing(short: Machine) -> None:
    assert figures(ran(Knobs(window_ns=700), ageing=AGEING)) == figures(short)


def test_windows_move_nothing_where_the_guest_races_the_background_sweep() -> None:
    sweep = {"name": "sweep", "pattern": "sequential", "write_rate": "40000/s"}
    tables = {
        "vm": VM | {"vcpus": 1, "workload": [sweep]},
        "migration": MIGRATION_KEYS | {"max_postcopy_bandwidth": "unlimited", "postcopy_after": "1ms"},
    }  # fmt: skip
    assert figures(ran(Knobs(window_ns=700), **tables)) == figures(ran(**tables))


def test_a_touch_is_a_userfault_before_the_page_is_placed_and_a_swap_in_after(monkeypatch: pytest.MonkeyPatch) -> None:
    touched, read, missing = LiveDestination.touched, FaultIn._read, {}

    def note_touched(self: Any, vcpu: int, page: int) -> None:
        missing["of"] = self.phase.missing
        assert self.phase.missing[page] == 1
        touched(self, vcpu, page)

    def note_read(self: Any, page: int, waits: Any) -> Any:
        assert not missing or missing["of"][page] == 0
        missing["reads"] = missing.get("reads", 0) + 1
        yield from read(self, page, waits)

    monkeypatch.setattr(LiveDestination, "touched", note_touched)
    monkeypatch.setattr(FaultIn, "_read", note_read)
    ran()
    assert missing["reads"] > 10


def test_ages_begin_anew_at_the_destination(short: Machine) -> None:
    (here,), (there,) = short.daemons, short.there.daemons
    first = there.passes[0]
    assert here.passes[0].start_ns == 40_000_000
    assert first.start_ns == short.there.vm.since_ns + 40_000_000
    assert first.asked < short.vm.memory.n_pages, "a page that is missing or in swap has no age"
    assert there.ages.max() <= len(there.passes)
    assert (there.ages >= 0).any()


def test_tables_name_the_host(short: Machine) -> None:
    result = host_result(short)
    for name in ("memory_series", "ageing_passes", "age_map", "vcpu_times"):
        assert set(result.tables[name]["vm"].tolist()) - {"vm"} == {NAME}, name
    assert {one.vm for one in result.latencies} >= {"vm", NAME, "destination"}
    told = result.to_dict()
    assert told["destination_memory"]["vms"][0]["vm"] == NAME
    assert [row["vm"] for row in told["ageing"]] == ["vm", NAME]
    assert "memory" not in told, "the source has memory enough"


def test_a_large_destination_swaps_nothing() -> None:
    machine = ran(destination={"memory": {"size": "32MiB"}})
    pages = machine.there.memory.vms[0]
    assert pages.counts["swapped_out"] == 0
    assert pages.waits[VCPU].fetched == 0
    assert machine.there.memory.frames.free < machine.there.memory.frames.total


def test_without_the_table_there_is_no_such_host() -> None:
    assert ran(destination=None).there is None


def test_zero_pages_take_no_frame() -> None:
    idle = VM | {"memory": "256MiB", "filled": "none", "workload": [{"name": "idle", "pattern": "idle"}]}
    machine = ran(vm=idle, migration=MIGRATION_KEYS | {"postcopy_after": "1ms"})
    assert machine.migration.destination.n_missing > 1000
    assert machine.there.memory.vms[0].charged == 0
    assert machine.there.memory.frames.free == machine.there.memory.frames.total


def test_an_old_copy_in_swap_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    copy_of = VmPages.copy_of

    def old_copy(self: VmPages, page: int) -> Copy:
        copy = copy_of(self, page)
        return copy._replace(token=copy.token - 1)

    monkeypatch.setattr(VmPages, "copy_of", old_copy)
    with pytest.raises(InvariantError, match="swapped in as"):
        ran()


def test_pages_in_swap_at_the_source_delay_the_phase() -> None:
    rich, poor = ran(), ran(host={"memory": {"size": "8MiB"}})
    waits = poor.memory.vms[0].waits[MIGRATION]
    assert waits.fetched > 500
    assert poor.env.now_ns > rich.env.now_ns


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"migration": None}, "without migration.postcopy_ram"),
        ({"migration": {"bandwidth": "1Gbit/s"}}, "without migration.postcopy_ram"),
        ({"vm": VM | {"dirty_tracking": "tcg"}}, "dirty_tracking = 'tcg'"),
        ({"vm": VM | {"mmu": {"page_size": "2MiB"}}}, "vm.mmu.page_size"),
        ({"migration": MIGRATION_KEYS | {"host_page": "2MiB"}}, "migration.host_page"),
        ({"ageing": {"policy": "mglru"}}, "ageing.policy"),
        ({"destination": {"memory": {"size": "8MiB", "swap_size": "1MiB"}}}, "destination.memory.size"),
        ({"destination": {"memory": {"size": "64MiB", "swap": "none", "swap_size": "1MiB"}}}, "memory.swap_size"),
    ],
)
def test_what_does_not_go_together_is_refused(tables: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words.replace(".", r"\.")):
        scenario(**tables)


def test_only_a_destination_without_memory_is_warned_of() -> None:
    ageing = {"policy": "idle"}
    assert not warnings_of(scenario(ageing=ageing))
    (warning,) = warnings_of(scenario(ageing=ageing, destination=None))
    assert warning.startswith("after the switch to post-copy the destination neither swaps nor ages memory")


def test_a_scenario_is_told_again() -> None:
    one = scenario(destination={"memory": {"size": "16MiB", "swap": "none"}})
    assert "swap_size" not in one.resolved()["destination"]["memory"]
    assert Scenario.model_validate(one.resolved()).resolved() == one.resolved()
