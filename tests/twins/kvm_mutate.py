"""Breaks one line of the engine of guests under KVM, or of the host's threads, and looks for a drawn case that shows it.

``NUMBA_DISABLE_JIT=1 python -m tests.twins.kvm_mutate NAME SEEDS [FIRST]`` prints a seed at which the two part: FIRST if
they do, else the first of them.
"""

from __future__ import annotations
import __future__ as future_features

import inspect
import sys
import textwrap
from collections.abc import Callable
from importlib import import_module

from hostsim.core.errors import InvariantError
from tests.twins import kvm_walks
from tests.twins.kvm_compare import difference
from tests.twins.mutate import Mutation, apply

KVM = "hostsim.kvm.loops"
HOST, LOG = "hostsim.kvm", "hostsim.kvm.trackers"
SET_AT_TOUCH = """vcpu.lock_mode = mode
        handle(k, v, kind, vcpu.page, is_write(k, v), now_ns)
"""

MUTATIONS = {
    "none": Mutation(f"{KVM}.vcpu", "_done", "now_ns", "now_ns"),
    # Faults
    "a granted fault is always handled": Mutation(
        f"{KVM}.mmu_lock", "_begin_hold", "kind_now(k, vcpu.page, k.streams[vcpu.stream].is_write)", "vcpu.kind"
    ),
    "nothing is read again where it is set": Mutation(
        f"{KVM}.vcpu", "_done", "kind_now(k, vcpu.page, write) != kind", "kind < 0"
    ),
    "who holds the lock alone does not read again": Mutation(
        f"{KVM}.vcpu", "_done", "if kind not in (SPURIOUS, RETRY):\n        if kind_now",
        "if mode != 2 and kind not in (SPURIOUS, RETRY):\n        if kind_now",
    ),
    "state is set at the touch": Mutation(f"{KVM}.vcpu", "_leave", "vcpu.lock_mode = mode\n", SET_AT_TOUCH),
    "every host page is looked up": Mutation(f"{KVM}.vcpu", "_request", "kind in (MAP, SPLIT)", "kind >= 0"),
    "an invalidation that is over is not seen": Mutation(
        f"{KVM}.mmu_lock", "is_stale", "state.invalidate_seq != k.vcpus[v].invalidate_seq", "state.invalidate_seq < 0"
    ),
    "an invalidation under way is not seen": Mutation(
        f"{KVM}.mmu_lock", "is_stale", "state.invalidate_in_progress > 0", "state.invalidate_in_progress > 9"
    ),
    "a write leaves its page blank": Mutation(f"{KVM}.mapping", "note_access", "~BLANK & 0xFF", "0xFF"),
    # Host pages and 1 GiB
    "a fault that splits 1 GiB leaves the rest mapped": Mutation(
        f"{KVM}.mapping", "_split", "set_regions_counted(k, first, end, 0, 0, 0)",
        "set_regions_counted(k, region, region + 1, 0, 0, 0)",
    ),
    "half of 1 GiB is split": Mutation(
        f"{KVM}.dirty_log", "_narrow", "range(span_first(k, region), span_end(k, region))", "range(region, region + 1)"
    ),
    "an unmapping forgets the rest of 1 GiB": Mutation(
        f"{KVM}.dirty_log", "zap_range", "range(low // REGION_PAGES, -(-high // REGION_PAGES))", "range(region, region + 1)"
    ),
    "a D bit is lost with its mapping": Mutation(f"{KVM}.dirty_log", "zap_range", "| recorded", "| 0"),
    "every host page is made anew": Mutation(f"{KVM}.backing", "take_page", "k.backing[other] = RESIDENT", "pass"),
    "a host page is there before it is made": Mutation(
        f"{KVM}.backing", "look_up",
        "look_ns += k.state.populate_ns + k.crowd_ns[min(k.state.populating, len(k.crowd_ns) - 1)]", "look_ns += 1"
    ),
    "a vCPU that has made a host page sends all others away": Mutation(
        f"{KVM}.backing", "take_page", "populating -= 1", "populating = 0"
    ),
    "a fault at once costs as much as one long after the entry": Mutation(
        f"{KVM}.cold", "_lone_ns", "near_ns * since_ns // LONE_NEAR_NS", "near_ns"
    ),
    "a fault on the next page costs as much as one far away": Mutation(
        f"{KVM}.cold", "cold_ns", "distance > IN_A_ROW_PAGES", "distance > 0"
    ),
    "a vCPU forgets where its last fault was": Mutation(
        f"{KVM}.cold", "cold_ns", "vcpu.last_fault_page = vcpu.page", "pass"
    ),
    # Prefetch
    "a prefetched spte takes no time": Mutation(
        f"{KVM}.mmu_lock", "_begin_hold", "count_bits(vcpu.prefetched)", "(vcpu.prefetched < 0)"
    ),
    "a fault prefetches in a logged slot": Mutation(
        f"{KVM}.prefetch", "prefetched", "state.is_logged == 1", "state.is_logged == 9"
    ),
    "a log that has begun meanwhile stops no prefetch": Mutation(
        f"{KVM}.prefetch", "prefetch_sptes", "k.state.is_logged == 0", "k.state.is_logged < 9"
    ),
    "a fault prefetches during an invalidation": Mutation(
        f"{KVM}.prefetch", "prefetched", "state.invalidate_in_progress > 0", "state.invalidate_in_progress > 9"
    ),
    "a prefetched page counts as accessed": Mutation(f"{KVM}.prefetch", "prefetch_sptes", "DIRTY | OLD", "DIRTY"),
    "a prefetch makes host pages": Mutation(f"{KVM}.prefetch", "_is_there", "k.state.is_backed == 0", "True"),
    "the guest's ptes are read past a page that is not there": Mutation(f"{KVM}.prefetch", "_in_order", "break", "continue"),
    "a run is mapped past a page that is not there": Mutation(
        f"{KVM}.prefetch", "_by_runs", "goes_on = _is_there(k, other)", "goes_on = _is_there(k, other) or run > 0"
    ),
    "a run that begins with a page that is not there is left out": Mutation(
        f"{KVM}.prefetch", "_by_runs", "return found\n", "continue\n"
    ),
    "the last run is always mapped": Mutation(
        f"{KVM}.prefetch", "_by_runs", "return found if ended else found | run", "return found | run"
    ),
    "a large spte is prefetched into": Mutation(
        f"{KVM}.prefetch", "prefetched", " or sets_region(k.sptes, state, kind, page)", ""
    ),
    # Order
    "of two at a time the one that moves is second": Mutation(
        f"{KVM}.agenda", "put", "entry < earliest", "entry >> VCPU_BITS < earliest >> VCPU_BITS"
    ),
    "the horizon is inclusive": Mutation(f"{KVM}.run", "run_vcpus", "now_ns >= horizon_ns", "now_ns > horizon_ns"),
    "a revocation misses its own instant": Mutation(
        f"{KVM}.streams", "rearm", "stream.clock], now_ns)), False", "stream.clock], now_ns) + 1), False"
    ),
    "touches of this instant come again": Mutation(
        f"{KVM}.vcpu", "_stop", "pass_by(k, v, s if s >= 0 else vcpu.stream_end, vcpu.next_ns)", "pass"
    ),
    "a split comes before touches of lower vCPUs": Mutation(
        f"{KVM}.mapping", "_split", "for other in range(v)", "for other in range(0)"
    ),
    "of two streams the last goes first": Mutation(f"{KVM}.streams", "choose", "ns < best_ns", "ns <= best_ns"),
    # The lock
    "a place in the queue is kept after the grant": Mutation(
        f"{KVM}.mmu_lock", "grant_next", "others = ", "others = 1 + "
    ),
    "a lock that another had costs nothing while none waits": Mutation(
        f"{KVM}.mmu_lock", "grant_next", "k.state.lock_last != 1 + who", "k.state.lock_last < 0"
    ),
    "a lock always comes from another": Mutation(
        f"{KVM}.mmu_lock", "grant_next", "k.state.lock_last != 1 + who", "k.state.lock_last >= 0"
    ),
    "the first to take a lock has it from another": Mutation(
        f"{KVM}.mmu_lock", "grant_next", "min(1, k.state.lock_last)", "1"
    ),
    "readers have the lock from another": Mutation(
        f"{KVM}.mmu_lock", "grant_next", "mode == EXCLUSIVE and k.state", "k.state"
    ),
    "a reader that meets a writer queues at once": Mutation(
        f"{KVM}.vcpu", "_request", "k.costs.wait_lock_ns > 0", "k.costs.wait_lock_ns < 0"
    ),
    "readers that have waited are let in together": Mutation(
        f"{KVM}.mmu_lock", "_let_in", "in_ns + k.costs.word_ns", "in_ns"
    ),
    "readers that have not waited are let in one by one": Mutation(
        f"{KVM}.mmu_lock", "_begin_hold", "mode == SHARED and k.waiters[v].asked_ns < now_ns", "mode == SHARED"
    ),
    "a host has the lock word at once": Mutation(
        f"{KVM}.mmu_lock", "grant_next", "0 < k.state.lock_last <= len(k.vcpus)", "k.state.lock_last < 0"
    ),
    "the lock word comes from a host, too": Mutation(
        f"{KVM}.mmu_lock", "grant_next", "0 < k.state.lock_last <= len(k.vcpus)", "k.state.lock_last > 0"
    ),
    "a fault asks for the lock at once": Mutation(f"{KVM}.vcpu", "_leave", "k.costs.before_ns[kind]", "0"),
    "a host's release lets one in": Mutation(f"{KVM}.host", "grant_all", "while who >= 0", "if who >= 0"),
    "a host never yields": Mutation(
        f"{HOST}.lock", "MmuLock.hold", "self._held(host, left_ns, unit_ns)", "self._held(host, left_ns, 0)"
    ),
    "a host asks again in front": Mutation(
        f"{HOST}.lock", "MmuLock.hold", "self._release(host)\n            if left_ns == 0:\n                break",
        "if left_ns == 0:\n                break\n            continue",
    ),
    # In and out
    "a kick drops a vCPU in the queue": Mutation(
        f"{KVM}.host", "kick", "if vcpu.stage == IN_GUEST", "if vcpu.stage in (IN_GUEST, 10)"
    ),
    "a kick stays when the vCPU enters": Mutation(
        f"{KVM}.host", "enter_guest", "vcpu.is_kicked = vcpu.is_ring_full = 0", "vcpu.is_ring_full = 0"
    ),
    "a vCPU stops before the touches of its instant": Mutation(
        f"{KVM}.streams", "choose", "stop_ns < best_ns", "stop_ns <= best_ns"
    ),
    "a vCPU that has stopped stops again": Mutation(f"{KVM}.vcpu", "_stop", "vcpu.stop_work_ns = NEVER", "pass"),
    "an IPI leaves the PML buffer full": Mutation(f"{KVM}.host", "interrupt", "+ drain_ns(k, v)", ""),
    "an IPI stops vCPUs that are out of the guest": Mutation(
        f"{KVM}.host", "interrupt", "if k.vcpus[v].stage == IN_GUEST", "if k.vcpus[v].stage in (IN_GUEST, ENTRY)"
    ),
    "a ring is full one entry late": Mutation(
        f"{KVM}.vcpu", "is_full", ">= k.state.ring_soft_entries", "> k.state.ring_soft_entries"
    ),
    "what a vCPU waits is not in its exit": Mutation(
        f"{KVM}.vcpu", "_note_exit", "vcpu.away_since_ns)", "vcpu.away_since_ns - 1)"
    ),
    "an exit that ends in user space is not counted": Mutation(f"{KVM}.vcpu", "_exit_over", "_note_exit(k, v)", "pass"),
    "the next exit has the kind of the last": Mutation(
        f"{KVM}.vcpu", "_note_exit", "vcpu.exit_kind = NOTHING", "pass"
    ),
    # Ageing
    "an access leaves its page old": Mutation(
        f"{KVM}.mapping", "note_access", "k.sptes.spte[page] & (~AGED & 0xFF)", "k.sptes.spte[page]"
    ),
    "an access leaves a large spte old": Mutation(
        f"{KVM}.mapping", "note_access", "(DIRTY if kind == LOG else 0)) & (~AGED & 0xFF)", "(DIRTY if kind == LOG else 0))"
    ),
    "an access-tracked page keeps W": Mutation(f"{KVM}.ageing", "_aged", "(~WRITABLE & 0xFF)", "0xFF"),
    "what was made old is not looked for anew": Mutation(
        f"{KVM}.ageing", "clear_young", "if found > 0:", "if found > 1 << 40:"
    ),
    "a page that is made old is not counted": Mutation(f"{KVM}.armed", "_arming", "wanted | STOPPED", "wanted | 2"),
    "a page is old before the flush": Mutation(
        f"{HOST}.mmu_notifier", "MmuNotifier._walk", "            yield from self._flush()\n",
        "            self._engine.mmu.clear_young(first, end, young, self._env.now_ns)\n"
        "            yield from self._flush()\n",
    ),
    "ageing lets mmu_lock go before its flush": Mutation(
        f"{HOST}.mmu_notifier", "MmuNotifier._age", "lock_mode == NONE", "flush"
    ),
    "mmu_lock goes before the flush of an invalidation": Mutation(
        f"{HOST}.mmu_notifier", "MmuNotifier._zap", "yield from self._flush()", "yield self._env.timeout(0)"
    ),
    "an IPI costs out and in alone": Mutation(f"{KVM}.host", "interrupt", " + k.costs.ipi_ns", ""),
    "a shootdown interrupts no vCPU": Mutation(
        f"{HOST}.flush", "RemoteFlush.shootdown", "self._tlb.interrupt(self._env.now_ns)", "1"
    ),
    "a shootdown takes the translations of vCPUs": Mutation(
        f"{HOST}.flush", "RemoteFlush.shootdown", "self._tlb.interrupt", "self._tlb.flush"
    ),
    "a shootdown costs a local flush as well": Mutation(
        f"{HOST}.flush", "RemoteFlush.shootdown", "ipis_ns", "remote_flush_ns"
    ),
    # TLBs
    "a flush leaves stale pages stale": Mutation(
        f"{KVM}.tlb", "flush_translations", "k.counts[STALE_ROW, region] == 1", "k.counts[STALE_ROW, region] == 9"
    ),
    "a stale page is seen by the next access": Mutation(
        f"{KVM}.vcpu", "_touch", "kind == YOUNG and _hits_tlb(k, v, page)", "kind == 99"
    ),
    "what is aged after a flush is stale": Mutation(
        f"{HOST}.mmu_notifier", "MmuNotifier._walk", "flushed=flushes", "flushed=False"
    ),
    "a sweep looks at what it does not see": Mutation(
        f"{KVM}.armed", "sweep_sees", "seen == FULL or (seen == IF_MISSED and weight_of(k, c, page, seen) > 0)", "seen > 0"
    ),
    # The log
    "no PML drain before a harvest": Mutation(f"{LOG}.kvm_log", "KvmLog._drain", "if self._plan.pml", "if not self._plan"),
    "protection takes effect at the release": Mutation(
        f"{LOG}.get_dirty_log", "GetDirtyLog._get",
        "if found:\n            yield from self._vm.flush()\n        newly += self._clear(bmap, protected, self._n_pages)",
        "newly += self._clear(bmap, protected, self._n_pages)\n        if found:\n            yield from self._vm.flush()",
    ),
    "a GET protects all pages after its flush": Mutation(
        f"{LOG}.get_dirty_log", "GetDirtyLog._turns", "if not found or", "if found or"
    ),
    "a turn of a GET ends within a word": Mutation(
        f"{LOG}.get_dirty_log", "GetDirtyLog._turns", "(last // MASK_PAGES + 1) * MASK_PAGES", "last + 1"
    ),
    "a cleared page keeps its flag": Mutation(f"{KVM}.dirty_log", "_clear_region", "flag | IN_LOG", "IN_LOG"),
    "a CLEAR takes the whole chunk": Mutation(
        f"{LOG}.clear_dirty_log", "ClearDirtyLog._clear", "first, end, self._in_log)", "first, end)"
    ),
    "a shared CLEAR keeps readers out": Mutation(
        f"{LOG}.clear_dirty_log", "ClearDirtyLog._clear", "self._plan.clear_mode", "2"
    ),
    "a CLEAR word by word never yields": Mutation(
        f"{LOG}.clear_dirty_log", "ClearDirtyLog._clear", "lambda ns: self._plan.clear_unit_ns(ns, masks)", "0"
    ),
    "masks go on from ring to ring": Mutation(
        f"{KVM}.dirty_log", "take_rings", "        low = high = -MASK_PAGES\n",
        "        if v == 0:\n            low = high = -MASK_PAGES\n",
    ),
    "rings are reset when they are taken": Mutation(
        f"{LOG}.dirty_ring", "DirtyRing._reap", "        self._vm.times.reaps += 1\n",
        "        self._vm.times.reaps += 1\n        self._engine.log.reset_rings(self._env.now_ns)\n",
    ),
    # Book3S PR
    "a full table takes one more": Mutation(
        f"{KVM}.hptes", "at_cap", "state.mapped_sptes >= state.cap_sptes", "state.mapped_sptes > state.cap_sptes"
    ),
    "sptes that went still count": Mutation(f"{KVM}.dirty_log", "zap_range", "k.state.mapped_sptes -= gone", "pass"),
    "unmapping all takes no time": Mutation(f"{KVM}.mmu_lock", "_begin_hold", "at_cap(k.state, kind)", "kind < 0"),
    "unmapping all comes before touches of lower vCPUs": Mutation(
        f"{KVM}.hptes", "unmap_all", "for other in range(v)", "for other in range(0)"
    ),
    "what is unmapped for room is not looked for anew": Mutation(
        f"{KVM}.hptes", "unmap_all", "    rearm(k, 0, n_pages, now_ns)", "    pass"
    ),
    "a GET leaves mapped what it protects": Mutation(
        f"{LOG}.get_dirty_log", "GetDirtyLog._get", "        if found:\n            self._invalidate()\n", ""
    ),
    "a log that begins leaves sptes": Mutation(
        f"{LOG}.kvm_log", "KvmLog._start", "        self._invalidate()\n", ""
    ),
    "a flush asks no vCPU but the first": Mutation(f"{HOST}.flush", "RemoteFlush._took_ns", "self._n_vcpus", "1"),
    "a flush that finds no vCPU is not counted": Mutation(
        f"{HOST}.flush", "RemoteFlush.count_idle", "self._count += flushes", "pass"
    ),
    "a log that stops flushes once for a region's sptes": Mutation(
        f"{LOG}.kvm_log", "KvmLog._zap_sptes", "sptes -= 1", "sptes = 0"
    ),
    "a log that stops zaps sptes that are not there": Mutation(
        f"{KVM}.dirty_log", "count_recoverable_sptes", "k.sptes.spte[page] & PRESENT != 0", "1"
    ),
    "a log that stops leaves 2 MiB sptes of a block": Mutation(
        f"{KVM}.dirty_log", "count_recoverable_sptes", "k.sptes.level[region] == 1", "0"
    ),
    "a stopped log leaves small sptes": Mutation(
        f"{LOG}.kvm_log", "KvmLog._stop", "self._engine.log.stop(self._plan.recovery,", 'self._engine.log.stop("none",'
    ),
}  # fmt: skip


