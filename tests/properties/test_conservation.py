"""Quantities that every migration conserves, on any machine (O32, O34)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.machine.machine import Machine
from hostsim.qemu.migration import Migration
from tests.twins.configs import RANDOM, SWEPT, drawn_spec

seeds = st.integers(0, 1 << 30)


def migrated(seed: int, patterns: tuple[str, ...]) -> Migration:
    machine = Machine(drawn_spec(seed, patterns), log_capacity=1 << 15)
    machine.run()
    return machine.migration


@pytest.mark.parametrize("patterns", [SWEPT, RANDOM], ids=["swept", "drawn"])
@given(seed=seeds)
def test_pages_are_conserved(patterns: tuple[str, ...], seed: int) -> None:
    """Sent and waiting pages are all pages of the VM once, and what became dirty again."""
    m = migrated(seed, patterns)
    dirtied = sum(point.newly_dirty_pages for point in m.recorder.syncs)
    waiting = int(m.ram.bmap.sum())
    if m.state.dirty_sync_count == len(m.recorder.syncs) > 0:  # no sync was under way at the end
        assert m.ram.normal_pages + m.ram.zero_pages + waiting == len(m.ram.bmap) + dirtied
    assert waiting * 4096 == m.ram.remaining_bytes


@pytest.mark.parametrize("patterns", [SWEPT, RANDOM], ids=["swept", "drawn"])
@given(seed=seeds)
def test_the_stream_is_its_parts(patterns: tuple[str, ...], seed: int) -> None:
    m = migrated(seed, patterns)
    pages = m.ram.normal_pages * 4104 + m.ram.zero_pages * 9
    assert m.ram.sent_bytes - pages >= 0
    log = m.ram.send_log[: m.ram.normal_pages + m.ram.zero_pages]
    assert int(log[:, 2].sum()) == m.ram.zero_pages
    assert all(a <= b for a, b in pairwise(log[:, 0].tolist()))


@given(seed=seeds)
def test_reported_throughput_is_bytes_over_time(seed: int) -> None:
    m = migrated(seed, SWEPT)
    answer = m.counters()
    if answer.status == "completed":
        ms = max(1, answer.total_time_ms - answer.setup_time_ms)
        all_bytes = m.ram.sent_bytes + m.ram.section_bytes
        assert answer.mbps == pytest.approx(all_bytes * 8 / ms / 1000)
        assert answer.downtime_ms <= answer.total_time_ms


@given(seed=seeds)
def test_series_grow(seed: int) -> None:
    samples = migrated(seed, RANDOM).recorder.samples
    for earlier, later in pairwise(samples):
        assert earlier.t_ns <= later.t_ns
        assert earlier.work_ns <= later.work_ns
        assert earlier.transferred_bytes <= later.transferred_bytes
        assert earlier.dirty_sync_count <= later.dirty_sync_count
