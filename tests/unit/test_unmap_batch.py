"""Flushes of the host's TLBs for pages that reclaim unmaps: at once for a dirty pte, once a batch for clean ones."""

from __future__ import annotations

from collections.abc import Generator
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hostsim.kvm.notifier_plan import notifier_plan
from hostsim.kvm.spec import MmuSpec
from hostsim.memory.pages import VmPages
from hostsim.memory.unmap_batch import UnmapBatch
from tests.helpers.host_memory import host, pages_of, touches


def flushes_of(dirty: list[bool], *, batches: bool) -> list[int]:
    """Pages unmapped so far at each flush."""
    unmapped, found = 0, []

    def shootdown() -> Generator[Any, Any, None]:
        found.append(unmapped)
        yield from ()

    plan, flush = SimpleNamespace(batches=batches), SimpleNamespace(shootdown=shootdown)
    pages = SimpleNamespace(
        pte_dirty=np.array(dirty, np.uint8), notifier=SimpleNamespace(plan=plan), vm=SimpleNamespace(flush=flush)
    )
    batch = UnmapBatch(cast("VmPages", pages))
    for page in range(len(dirty)):
        unmapped += 1
        assert not list(batch.unmapped(page))
    list(batch.flush())
    assert not pages.pte_dirty.any()
    return found


@given(dirty=st.lists(st.booleans(), max_size=32))
def test_a_dirty_pte_is_flushed_at_once_and_clean_ones_once(dirty: list[bool]) -> None:
    expected = [at + 1 for at, is_dirty in enumerate(dirty) if is_dirty]
    if dirty and not dirty[-1]:
        expected.append(len(dirty))
    assert flushes_of(dirty, batches=True) == expected


@given(dirty=st.lists(st.booleans(), max_size=32))
def test_early_kernels_flush_for_each_page(dirty: list[bool]) -> None:
    assert flushes_of(dirty, batches=False) == list(range(1, len(dirty) + 1))


def test_reclaim_batches_since_4_3() -> None:
    assert not notifier_plan(MmuSpec(era="E1")).batches
    assert notifier_plan(MmuSpec(era="E2")).batches


def test_pages_that_are_written_cost_an_interrupt_each_and_read_pages_do_not() -> None:
    shootdowns = {}
    for name, rates in {"written": (50_000, 0), "read": (0, 50_000)}.items():
        machine = host(400, 512, 512, touches("uniform", 512, *rates), swap="zram")
        machine.env.run(until=50_000_000)
        pages = pages_of(machine)
        assert pages.counts["swapped_out"] > 500
        shootdowns[name] = machine.vm.flush.shootdowns / pages.counts["swapped_out"]
    assert shootdowns["written"] == 1.0
    assert shootdowns["read"] < 0.7