WALKER = f"{KVM}.walker"
WALKER_MUTATIONS = {
    "a walker has the lock word at once": Mutation(
        WALKER, "_step", "walk.stage == WALK_GRANTED and walk.next_ns <= now_ns", "walk.stage == WALK_GRANTED"
    ),
    "a walker clears before its flush is over": Mutation(
        WALKER, "_flush", "took_ns = k",
        "first, end = k.calls[host, walk.call].first, k.calls[host, walk.call].end\n"
        "    clear_young(k, first, end, k.found[host][: end - first].copy(), now_ns, False)\n    took_ns = k",
    ),
    "a walker never flushes": Mutation(WALKER, "_step", "walk.does_flush == 1", "walk.does_flush == 2"),
    "a walker flushes where nothing is young": Mutation(WALKER, "_step", "WALK_AGES and walk.found > 0", "WALK_AGES"),
    "every call of a walker flushes": Mutation(WALKER, "_step", "walk.event == CALL_CLEAR_FLUSH", "walk.event >= 0"),
    "a walker's test clears": Mutation(WALKER, "_step", "walk.event != CALL_TEST", "walk.event >= 0"),
    "a walker reads before it has the lock": Mutation(
        WALKER, "_read", "walk.since_ns, ", "walk.found *= now_ns == walk.asked_ns\n    walk.since_ns, "
    ),
    "a walker stays in front of those who wait": Mutation(
        WALKER, "_end_call", "            grant_all(k, now_ns)\n", "            pass\n",
    ),
    "a walker asks for the next lock too late": Mutation(
        WALKER, "_step", "_ask(k, host, now_ns)", "_ask(k, host, now_ns + 1)"
    ),
    "a walker's event comes behind those of vCPUs": Mutation(
        f"{KVM}.run", "run_vcpus", "now_ns >= k.state.walk_ns", "now_ns > k.state.walk_ns"
    ),
    "a walker runs into the next event of a vCPU": Mutation(WALKER, "walk", "now_ns <= vcpu_ns and ", ""),
    "a walker goes on at the horizon": Mutation(WALKER, "walk", "now_ns < horizon_ns", "now_ns <= horizon_ns"),
    "who is let in by a walker is not looked for": Mutation(f"{KVM}.host", "grant_all", "k.state.is_reordered = 1", "pass"),
    "a walker's hold has no end": Mutation(WALKER, "_end_call", "leave_lock(k.state, walk.lock_mode)", "pass"),
    "a walker tells what it read before its flush": Mutation(
        WALKER, "_clear", "walk.found = clear_young", "_ = clear_young"
    ),
    "a walker's waits are not counted": Mutation(WALKER, "_read", "walk.wait_ns += ", "walk.wait_ns += 0 * "),
    "a lockless walker takes the lock": Mutation(WALKER, "_ask", "if walk.lock_mode == NONE", "if walk.lock_mode == 9"),
}  # fmt: skip
"""Of walkers: tests.twins.kvm_walks shows them."""


