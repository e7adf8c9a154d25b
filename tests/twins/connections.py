"""Drawn connections, written to at drawn moments: the states of the compiled one and of its twin."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from hostsim.qemu import tcp, tcp_loss, tcp_row
from hostsim.qemu.link import LinkSpec
from tests.twins.tcp import TwinTcp

Facts = tuple[int, int, int, int]
Write = Callable[..., int]
MS = 1_000_000
WIDE = 3 << 20
MUTATIONS = {
    "nothing": ("", ""),
    "no receive window": ("min(row[CWND], path.window_bytes)", "row[CWND]"),
    "an acknowledgement is a tick late": ("row[TICK] + path.ticks +", "row[TICK] + path.ticks + 1 +"),
    "what the next tick sends belongs to this one": ("+ (1 if free_ps > end_ps else 0)", "+ 0"),
    "what has left the host has left the buffer": (
        "while row[IN_FLIGHT] + row[UNSENT] > path.send", "while row[UNSENT] > path.send"
    ),
    "a window grows unused": ("else min(row[SSTHRESH], 2 * row[MAX_OUT])", "else row[SSTHRESH]"),
    "a window that is not full grows beyond slow start": ("// CUBIC_SHARE * row[LIMITED]", "// CUBIC_SHARE"),
    "cubic is twice as fast": ("CUBIC_SHARE = 20", "CUBIC_SHARE = 10"),
    "slow start never ends": ("row[SSTHRESH] == UNBOUNDED and", "row[SSTHRESH] < 0 and"),
    "full is not yet limited": ("row[IN_FLIGHT], row[IN_FLIGHT] >= row[CWND]", "row[IN_FLIGHT], row[IN_FLIGHT] > row[CWND]"),
    "use is not forgotten": ("row[ACKED] >= row[USAGE_END] or", "row[ACKED] < 0 or"),
    "an idle window stays": ("row[CWND] >> min(halvings, 62)", "row[CWND]"),
    "the first RTO halves": ("(idle_ps - 1) // path.rto_ps", "(idle_ps - 1) // path.rto_ps + 1"),
    "a restart forgets the threshold": ("        return\n    _remember_thresh(row)\n    least", "        return\n    least"),
    "an unused window stays": ("row[CWND] = (row[CWND] + used) >> 1", "row[CWND] = row[CWND]"),
    "a writer that waits loses its window": ("if out + row[UNSENT] > path.send_buffer_bytes:", "if out < 0:"),
    "half a window is remembered": ("(row[CWND] >> 1) + (row[CWND] >> 2)", "row[CWND] >> 1"),
}  # fmt: skip


DECORATORS = r"from hostsim\.compiled\.jit import ([\w, ]+)"
TCP = (tcp_row, tcp, tcp_loss)
FROM_TCP = r"from hostsim\.qemu\.tcp\w* import (?:\([^)]*\)|[^\n]*)\n"
"""Import of one module of TCP by another: as plain Python they share their names."""


def plain(old: str = "", new: str = "") -> Write:
    """``tcp.write`` as plain Python, with the first ``old`` in the sources of TCP replaced by ``new``."""
    source = "".join(inspect.getsource(module).replace(FUTURE, "") for module in TCP)
    return plain_names("tcp", re.sub(FROM_TCP, "", source), old, new)["write"]  # type: ignore[no-any-return]


def plain_module(module: ModuleType, old: str = "", new: str = "") -> dict[str, Any]:
    """The names of a compiled module as plain Python, with ``old`` in its source replaced by ``new``."""
    return plain_names(module.__name__, inspect.getsource(module).replace(FUTURE, ""), old, new)


FUTURE = "from __future__ import annotations\n"


def plain_names(name: str, source: str, old: str, new: str) -> dict[str, Any]:
    """The names of compiled ``source`` as plain Python, with its first ``old`` replaced by ``new``."""
    assert old in source, f"{name} no longer says {old!r}: state the mutation anew"
    source = re.sub(DECORATORS, lambda found: f"{found[1].replace(', ', ' = ')} = lambda function: function", source)
    names: dict[str, Any] = {"__name__": f"plain_{name}"}
    exec(compile(FUTURE + (source.replace(old, new, 1) if old else source), names["__name__"], "exec"), names)  # noqa: S102
    return names


def drawn_spec(rng: Random) -> LinkSpec:
    return LinkSpec(
        rng.choice((0, 100_000, *[MS] * 3, *[10**7] * 2, 10**9, 1_250_000_000)),
        rng.choice((1, 1000, 100_000, MS, 20 * MS, 100 * MS)),
        rng.choice((0, 20_000, 65_536, 1 << 20, 1 << 22)), rng.choice((3000, 65_536, WIDE, WIDE)),
        rng.choice((576, 576, 1500, 9000)), rng.random() < 0.8,
    )  # fmt: skip


def drawn_writes(rng: Random) -> list[tuple[int, int]]:
    """(gap ns, bytes): trains of pages with pauses, some of them longer than an RTO."""
    pauses_ns = (100_000, MS, 10 * MS, 100 * MS, 300 * MS, 2000 * MS)
    sizes = (9, *[4104] * 5, 4120, 200_000)
    writes = []
    for _ in range(rng.choice((4, 10))):
        train_ns = rng.choice((300, 5000, MS))
        writes += [(train_ns, rng.choice(sizes)) for _ in range(rng.choice((1, 10, 25)))]
        writes.append((rng.choice(pauses_ns), rng.choice(sizes)))
    return writes


def engine_facts(seed: int, write: Write = tcp.write) -> Iterator[Facts]:
    """After each write: when it returned, window, bytes in flight, threshold."""
    rng = Random(seed)
    path, row, t_ns = drawn_spec(rng).path, np.zeros(tcp_row.N_ROW, np.int64), 0
    tcp_row.connect(row, path)
    for gap_ns, n_bytes in drawn_writes(rng):
        t_ns = int(write(row, path, t_ns + gap_ns, n_bytes))
        yield t_ns, int(row[tcp_row.CWND]), int(row[tcp_row.IN_FLIGHT]), int(row[tcp_row.SSTHRESH])


@cache
def twin_facts(seed: int) -> list[Facts]:
    rng = Random(seed)
    twin, t_ns, facts = TwinTcp(drawn_spec(rng)), 0, []
    for gap_ns, n_bytes in drawn_writes(rng):
        t_ns = twin.write(t_ns + gap_ns, n_bytes)
        facts.append((t_ns, twin.cwnd, twin.out, twin.ssthresh))
    return facts


def first_difference(seed: int, write: Write = tcp.write) -> str:
    """Empty if both say the same after each write."""
    for i, (engine, twin) in enumerate(zip(engine_facts(seed, write), twin_facts(seed), strict=True)):
        if engine != twin:
            return f"connection {seed}, write {i}: engine {engine}, twin {twin}"
    return ""
