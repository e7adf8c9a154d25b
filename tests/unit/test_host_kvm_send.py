"""Sending ahead of a guest whose vCPUs exit: where the loop stops, and what it takes back."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from hostsim.core.knobs import Knobs
from hostsim.core.memory import NEVER_COPIED
from hostsim.guest.workload import Workload
from hostsim.kvm.plan import CLEAR_BITMAP_SHIFT
from hostsim.kvm.spec import MmuSpec
from hostsim.machine.machine import Machine
from hostsim.qemu import send
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import MigrationParameters
from hostsim.qemu.ram import RamState
from hostsim.qemu.send import SendLimits
from tests.helpers.live import MS, live_machine, sweep, vm_of

NEVER_NS = 1 << 62
LIMITS = SendLimits(0, 1, 0, False, NEVER_NS, 1 << 16, CLEAR_BITMAP_SHIFT, NEVER_NS - 1)


def ram_of(one: Machine) -> RamState:
    one.migration.ram.setup()
    return one.migration.ram


def migrating(*loads: Workload, **more: Any) -> Machine:
    return live_machine(*loads, migration=MigrationParameters(start_ns=1000 * MS), **more)


def call(ram: RamState, limits: SendLimits) -> tuple[int, int, int]:
    """(why the loop returned, where its cursor is, pages sent)."""
    reason = ram._call(limits, np.empty((0, 3), np.int64))
    return reason, int(ram.send_state[send.CURSOR]), ram.normal_pages + ram.zero_pages


def test_the_loop_stops_before_a_chunk_that_has_to_be_cleared() -> None:
    one = migrating(n_pages=1536)
    ram, limits = ram_of(one), LIMITS._replace(chunk_shift=9)
    one.tracker.clear_marks = np.array([0, 1, 1], np.uint8)
    assert call(ram, limits) == (send.CLEAR, 512, 512)
    assert call(ram, limits) == (send.CLEAR, 512, 512)
    one.tracker.clear_marks[1] = 0
    assert call(ram, limits) == (send.CLEAR, 1024, 1024)
    one.tracker.clear_marks[2] = 0
    assert call(ram, limits) == (send.NOTHING_DIRTY, 1536, 1536)


def test_zero_pages_that_may_be_written_are_not_sent_ahead_of_the_guest() -> None:
    """A workload writes pages below 100; 200 ns of zero pages fit before the guest's next event."""
    one = migrating(sweep(100, 1000), n_pages=1024, filled=0)
    ram = ram_of(one)
    start_ns = int(ram.send_state[send.T_NS])
    assert call(ram, LIMITS._replace(settled_ns=start_ns + 200)) == (send.UNSETTLED, 3, 3)
    assert call(ram, LIMITS._replace(settled_ns=start_ns + 450)) == (send.UNSETTLED, 5, 5)
    ram.send_state[send.CURSOR] = 100
    assert call(ram, LIMITS._replace(settled_ns=start_ns)) == (send.UNSETTLED, 5, 929)
    assert ram.normal_pages == 0


def test_a_page_that_has_content_needs_no_settling() -> None:
    ram = ram_of(migrating(sweep(100, 1000), n_pages=1024))
    assert call(ram, LIMITS._replace(settled_ns=0)) == (send.NOTHING_DIRTY, 1024, 1024)


def ringing(seed: int, knobs: Knobs | None = None) -> Machine:
    """A small ring that is full now and then while pages go out, one in 16 zero and perhaps just written."""
    loads = (
        sweep(3000, 200_000),
        Workload("random", "uniform", (0, 1), 500, 3000, Fraction(30_000), arrivals="poisson"),
    )
    one = live_machine(
        *loads, tracking="dirty-ring", n_pages=4096, zero_every=16, n_vcpus=2, mmu=MmuSpec(ring_entries=128),
        migration=MigrationParameters(max_bandwidth=0, timeout_ns=100 * MS), link=LinkSpec(50_000_000, 0, 65536),
    )  # fmt: skip
    return Machine(replace(one.spec, seed=seed), knobs, log_capacity=1 << 13)


def sends(one: Machine) -> list[list[int]]:
    one.run()
    ram = one.migration.ram
    return ram.send_log[: ram.normal_pages + ram.zero_pages].tolist()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_was_sent_ahead_of_a_full_ring_is_taken_back(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page after page, with nothing ahead of the guest, gives the same; so it does at any length of a call."""
    taken_back: list[int] = []
    take_back = RamState._take_back

    def noted(ram: RamState, before: Any) -> int:
        taken_back.append(take_back(ram, before))
        return taken_back[-1]

    monkeypatch.setattr(RamState, "_take_back", noted)
    plain = ringing(seed)
    found = sends(plain)
    assert vm_of(plain).tally().ring_full > 20
    assert max(taken_back) > 20
    for pages in (1, 100):
        assert sends(ringing(seed, Knobs(pages, 64, 0))) == found


def test_a_page_is_zero_or_not_as_it_was_when_it_was_sent_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest writes to page 0 after it has been sent, and has a full ring 5 us on: the pages sent later come back."""
    one = migrating(tracking="dirty-ring", n_pages=64)
    ram, zero = ram_of(one), one.vm.memory.zero
    start_ns = int(ram.send_state[send.T_NS])

    def write_and_fill(reached_ns: int) -> int:
        zero[0] = 0
        return min(reached_ns, start_ns + 5_000)

    zero[0] = 1
    monkeypatch.setattr(one.env, "settle", write_and_fill)
    assert ram._send(LIMITS._replace(settled_ns=start_ns)) == send.HORIZON
    assert (ram.zero_pages, ram.normal_pages) == (1, 5)
    assert np.flatnonzero(ram.bmap).tolist() == list(range(6, 64))
    assert (ram.copied == [0] * 6 + [NEVER_COPIED] * 58).all()
    assert ram.remaining_bytes == 58 * 4096
    assert ram.send_state[send.T_NS] == start_ns + 5_100