def break_(mutation: Mutation) -> None:
    """As ``mutate.apply``; the function may be a method."""
    owner, _, name = mutation.function.rpartition(".")
    if not owner:
        apply(mutation)
        return
    home = import_module(mutation.module)
    right = getattr(getattr(home, owner), name)
    source = inspect.getsource(right)
    assert mutation.old in source, f"{mutation.function} no longer says {mutation.old!r}: state the mutation anew"
    broken = textwrap.dedent(source.replace(mutation.old, mutation.new))
    scope: dict[str, object] = {}
    flags = future_features.annotations.compiler_flag
    exec(compile(broken, mutation.function, "exec", flags), vars(home), scope)  # noqa: S102
    setattr(getattr(home, owner), name, scope[name])


def caught_at(n_seeds: int, first: int, part: Callable[[int], str] = difference) -> int:
    """A seed whose twin differs from the engine, or whose engine breaks a law or cannot go on, or -1."""
    return next((seed for seed in (first, *range(n_seeds)) if _shows(seed, part)), -1)


def _shows(seed: int, part: Callable[[int], str]) -> bool:
    try:
        return bool(part(seed))
    except (InvariantError, AssertionError, KeyError, IndexError, OverflowError, ValueError):
        return True


if __name__ == "__main__":
    walks = sys.argv[1] in WALKER_MUTATIONS
    break_((MUTATIONS | WALKER_MUTATIONS)[sys.argv[1]])
    seeds = map(int, [*sys.argv[2:], "0"][:2])
    sys.stdout.write(f"{caught_at(*seeds, kvm_walks.difference if walks else difference)}\n")
