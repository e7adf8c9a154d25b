"""All vCPUs of a VM, and walkers, advanced in exact time order up to a horizon or to the first event for the host."""

from __future__ import annotations

from hostsim.compiled.by_address import Code, call
from hostsim.compiled.jit import inlined, jit, part
from hostsim.core.rng import NEVER
from hostsim.kvm.loops.agenda import LAST, SPAN_NS, entry_of, put, time_of, vcpu_of
from hostsim.kvm.loops.layout import FAULTS, OUT, WAITING, Kvm
from hostsim.kvm.loops.mmu_lock import grant_next, queue_contended
from hostsim.kvm.loops.vcpu import is_in_guest, step_in_guest, step_in_host
from hostsim.kvm.loops.walker import walk


@inlined
def has_event(stage: int) -> bool:
    """Whether a vCPU goes on by itself."""
    return bool(stage not in (WAITING, OUT, FAULTS))


@part
def _make_agenda(k: Kvm) -> int:
    """Put all vCPUs that have something to do on the agenda; returns where its first entry is."""
    agenda, first, k.state.agenda_ns = k.agenda, len(k.vcpus), NEVER
    for v in range(len(k.vcpus)):
        agenda[v] = LAST
        if has_event(k.vcpus[v].stage):
            k.state.agenda_ns = min(k.state.agenda_ns, k.vcpus[v].next_ns)
    for v in range(len(k.vcpus)):
        if has_event(k.vcpus[v].stage):
            first -= 1
            put(agenda, first, entry_of(k.state, k.vcpus[v].next_ns, v))
    k.state.is_reordered = 0
    return first


@jit
def run_vcpus(k: Kvm, horizon_ns: int, anew: bool) -> int:
    """Handle events of vCPUs strictly below ``horizon_ns`` and before the next event of a walker.

    anew: make the agenda of ``k`` first.
    Returns the time of the event that comes next [ns], or NEVER. Stops early when ``k.due`` gets rows; the events that are
    left in that instant come with the next call. Stops early at the end of the agenda's span, too, and returns that time.
    """
    agenda, end = k.agenda, len(k.vcpus)
    first = _make_agenda(k) if anew else k.state.agenda_first
    horizon_ns = min(horizon_ns, k.state.agenda_ns + SPAN_NS)
    now_ns, entry = NEVER, agenda[first]
    while first < end:
        v, now_ns = vcpu_of(entry), time_of(k.state, entry)
        # Strictly below: events of the host come before those of vCPUs in the same instant, and walkers are of the host.
        if now_ns >= horizon_ns or now_ns >= k.state.walk_ns:
            break
        if is_in_guest(k.vcpus[v].stage):
            # It neither asks for the lock nor drops it, arms no page, and wakes no host process.
            step_in_guest(k, v)
            entry = put(agenda, first, entry_of(k.state, k.vcpus[v].next_ns, v))
            continue
        step_in_host(k, v)
        if has_event(k.vcpus[v].stage):
            entry = put(agenda, first, entry_of(k.state, k.vcpus[v].next_ns, v))
        else:
            first += 1
            entry = agenda[first]
        # A grant is part of the event that releases or asks for the lock, so the queue is looked at after each such event.
        who = 0
        while who >= 0:
            who = grant_next(k, now_ns)
            if 0 <= who < len(k.vcpus):
                first -= 1
                entry = put(agenda, first, entry_of(k.state, k.vcpus[who].next_ns, who))
        queue_contended(k, now_ns)
        # A split or an unmapping has armed pages for other vCPUs: their next touches moved, and the agenda does not know.
        if k.state.is_reordered == 1:
            first = _make_agenda(k)
            entry = agenda[first]
        # The host process that an event wakes runs before the guest events that are left in this instant.
        if k.state.n_due > 0:
            break
        if first == end:
            now_ns = NEVER
    k.state.agenda_first = first
    return int(now_ns)


@jit
def run_with_walkers(k: Kvm, horizon_ns: int, run: Code) -> int:
    """``run_vcpus`` of ``k`` up to ``horizon_ns`` with the walkers' events, which come first in an instant.

    run: code of ``run_vcpus``. It is called, not inlined: it takes longest of all loops to compile, and most guests are not
    aged.
    """
    now_ns = call(run, k, horizon_ns, True)
    while True:
        if k.state.n_due > 0 or now_ns < k.state.walk_ns or k.state.walk_ns >= horizon_ns:
            return int(min(now_ns, k.state.walk_ns))
        now_ns = walk(k, now_ns, horizon_ns)
        if k.state.n_due > 0:
            return int(now_ns)
        now_ns = call(run, k, horizon_ns, k.state.is_reordered == 1)
