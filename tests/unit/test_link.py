from __future__ import annotations

import numpy as np
import pytest

from hostsim.host.clock import Clock
from hostsim.host.link import Link, LinkSpec
from hostsim.kernels.send import LINK_FREE_PS, N_STATE


def link_at(free_ps: int, spec: LinkSpec) -> tuple[Clock, Link]:
    env, state = Clock(), np.zeros(N_STATE, np.int64)
    state[LINK_FREE_PS] = free_ps
    return env, Link(env, spec, state)


def test_a_socket_buffer_is_a_time() -> None:
    assert LinkSpec(1_000_000, 0, 4096).socket_buffer_ps == 4096 * 10**6
    assert LinkSpec(0, 0, 4096).socket_buffer_ps == 0


def test_backlog_drains_at_the_bandwidth() -> None:
    env, link = link_at(5_000_000, LinkSpec(10**9, 0, 0))
    assert link.backlog_bytes == 5000
    env.run(until=2000)
    assert link.backlog_bytes == 3000
    env.run(until=9000)
    assert link.backlog_bytes == 0


@pytest.mark.parametrize(("free_ps", "latency_ns", "expected"), [(0, 70, 70), (5_001, 70, 76), (100_000, 0, 100)])
def test_bytes_are_delivered_once_drained_and_over_the_way(free_ps: int, latency_ns: int, expected: int) -> None:
    env, link = link_at(free_ps, LinkSpec(10**9, latency_ns, 0))
    env.run(until=env.process(link.delivered()))
    assert env.now == expected
