"""Post-copy to a destination whose memory may run short: frames of the pages that are placed there.

Linux 6.4, mm/userfaultfd.c::mfill_atomic_pte_copy allocates a frame and lists it. ::mfill_atomic_pte_zeropage maps the zero
page, which takes none; the first write gets a frame (mm/memory.c::do_wp_page).
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined, jit
from hostsim.core.constants import PAGE_WIRE_BYTES
from hostsim.core.rng import NEVER
from hostsim.kvm.loops.layout import RESIDENT, UNTOUCHED
from hostsim.qemu.postcopy.state import (
    FLUSHED,
    FRAMES,
    HEAD,
    LACKING,
    LOAD_FREE_NS,
    MAIN,
    PLACED_FRESH,
    URGENT,
    URGENT_FREE_NS,
    URGENT_HEAD,
    URGENT_TAIL,
    Ints,
    Phase,
    Rules,
)


@inlined
def lacks_frame(k: Phase, channel: int) -> bool:
    """Whether the first page on ``channel`` needs a frame and none is at hand; then LACKING is the channel."""
    p = k.p
    if len(k.places) == 0 or p[FRAMES] > 0:
        return False
    gfn = k.wire[p[HEAD] % len(k.wire), 0] if channel == MAIN else k.urgent[p[URGENT_HEAD] % len(k.urgent), 0]
    p[LACKING] = channel
    return bool(k.zero[gfn] == 0)


@inlined
def fill_frame(k: Phase, gfn: int) -> None:
    """``gfn`` is placed at the live destination: a copy in a frame, or the zero page."""
    k.zero_there[gfn], k.version_there[gfn] = k.zero[gfn], k.version[gfn]
    if k.zero[gfn] == 1:
        k.places[gfn] = UNTOUCHED
        return
    k.places[gfn] = RESIDENT
    k.fresh[k.p[PLACED_FRESH]] = gfn
    k.p[PLACED_FRESH] += 1
    k.p[FRAMES] -= 1


@inlined
def _delay(ring: Ints, head: int, end: int, r: Rules, now_ns: int) -> int:
    """Place entry ``head`` now, and those behind it one after the other, each as it has arrived; return the last time."""
    ring[head % len(ring), 2] = last_ns = now_ns
    for number in range(head + 1, end):
        entry = ring[number % len(ring)]
        if entry[2] == NEVER:  # it has not arrived
            break
        cost_ns = r.place_page_ns if entry[1] >= PAGE_WIRE_BYTES else r.place_zero_ns
        # A page that began when the one before was placed begins later now; any other began when it had arrived.
        last_ns = entry[2] = max(last_ns, entry[2] - cost_ns) + cost_ns
    return int(last_ns)


@jit
def wait_for_frame(k: Phase, channel: int) -> None:
    """The thread that loads ``channel`` allocates a frame: its page is placed later. ``k``: in place."""
    if channel == URGENT:
        k.urgent[k.p[URGENT_HEAD] % len(k.urgent), 2] = NEVER
    else:
        k.wire[k.p[HEAD] % len(k.wire), 2] = NEVER


@jit
def go_on(k: Phase, r: Rules, channel: int, now_ns: int) -> None:
    """The thread that loads ``channel`` has a frame at ``now_ns``: pages on the channel are placed from then on."""
    p = k.p
    if channel == URGENT:
        p[URGENT_FREE_NS] = max(p[URGENT_FREE_NS], _delay(k.urgent, p[URGENT_HEAD], p[URGENT_TAIL], r, now_ns))
    else:
        p[LOAD_FREE_NS] = max(p[LOAD_FREE_NS], _delay(k.wire, p[HEAD], p[FLUSHED], r, now_ns))
