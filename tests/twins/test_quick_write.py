"""A page written in one step changes the connection as ``tcp.write`` does, and each broken step is found."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from types import FunctionType

import numpy as np
import pytest
from numpy.typing import NDArray

from hostsim.qemu import quick_write, tcp, tcp_row
from hostsim.qemu.link import LinkSpec
from tests.tidy.source import report
from tests.twins.connections import plain_module

DRAWS = 20_000
GBIT10 = 1_250_000_000
PAGE = tcp_row.PIECE_BYTES
Step = Callable[..., int]
MUTATIONS = {
    "nothing": ("", ""),
    "a write may come after the tick": ("t_ns * 1000 < end_ps and", ""),
    "the link may be busy for longer": ("free_ps < end_ps + path.tick_ps <=", "end_ps + path.tick_ps <="),
    "two pages may go": ("end_ps + path.tick_ps <= free_ps + path.piece_ps", "end_ps + path.tick_ps"),
    "any bytes may be acknowledged": ("(RING - 1))] == PIECE_BYTES", "(RING - 1))] >= 0"),
    "the buffer need not be full": ("path.send_buffer_bytes - PIECE_BYTES < row", "0 < row"),
    "the receive window may be full": ("        and row[IN_FLIGHT] <= path.window_bytes\n", ""),
    "the window may be full": ("row[LIMITED] == 0 and out < cwnd", "row[LIMITED] == 0"),
    "the window may have been full": ("row[LIMITED] == 0 and", ""),
    "more may be in flight than ever": ("out <= row[MAX_OUT] and", ""),
    "the window may grow": ("min(ssthresh, 2 * row[MAX_OUT]) <= cwnd", "cwnd > 0"),
    "an unused window stays": ("row[STAMP_PS] < path.rto_ps", "row[STAMP_PS] > 0"),
    "the page comes a tick late": ("tick + path.ticks +", "tick + path.ticks + 1 +"),
    "the page comes in its own tick": ("(1 if free_ps > now_ps + path.tick_ps else 0)", "0"),
    "use is not remembered": ("    row[USED] = max(row[USED], out)\n", ""),
    "a round trip has no end": ("row[ACKED] >= row[USAGE_END]", "row[ACKED] < 0"),
    "the writer goes on at once": ("max(t_ns, int(-(-now_ps // 1000)))", "t_ns"),
}  # fmt: skip


def step_of(old: str, new: str) -> Step:
    return plain_module(quick_write, old, new)["write_to_full"]  # type: ignore[no-any-return]


def drawn_path(rng: Random) -> tcp_row.Path:
    """A round trip of 50 to 80 times the time of a page, so that a tick takes about as long as one."""
    rate = rng.choice((GBIT10, GBIT10 // 10))
    latency_ns = round(rng.uniform(25, 40) * tcp_row.PIECE_BYTES * 1_000_000_000 / rate)
    return LinkSpec(rate, latency_ns, 300_000, rng.choice((150_000, 3 << 20)), slow_start_after_idle=rng.random() < 0.8).path


def drawn_row(rng: Random, path: tcp_row.Path) -> NDArray[np.int64]:
    """A connection whose columns lie at the edges of the conditions of a step, some on this side and some on that."""
    row = np.zeros(tcp_row.N_ROW, np.int64)
    row[tcp_row.TICK], row[tcp_row.ACKED] = rng.randrange(10**6), rng.randrange(10**9)
    end_ps, out = (int(row[tcp_row.TICK]) + 1) * path.tick_ps, rng.choice((100, 180)) * 1000 + rng.randrange(3)
    acknowledged = rng.choice((*[PAGE] * 8, PAGE - 1, 2 * PAGE, 0))
    row[tcp_row.ACKS + ((int(row[tcp_row.TICK]) + 1) & (tcp_row.RING - 1))] = acknowledged
    row[tcp_row.ACKS + ((int(row[tcp_row.TICK]) + 3) & (tcp_row.RING - 1))] = out - acknowledged
    row[tcp_row.IN_FLIGHT] = out
    row[tcp_row.UNSENT] = path.send_buffer_bytes - out - rng.choice((0, 0, 1, PAGE - 1, PAGE, 3 * PAGE))
    row[tcp_row.FREE_PS] = end_ps + rng.choice((0, -1, *[path.tick_ps // 2] * 2, path.tick_ps - path.piece_ps, path.tick_ps))
    row[tcp_row.CWND] = out + rng.choice((0, 1, PAGE, 100_000))
    row[tcp_row.SSTHRESH] = rng.choice((out // 2, row[tcp_row.CWND], row[tcp_row.CWND] + 1, tcp_row.UNBOUNDED))
    row[tcp_row.MAX_OUT] = out + rng.choice((-1, 0, 1, -out // 2, out))
    row[tcp_row.LIMITED] = rng.random() < 0.2
    row[tcp_row.USAGE_END] = row[tcp_row.ACKED] + rng.choice((0, PAGE, PAGE + 1, out))
    row[tcp_row.USED] = rng.choice((0, out - 1, out + 1))
    row[tcp_row.STAMP_PS] = end_ps - rng.choice((0, path.rto_ps - 1, path.rto_ps))
    return row


def first_difference(step: Step, draws: int) -> tuple[str, int]:
    """("" if a step changes drawn connections as ``tcp.write`` does, number of the steps)."""
    rng, taken = Random(1), 0
    for i in range(draws):
        path = drawn_path(rng)
        row = drawn_row(rng, path)
        t_ns = (int(row[tcp_row.TICK]) + 1) * path.tick_ps // 1000 - rng.choice((-10_000, 0, 1, 1000))
        before, whole = row.copy(), row.copy()
        wanted_ns, returned_ns = int(tcp.write(whole, path, t_ns, PAGE)), step(row, path, t_ns)
        if returned_ns == quick_write.NOT_FULL:
            wanted_ns, whole = quick_write.NOT_FULL, before
        else:
            taken += 1
        if returned_ns != wanted_ns or (row != whole).any():
            return f"draw {i}: {returned_ns} ns, not {wanted_ns}, other columns {np.flatnonzero(row != whole)}", taken
    return "", taken


def test_a_step_does_what_a_write_does() -> None:
    found, taken = first_difference(step_of("", ""), DRAWS)
    report([found] if found else [])
    assert taken > DRAWS / 100


@pytest.mark.parametrize("name", [name for name in MUTATIONS if name != "nothing"])
def test_a_broken_step_is_caught(name: str) -> None:
    assert first_difference(step_of(*MUTATIONS[name]), DRAWS)[0]


def test_nearly_all_pages_of_a_stream_that_the_link_holds_back_take_a_step() -> None:
    path, step, t_ns, taken = LinkSpec(GBIT10, 100_000, 2_621_440).path, step_of("", ""), 0, 0
    row = np.zeros(tcp_row.N_ROW, np.int64)
    tcp_row.connect(row, path)
    for _ in range(30_000):
        done_ns = step(row, path, t_ns + 300)
        taken += done_ns != quick_write.NOT_FULL
        t_ns = int(tcp.write(row, path, t_ns + 300, PAGE)) if done_ns == quick_write.NOT_FULL else done_ns
    assert taken > 0.9 * 30_000


# -- a page that leaves at once

LEAVING = {
    "nothing": ("", ""),
    "bytes may wait before it": ("row[UNSENT] > 0 or", ""),
    "the link may be busy until the next tick": ("or free_ps >= end_ps", ""),
    "an idle connection goes on as it was": ("is_idle or is_blocked", "is_blocked"),
    "the congestion window is no bound": ("min(row[CWND], path.window_bytes)", "path.window_bytes"),
    "buffer and receive window are no bound": ("min(row[CWND], path.window_bytes)", "row[CWND]"),
    "the page comes in the tick of its writing": ("(1 if free_ps > end_ps else 0)", "0"),
    "the page takes no time": ("free_ps += path.piece_ps", "free_ps += 0"),
    "the use of the window is not looked at": ("    validate(row, path, now_ps)\n", ""),
}  # fmt: skip


def drawn_open_row(rng: Random, path: tcp_row.Path) -> NDArray[np.int64]:
    """A connection with room, or just none, for another page."""
    row = np.zeros(tcp_row.N_ROW, np.int64)
    row[tcp_row.TICK], row[tcp_row.ACKED] = rng.randrange(100, 10**6), rng.randrange(10**9)
    out = rng.choice((0, PAGE, *[rng.choice((100, 140)) * 1000 + rng.randrange(3)] * 6))
    row[tcp_row.ACKS + ((int(row[tcp_row.TICK]) + 3) & (tcp_row.RING - 1))] = out
    row[tcp_row.IN_FLIGHT], row[tcp_row.UNSENT] = out, rng.choice((*[0] * 6, 1))
    end_ps = (int(row[tcp_row.TICK]) + 1) * path.tick_ps
    row[tcp_row.FREE_PS] = end_ps - rng.choice((path.tick_ps, path.piece_ps, path.piece_ps // 2, 1, 0, -1, 2 * path.rto_ps))
    row[tcp_row.CWND] = out + rng.choice((PAGE - 1, PAGE, PAGE + 1, 10**6, 10**6))
    row[tcp_row.SSTHRESH] = rng.choice((out // 2, row[tcp_row.CWND] + 1, tcp_row.UNBOUNDED))
    row[tcp_row.MAX_OUT] = out + rng.choice((-1, 0, PAGE, out))
    row[tcp_row.LIMITED] = rng.random() < 0.2
    row[tcp_row.USAGE_END] = row[tcp_row.ACKED] + rng.choice((0, PAGE, out))
    row[tcp_row.USED], row[tcp_row.STAMP_PS] = rng.choice((0, out)), end_ps - rng.choice((0, path.rto_ps, 2 * path.rto_ps))
    return row


def drawn_open_path(rng: Random, out: int) -> tcp_row.Path:
    """As ``drawn_path``; send buffer and receive window end about a page above ``out``, or far above."""
    buffer_bytes, window_bytes = (rng.choice((out + PAGE - 1, out + PAGE, 10**7, 10**7)) for _ in range(2))
    return LinkSpec(GBIT10, 200_000, buffer_bytes, window_bytes, slow_start_after_idle=rng.random() < 0.8).path


def first_other_way(leaves: Callable[..., bool], draws: int) -> tuple[str, int]:
    """("" if a page that leaves at once changes the row as ``tcp.write`` does, number of such pages)."""
    rng, taken = Random(2), 0
    for i in range(draws):
        path = drawn_open_path(rng, 100_000)
        row = drawn_open_row(rng, path)
        begin_ns = int(row[tcp_row.TICK]) * path.tick_ps // 1000
        t_ns = begin_ns + rng.choice((-10_000, 0, 1, path.tick_ps // 2000, path.tick_ps // 1000, path.tick_ps // 1000 + 1))
        before, whole = row.copy(), row.copy()
        wanted_ns, left = int(tcp.write(whole, path, t_ns, PAGE)), leaves(row, path, t_ns, PAGE)
        taken += left
        if (left and wanted_ns != t_ns) or (row != (whole if left else before)).any():
            return f"draw {i}: until {wanted_ns} ns, not {t_ns}, other columns {np.flatnonzero(row != whole)}", taken
    return "", taken


def leaves_of(old: str, new: str) -> Callable[..., bool]:
    names = plain_module(quick_write, old, new) | {"validate": plain_module(tcp_row)["validate"]}
    return FunctionType(names["leaves_at_once"].__code__, names)


def test_a_page_that_leaves_at_once_does_what_a_write_does() -> None:
    found, taken = first_other_way(leaves_of("", ""), DRAWS)
    report([found] if found else [])
    assert taken > DRAWS / 20


@pytest.mark.parametrize("name", [name for name in LEAVING if name != "nothing"])
def test_a_page_that_leaves_wrongly_is_caught(name: str) -> None:
    assert first_other_way(leaves_of(*LEAVING[name]), DRAWS)[0]
