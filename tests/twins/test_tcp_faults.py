"""A connection whose packets are dropped gives the integers of its twin, and each broken one is found out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from random import Random

import numpy as np
import pytest

from hostsim.core.rng import stream_key
from hostsim.qemu import tcp, tcp_row
from hostsim.qemu.link import Drops, LinkSpec, Outage
from tests.tidy.source import report
from tests.twins.connections import drawn_writes, plain
from tests.twins.tcp_faults import TwinFaultyTcp

MS = 1_000_000
SEEDS = 30
Facts = tuple[int, ...]
DROPS: tuple[Drops, ...] = ("both", "both", "to-destination", "to-source")
MUTATIONS = {
    "the timer does not double": ("path.faults.rto_ps << min(row[BACKOFF], 20)", "path.faults.rto_ps"),
    "a timeout keeps the window": ("row[MODE], row[CWND] = LOSS, path.faults.segment", "row[MODE] = LOSS"),
    "cubic cuts to a half": ("BETA, BETA_SCALE = 717", "BETA, BETA_SCALE = 512"),
    "a second cut in a recovery": ("    if row[MODE] == OPEN:\n        _cut_window(row, path)\n        row[CWND], row[MODE]",
                                   "    if True:\n        _cut_window(row, path)\n        row[CWND], row[MODE]"),
    "no curve after a loss": ("elif rest > 0:", "elif rest > 1 << 60:"),
    "no window as large as Reno's": ("    if ahead > 0:", "    if ahead > 1 << 60:"),
    "bytes beyond a gap leave the buffer": (
        "row[UNSENT] + row[HELD] > path.send_buffer_bytes", "row[UNSENT] > path.send_buffer_bytes"
    ),
    "no tail loss probe": ("probe = _probe_tick(row, path) if row[LOST] > 0 else 0", "probe = 0"),
    "acknowledgements are never dropped": ("is_down(path.faults, now_ps, TO_SOURCE):", "False:"),
    "what is lost is found at once": ("row[TICK] > row[LOST_TICK] + path.ticks:", "row[TICK] > 0:"),
    "the timer is not set anew": ("row[TIMER_PS] = now_ps + path.faults.rto_ps if row[IN_FLIGHT] > 0 else 0", "pass"),
}  # fmt: skip


def drawn_spec(rng: Random) -> LinkSpec:
    """A round trip of 2 ms and more: the twin looks at each tick."""
    starts = sorted(rng.sample(range(1, 60), rng.choice((0, 1, 2))))
    outages = tuple(Outage(start * 50 * MS + 7, rng.choice((MS, 8 * MS, 49 * MS)), rng.choice(DROPS)) for start in starts)
    if rng.random() < 0.3:
        outages = (*outages, Outage(3_200 * MS, rng.choice((300, 1_500)) * MS, rng.choice(DROPS)))
    return LinkSpec(
        rng.choice((0, MS, 10**7, 10**7, 10**8)), rng.choice((MS, 5 * MS, 20 * MS)),
        rng.choice((20_000, 65_536, 1 << 20)), rng.choice((65_536, 3 << 20)), rng.choice((576, 1500)), rng.random() < 0.8,
        outages, rng.choice((0.0, 0.0, 0.001, 0.01, 0.05)) if outages else rng.choice((0.001, 0.02)),
        stream_key(rng.randrange(999), "loss"),
    )  # fmt: skip


def drawn_run(seed: int) -> tuple[LinkSpec, list[tuple[int, int]]]:
    rng = Random(seed)
    spec = drawn_spec(rng)
    return spec, [one for _ in range(4) for one in drawn_writes(rng)]


COLUMNS = (
    tcp_row.CWND, tcp_row.IN_FLIGHT, tcp_row.UNSENT, tcp_row.HELD, tcp_row.SSTHRESH, tcp_row.TIMEOUTS, tcp_row.RETRANSMITTED,
    tcp_row.LOSSES,
)  # fmt: skip


def engine_facts(seed: int, write: Callable[..., int] = tcp.write) -> Iterator[Facts]:
    """After each write: when it returned, window, bytes in flight and waiting, threshold, expiries, bytes sent again."""
    spec, writes = drawn_run(seed)
    row, t_ns = np.zeros(tcp_row.N_ROW, np.int64), 0
    tcp_row.connect(row, spec.path)
    for gap_ns, n_bytes in writes:
        t_ns = int(write(row, spec.path, t_ns + gap_ns, n_bytes))
        yield (t_ns, *(int(row[column]) for column in COLUMNS))


@cache
def twin_facts(seed: int) -> list[Facts]:
    spec, writes = drawn_run(seed)
    twin, t_ns, facts = TwinFaultyTcp(spec), 0, []
    for gap_ns, n_bytes in writes:
        returned = twin.write(t_ns + gap_ns, n_bytes)
        assert returned is not None
        t_ns = returned
        facts.append((t_ns, twin.cwnd, twin.out, twin.waiting, twin.beyond_gap, twin.ssthresh, twin.all_expiries, twin.again,
                      twin.losses))  # fmt: skip
    return facts


def first_difference(seed: int, write: Callable[..., int] = tcp.write) -> str:
    for i, (engine, twin) in enumerate(zip(engine_facts(seed, write), twin_facts(seed), strict=True)):
        if engine != twin:
            return f"connection {seed}, write {i}: engine {engine}, twin {twin}"
    return ""


def test_a_connection_with_faults_equals_its_twin() -> None:
    report([text for seed in range(SEEDS) if (text := first_difference(seed))])


@pytest.mark.swarm
def test_many_connections_with_faults_equal_their_twins() -> None:
    report([text for seed in range(1_000, 3_000) if (text := first_difference(seed))])


def test_drawn_connections_meet_every_fault() -> None:
    ends = [twin_facts(seed)[-1] for seed in range(SEEDS)]
    assert sum(end[6] > 0 for end in ends) > 5
    assert sum(end[8] > 0 for end in ends) > 5
    assert sum(end[7] > 0 for end in ends) > 10


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_connection_is_caught(name: str) -> None:
    broken = plain(*MUTATIONS[name])
    assert any(first_difference(seed, broken) for seed in range(SEEDS))


def test_an_outage_that_never_comes_changes_nothing() -> None:
    """Path with and without faults: the loops agree where no packet is dropped."""
    for seed in range(20):
        rng = Random(seed)
        spec = replace(drawn_spec(rng), outages=(), loss=0.0)
        far = replace(spec, outages=(Outage(10**15, 1),))
        rows = [np.zeros(tcp_row.N_ROW, np.int64) for _ in range(2)]
        for row, one in zip(rows, (spec, far), strict=True):
            tcp_row.connect(row, one.path)
        t_ns = 0
        for gap_ns, n_bytes in drawn_writes(rng):
            first = int(tcp.write(rows[0], spec.path, t_ns + gap_ns, n_bytes))
            assert first == int(tcp.write(rows[1], far.path, t_ns + gap_ns, n_bytes))
            assert (rows[0][: tcp_row.LOST] == rows[1][: tcp_row.LOST]).all()
            t_ns = first
