"""Checks at a sync cover the pages that the guest may write; the check at the switchover covers all memory."""

from __future__ import annotations

import pytest

from hostsim import Scenario
from hostsim.core.errors import InvariantError
from hostsim.machine.machine import Machine
from hostsim.scenario.build import build

MIB_PAGES = 256
LOADS = [
    {"name": "a", "pattern": "uniform", "at": "8MiB", "size": "4MiB", "write_rate": "1000/s"},
    {"name": "b", "pattern": "sequential", "at": "10MiB", "size": "8MiB", "write_rate": "1000/s"},
    {"name": "c", "pattern": "uniform", "at": "40MiB", "size": "1MiB", "write_rate": "1000/s"},
    {"name": "d", "pattern": "uniform", "at": "50MiB", "size": "4MiB", "read_rate": "1000/s"},
]


def machine() -> Machine:
    link, vm = {"bandwidth": "100Mbit/s"}, {"memory": "64MiB", "workload": LOADS}
    return Machine(build(Scenario.model_validate({"vm": vm, "link": link, "migration": {}})))


def spoilt(gfn: int) -> Machine:
    """A migration whose copy of ``gfn`` grows old after the first pass without a record."""
    one = machine()

    def spoil() -> None:
        assert one.migration is not None
        one.migration.ram.copied[gfn] += 1

    one.env.timeout(6 * 10**9).callbacks.append(lambda _: spoil())
    return one


def test_spans_are_the_regions_that_are_written() -> None:
    assert machine().tracker.spans() == ((8 * MIB_PAGES, 18 * MIB_PAGES), (40 * MIB_PAGES, 41 * MIB_PAGES))


def test_an_old_copy_outside_of_the_spans_is_found_at_the_switchover() -> None:
    one = spoilt(20 * MIB_PAGES)
    with pytest.raises(InvariantError, match=f"gfn {20 * MIB_PAGES}: the destination"):
        one.run()


def test_a_guest_that_writes_nothing_has_no_spans() -> None:
    vm = {"memory": "64MiB", "workload": LOADS[3:]}
    one = Machine(build(Scenario.model_validate({"vm": vm, "link": {"bandwidth": "1Gbit/s"}, "migration": {}})))
    assert one.tracker.spans() == ()
    one.run()
    assert one.migration is not None
    assert one.migration.state.status == "completed"
