from __future__ import annotations

import numpy as np
import pytest

from hostsim.core.clock import Clock
from hostsim.qemu import tcp_row
from hostsim.qemu.link import Link, LinkSpec


class Ends:
    """One connection whose bytes have left the host at ``free_ps``."""

    def __init__(self, free_ps: int) -> None:
        self.free_ps, self.connections = free_ps, np.zeros((1, tcp_row.N_ROW), np.int64)

    def drained_ps(self) -> int:
        return self.free_ps

    def delivered(self) -> tuple[int, int]:
        raise AssertionError("asked of a link without faults")


def link_at(free_ps: int, spec: LinkSpec) -> tuple[Clock, Link]:
    env = Clock()
    return env, Link(env, spec, Ends(free_ps))


def test_a_socket_buffer_is_a_time() -> None:
    assert LinkSpec(1_000_000, 0, 4096).socket_buffer_ps == 4096 * 10**6
    assert LinkSpec(0, 0, 4096).socket_buffer_ps == 0


@pytest.mark.parametrize(("free_ps", "latency_ns", "expected"), [(0, 70, 140), (5_001, 70, 146), (100_000, 0, 100)])
def test_an_answer_comes_once_all_is_drained_and_the_way_is_gone_twice(
    free_ps: int, latency_ns: int, expected: int
) -> None:
    env, link = link_at(free_ps, LinkSpec(10**9, latency_ns, 0))
    env.run(until=env.process(link.answered()))
    assert env.now == expected
