from __future__ import annotations

import heapq

import numpy as np
import pytest

from hostsim.theory import queues
from hostsim.theory.kvm_counts import faults_of_touches, full_buffer_exits, hidden_faults, table_count, tables_by_level


def test_waits_by_hand() -> None:
    assert queues.mg1_wait(0.5, 1.0, 1.0) == 0.5
    assert queues.mm1_wait(0.5, 1.0) == 1.0
    assert queues.md1_wait(0.5, 1.0) == queues.mm1_wait(0.5, 1.0) / 2
    with pytest.raises(AssertionError, match="without bound"):
        queues.md1_wait(1.0, 1.0)


def test_a_closed_queue_by_hand() -> None:
    """Two requesters, Z = S = 1: R(1) = 1, Q(1) = 1/2, R(2) = 3/2."""
    assert queues.closed_response(1, 1.0, 1.0) == 1.0
    assert queues.closed_response(2, 1.0, 1.0) == 1.5
    assert queues.closed_throughput(2, 1.0, 1.0) == 0.8
    assert [queues.closed_throughput_bound(n, 1.0, 1.0) for n in (1, 2, 3)] == [0.5, 1.0, 1.0]


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_a_closed_queue_against_its_balance_equations(n: int) -> None:
    """Birth and death chain of those at the server: rate (n - k) / Z up, 1 / S down."""
    think, service = 7.0, 2.0
    weights = np.cumprod([1.0, *((n - k) * service / think for k in range(n))])
    busy = 1.0 - weights[0] / weights.sum()
    assert queues.closed_throughput(n, think, service) == pytest.approx(busy / service)


@pytest.mark.parametrize("inside", [(), (0.0, 0.0), (1.0,), (0.2,) * 8, (0.1, 0.5, 0.9)])
def test_the_longest_residual_against_draws(inside: tuple[float, ...]) -> None:
    rng = np.random.default_rng(3)
    residual = np.where(rng.random((200_000, len(inside))) < inside, rng.random((200_000, len(inside))), 0.0)
    longest = residual.max(axis=1, initial=0.0)
    assert queues.longest_residual_mean(5.0, inside) == pytest.approx(5.0 * longest.mean(), abs=5 * 5.0 / 200_000**0.5)


@pytest.mark.parametrize(("n", "p"), [(1, 0.3), (8, 0.2)])
def test_the_longest_residual_of_equal_readers(n: int, p: float) -> None:
    expected = 1.0 - (1.0 - (1.0 - p) ** (n + 1)) / ((n + 1) * p)
    assert queues.longest_residual_mean(1.0, (p,) * n) == pytest.approx(expected)


def test_constant_times_reach_the_bound() -> None:
    """A plain event loop: 5 requesters, Z = 10, S = 3."""
    free_at, done, ready = 0, 0, [(0, i) for i in range(5)]
    while done < 5000:
        at, who = heapq.heappop(ready)
        free_at = max(free_at, at) + 3
        done += 1
        heapq.heappush(ready, (free_at + 10, who))
    assert done / free_at == pytest.approx(queues.closed_throughput_bound(5, 10, 3), rel=2e-3)


@pytest.mark.parametrize(
    ("first", "pages", "by_level"),
    [(0, 1, [1, 1, 1, 1]), (0, 512, [1, 1, 1, 1]), (511, 2, [2, 1, 1, 1]), (0, 262_144, [512, 1, 1, 1]),
     (262_143, 2, [2, 2, 1, 1]), (5, 262_144, [513, 2, 1, 1]), ((1 << 27) - 1, 2, [2, 2, 2, 1])],
)  # fmt: skip
def test_tables_of_a_region(first: int, pages: int, by_level: list[int]) -> None:
    assert list(tables_by_level(np.arange(first, first + pages))) == by_level
    assert table_count(first, pages) == sum(by_level)


def test_tables_of_scattered_pages_and_of_none() -> None:
    assert list(tables_by_level([0, 1 << 9, 1 << 18, 1 << 27])) == [4, 3, 2, 1]
    assert table_count(0, 0) == 1
    assert table_count(0, 512, levels=2) == 2
    with pytest.raises(AssertionError, match="root"):
        table_count(1 << 36, 1)


def test_counts_of_full_logs_and_hidden_faults() -> None:
    assert [full_buffer_exits(pages, 512) for pages in (0, 511, 512, 1024)] == [0, 0, 1, 2]
    assert [hidden_faults(pages, 8) for pages in (1, 8, 9)] == [1, 1, 2]
    assert faults_of_touches([0, 7, 8, 3, 15, 16]) == 3
    assert faults_of_touches([5, 1], prefetched=1) == 2
