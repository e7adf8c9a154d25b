"""Post-copy on two cores that source and destination share: a vCPU and the thread that loads pages take turns on one.

A touch of a missing page wakes the fault thread, which takes the other core. If the loader places the page meanwhile, it
wakes the vCPU on its own core, and the vCPU preempts it. It runs up to its next missing page and sleeps; then the loader
goes on. A sweep stalls page by page so. Whether a stall becomes a request is a race: the loader places the next page, the
fault thread reads the message.

The scheduler gives both equal shares (kernel/sched/fair.c::entity_eligible, Linux 6.6): a vCPU that has run for longer than
the loader waits until the loader has made up for it, and then for the scheduler to look at that core again: at a tick, or as
the loader wakes the sender, whose sockets have room.

# Model limit: the return-path thread, which the loader wakes beside the sender, always runs on the loader's core; on the
other core it would leave the vCPU to wait for the tick.

HOLD_NS: time from which the vCPU has the core, NEVER: the loader has it. WAITER: a vCPU that waits for HOLD_NS, or -1.
LEAD_NS: how much longer than the loader the vCPU had run by LEAD_SINCE_NS, from which on the loader runs.
"""

from __future__ import annotations

from hostsim.compiled.jit import jit, part
from hostsim.core.rng import NEVER, keyed_word
from hostsim.qemu.postcopy.frames import go_on
from hostsim.qemu.postcopy.state import (
    FAULT_FREE_NS,
    FAULTS,
    FLUSHED,
    HEAD,
    HOLD_NS,
    LEAD_NS,
    LEAD_SINCE_NS,
    MAIN,
    SENDING,
    WAITER,
    WAKE_NS,
    Phase,
    Rules,
)

SLICE_NS = 1_400_000
"""sysctl_sched_base_slice, 0.7 ms, times 1 + log2 of two cores (kernel/sched/fair.c): then the loader has its core again."""
TICK_NS = 4_000_000
"""A tick of CONFIG_HZ=250."""
FAULT_KEY = 0x0FA17
"""Key of the draws of the fault thread's wake-up."""


@part
def _fault_ns(k: Phase, r: Rules, page: int, now_ns: int) -> int:
    """Time from a touch of ``page`` at ``now_ns`` until the fault thread, if it is free, has read the message [ns]."""
    if k.p[HOLD_NS] > now_ns:
        return r.fault_ns
    drawn = (keyed_word(FAULT_KEY, page, k.p[FAULTS]) * 2 * r.turn_fault_spread_ns) >> 32
    return int(r.turn_block_ns + r.turn_fault_ns - r.turn_fault_spread_ns + drawn)


@jit
def wake_fault_thread(k: Phase, r: Rules, page: int, now_ns: int) -> None:
    """A vCPU touches missing ``page`` at ``now_ns``: note when the fault thread has read the message. ``k``: in place.

    If the vCPU has the loader's core, the loader goes on when the vCPU sleeps, by the times in ``r``.
    """
    p = k.p
    p[FAULT_FREE_NS] = max(p[FAULT_FREE_NS], now_ns) + _fault_ns(k, r, page, now_ns)
    if p[HOLD_NS] > now_ns:
        return
    p[LEAD_SINCE_NS] = now_ns + r.turn_block_ns
    p[LEAD_NS] += p[LEAD_SINCE_NS] - p[HOLD_NS]
    p[HOLD_NS], p[WAITER] = NEVER, -1
    if p[HEAD] < p[FLUSHED]:
        go_on(k, r, MAIN, p[LEAD_SINCE_NS] + r.turn_place_ns)


@part
def preempts(k: Phase, r: Rules, now_ns: int) -> bool:
    """Whether a vCPU that the loader wakes at ``now_ns`` is to have its core: the fault thread has the other one."""
    p = k.p
    is_taken = now_ns < p[FAULT_FREE_NS] + r.request_ns
    return bool(r.turn_block_ns > 0 and is_taken and p[HOLD_NS] == NEVER and p[SENDING] == 1 and p[HEAD] < p[FLUSHED])


@part
def take_core(k: Phase, v: int, now_ns: int) -> int:
    """Time at which vCPU ``v``, woken by the loader at ``now_ns``, has the loader's core: now, or once it is eligible [ns].

    Then it waits for the scheduler to run on that core: at a tick, or earlier (``reschedule``).
    """
    p = k.p
    if p[LEAD_NS] > 0:  # a vCPU that sleeps makes up for a lead, and gets no credit
        p[LEAD_NS] = max(p[LEAD_NS] - max(now_ns - p[LEAD_SINCE_NS], 0), 0)
    p[HOLD_NS] = now_ns
    if p[LEAD_NS] > 0:
        p[WAITER], p[HOLD_NS] = v, ((now_ns + p[LEAD_NS]) // TICK_NS + 1) * TICK_NS
        p[LEAD_NS] -= p[HOLD_NS] - now_ns
    return int(p[HOLD_NS])


@part
def reschedule(k: Phase, r: Rules, now_ns: int) -> None:
    """The loader wakes the sender, or has no more to do: the scheduler runs on its core, and a vCPU that waits is next."""
    p, v = k.p, k.p[WAITER]
    if v < 0 or now_ns >= p[HOLD_NS] or (p[HEAD] < p[FLUSHED] and p[LEAD_NS] + p[HOLD_NS] - now_ns > 0):
        return
    p[LEAD_NS] += p[HOLD_NS] - now_ns
    p[WAITER], p[HOLD_NS] = -1, now_ns if p[HEAD] < p[FLUSHED] else NEVER
    k.vcpus[v, WAKE_NS] = now_ns + r.wake_ns


@part
def place_ns(k: Phase, placed_ns: int) -> int:
    """Time at which the next page, due at ``placed_ns``, is placed [ns]."""
    hold_ns = k.p[HOLD_NS]
    return int(placed_ns if placed_ns <= hold_ns else max(placed_ns, hold_ns + SLICE_NS))


@part
def end_slice(k: Phase, r: Rules, now_ns: int) -> None:
    """The loader places a page at ``now_ns``; if a vCPU had its core, the slice of the vCPU is over."""
    p = k.p
    if p[HOLD_NS] >= now_ns:
        return
    p[LEAD_NS], p[LEAD_SINCE_NS] = p[LEAD_NS] + now_ns - p[HOLD_NS], now_ns
    p[HOLD_NS], p[WAITER] = NEVER, -1
    go_on(k, r, MAIN, now_ns)
