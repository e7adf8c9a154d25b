"""Breaks one line of the exits engine and looks for a drawn guest that shows it.

``NUMBA_DISABLE_JIT=1 python -m tests.twins.exits_mutate NAME SEEDS`` prints the first seed at which the two part.
"""

from __future__ import annotations

import sys

from tests.twins.exits_compare import cut_difference, whole_difference
from tests.twins.mutate import Mutation, apply

EXITS, FAULTS = "hostsim.kernels.exits", "hostsim.kernels.faults"
SET = "handle(sptes, vcpus.kind[{0}], vcpus.page[{0}], vcpus.is_write[{0}] == 1, slot.logged, slot.huge)"
SET_AT_TOUCH, SET_AT_GRANT = SET.format("v").replace("vcpus.kind[v]", "kind"), SET.format("first")

MUTATIONS = {
    "none": Mutation(EXITS, "_grant", "hold_ns", "hold_ns"),
    "a granted fault is always handled": Mutation(
        EXITS, "_grant", "vcpus.mode[v], _needs(sptes, vcpus, v)", "vcpus.mode[v], vcpus.kind[v]"
    ),
    "a lockless fault is always handled": Mutation(EXITS, "_done", "_needs(sptes, vcpus, v) != kind", "kind == -1"),
    "a tie goes to the higher vCPU": Mutation(EXITS, "_before", "and a < b", "and a > b"),
    "state is set at the touch": Mutation(
        EXITS, "_access", "    vcpus.pml[v] = 0\n", f"    vcpus.pml[v] = 0\n    {SET_AT_TOUCH}\n"
    ),
    "state is set at the grant": Mutation(
        EXITS, "run_vcpus", "first, now_ns)\n", f"first, now_ns)\n            {SET_AT_GRANT}\n"
    ),
    "readers enter one at a time": Mutation(EXITS, "_may_enter", "mode == SHARED or", "mode == 9 or"),
    "one grant a release": Mutation(EXITS, "run_vcpus", "        while lock.state[LENGTH]", "        if lock.state[LENGTH]"),
    "a reader enters beside a writer": Mutation(EXITS, "_may_enter", "lock.state[WRITERS] == 0 and", "mode == SHARED or"),
    "holders do not slow a hold": Mutation(
        EXITS, "_grant", "lock.state[LENGTH] + lock.state[READERS] + lock.state[WRITERS]", "lock.state[LENGTH]"
    ),
    "the kind of the touch is held for": Mutation(
        EXITS, "_grant", "costs.hold_ns[kind] +", "costs.hold_ns[vcpus.kind[v]] +"
    ),
    "an exit leaves the PML buffer full": Mutation(EXITS, "_access", "    vcpus.pml[v] = 0\n", ""),
    "the buffer is full one write late": Mutation(EXITS, "_logged_ns", "< PML_ENTRIES", "<= PML_ENTRIES"),
    "the horizon is inclusive": Mutation(EXITS, "run_vcpus", "now_ns >= horizon_ns", "now_ns > horizon_ns"),
    "an access completes at the release": Mutation(EXITS, "_done", "+ costs.entry_ns, ENTRY", ", ENTRY"),
    "reads dirty nothing": Mutation(FAULTS, "map_page", "    if logged:\n", "    if logged and is_write:\n"),
    "a clean page is mapped for a read": Mutation(FAULTS, "map_page", "if is_write or logged", "if is_write"),
    "a touched region is mapped large": Mutation(FAULTS, "_region_empty", "!= 0:\n", "> 99:\n"),
    "a tracked page comes back writable": Mutation(
        FAULTS, "_restore", "    if is_write:\n        _make", "    if True:\n        _make"
    ),
}  # fmt: skip


def caught_at(n_seeds: int) -> int:
    """First seed whose twin differs from the engine, or -1."""
    return next((seed for seed in range(n_seeds) if whole_difference(seed) or cut_difference(seed)), -1)


if __name__ == "__main__":
    apply(MUTATIONS[sys.argv[1]])
    sys.stdout.write(f"{caught_at(int(sys.argv[2]))}\n")
