from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.qemu import send
from hostsim.qemu.send import LINK_FREE_PS, N_STATE, T_NS, SendCosts

bitmaps = st.lists(st.booleans(), min_size=1, max_size=60).filter(any)


def words_of(bits: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    padded = np.zeros(-(-len(bits) // 8) * 8, np.uint8)
    padded[: len(bits)] = bits
    return padded[: len(bits)], padded.view(np.int64)


@given(bitmaps, st.data())
def test_next_dirty_is_cyclic(bits: list[bool], data: st.DataObject) -> None:
    cursor = data.draw(st.integers(0, len(bits)))
    dirty = np.flatnonzero(bits)
    later = dirty[dirty >= cursor]
    assert send.next_dirty(*words_of(bits), cursor) == (later[0] if len(later) else dirty[0])


def queued(writes: list[tuple[int, int]], bytes_per_s: int, buffer_bytes: int) -> list[Fraction]:
    """When each write() returns: a queue of bytes that drains evenly, in exact time [ns]."""
    empty_at, returns = Fraction(0), []
    for gap_ns, n_bytes in writes:
        now = (returns[-1] if returns else Fraction(0)) + gap_ns
        empty_at = max(empty_at, now) + Fraction(n_bytes * 10**9, bytes_per_s)
        returns.append(max(now, empty_at - Fraction(buffer_bytes * 10**9, bytes_per_s)))
    return returns


sizes = st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(1, 5000)), min_size=1, max_size=20)


@given(sizes, st.sampled_from([10**6, 4_000_000, 10**9]), st.integers(0, 20_000))
def test_the_socket_is_a_queue_that_drains_evenly(writes: list[tuple[int, int]], rate: int, buffer_bytes: int) -> None:
    costs = SendCosts(1, 0, 1, rate, buffer_bytes * send.PS_PER_S // rate)
    state = np.zeros(N_STATE, np.int64)
    for (gap_ns, n_bytes), exact in zip(writes, queued(writes, rate, buffer_bytes), strict=True):
        state[T_NS] += gap_ns
        send.write_to_link(state, costs, n_bytes)
        assert 0 <= state[T_NS] - exact < len(writes)  # each write returns at a whole nanosecond


def test_no_link_takes_no_time() -> None:
    state = np.zeros(N_STATE, np.int64)
    send.write_to_link(state, SendCosts(1, 0, 1, 0, 0), 10**9)
    assert (state[T_NS], state[LINK_FREE_PS]) == (0, 0)


@pytest.mark.parametrize(("free_ps", "buffer_ps", "expected"), [(5_000, 0, 5), (5_001, 0, 6), (5_001, 3_000, 3), (0, 0, 2)])
def test_a_write_returns_when_all_but_a_buffer_has_left(free_ps: int, buffer_ps: int, expected: int) -> None:
    assert send.written_at(free_ps, 2, buffer_ps) == expected


def test_flushed_bytes_count() -> None:
    state = np.zeros(N_STATE, np.int64)
    state[send.BUFFERED_BYTES], state[send.BUFFERED_PAGES], state[send.USED_BYTES] = 70, 3, 5
    send.flush(state)
    assert (state[send.USED_BYTES], state[send.BUFFERED_BYTES], state[send.BUFFERED_PAGES]) == (75, 0, 0)
