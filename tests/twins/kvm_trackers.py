"""The ways to read the dirty log of the twin, step by step."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

if TYPE_CHECKING:
    from tests.twins.kvm_host import TwinHost

Process = Generator[simpy.Event, Any, Any]
MASK_BITS = 64


class TwinTracker:
    """Starting and stopping are the same for all; ``bitmap``: pages to be sent.

    A sync returns how many pages are new in the bitmap.
    """

    def __init__(self, host: TwinHost) -> None:
        self.host, self.env, self.memory = host, host.env, host.memory
        self.rules, self.costs = host.guest.case.rules, host.costs
        self.n_pages = self.memory.n_pages
        self.bitmap: set[int] = set()

    def start_log(self) -> Process:
        yield from self.host.in_turn(self._start())

    def stop_log(self) -> Process:
        yield from self.host.in_turn(self._stop())

    def _start(self) -> Process:
        if self.rules.interface == "initially-all-set":
            yield self.env.timeout(round(self.n_pages * self.costs.all_set_ns))
            self.memory.start_log(all_set=True)
            return
        yield from self.host.lock.hold(self.rules.mode, self._start_ns, self._unit_ns())
        yield from self.host.flush()
        self.memory.start_log(all_set=False)
        self._invalidate()

    def _invalidate(self) -> None:
        if self.rules.invalidates:
            self.memory.zap(range(self.n_pages))

    def _start_ns(self) -> float:
        large = self.memory.open_large(range(self.n_pages))
        large_ns = self.costs.split_ns if self.rules.eager else self.costs.protect_ns
        return large * large_ns + self.memory.open_small() * self.costs.protect_ns

    def _unit_ns(self) -> int:
        unit_ns = self.costs.split_ns if self.rules.eager else 64 * self.costs.protect_ns
        return max(1, round(unit_ns)) if self.rules.yields else 0

    def _stop(self) -> Process:
        if self.rules.recovery_flush == "slot" or self.rules.recovery == "none" or not self.memory.case.huge:
            yield from self._stop_at_once()
        else:
            for sptes in self.memory.turns():
                yield from self._zap_and_flush(sptes)
        self.memory.stop_log()
        for vcpu in self.host.guest.vcpus:
            vcpu.pml.clear()

    def _zap_and_flush(self, sptes: int) -> Process:
        """Of a region: as a whole, or spte by spte; with no vCPU in the guest at one of them the rest is one hold."""
        region_ns = self.costs.recover_ns
        if self.rules.recovery_flush == "each":
            yield from self.host.lock.during(self.rules.mode, self._turn(region_ns))
            return
        spte_ns, left = max(1, round(region_ns / 512)), sptes
        while left:
            left -= 1
            if not (yield from self.host.lock.during(self.rules.mode, self._turn(spte_ns))):
                break
        if left:
            turns_ns = [spte_ns + self.host.idle_flush_ns() for _ in range(left)]
            yield from self.host.lock.hold(self.rules.mode, lambda: sum(turns_ns), turns_ns[0])

    def _turn(self, zap_ns: float) -> Process:
        yield self.env.timeout(max(1, round(zap_ns)))
        return (yield from self.host.flush())

    def _stop_at_once(self) -> Process:
        recovered: list[int] = []
        unit_ns = max(1, round(self.costs.recover_ns)) if self.rules.yields else 0
        yield from self.host.lock.hold(self.rules.mode, lambda: self._stop_ns(recovered), unit_ns)
        if recovered:
            yield from self.host.flush()

    def _stop_ns(self, recovered: list[int]) -> float:
        recovered += [*self.memory.recoverable()[0], *self.memory.recoverable()[1]]
        return len(recovered) * self.costs.recover_ns

    def before_send(self, _page: int) -> Process:
        """Before this page and others of its chunk are sent."""
        yield from ()

    def _settle_buffers(self) -> None:
        if self.memory.mechanism == "pml":
            self.host.interrupt()

    def _to_send(self, pages: set[int]) -> int:
        new = len(pages - self.bitmap)
        self.bitmap |= pages
        return new


class TwinGet(TwinTracker):
    """KVM_GET_DIRTY_LOG reads and clears."""

    def sync(self) -> Process:
        self._settle_buffers()
        found, new = yield from self.host.lock.during("exclusive", self._protect())
        if found:
            yield from self.host.flush()
            if not self._in_order():
                self.memory.clear(found)
                new = self._to_send(found)
            self._invalidate()
        yield self.env.timeout(round(self.n_pages * self.costs.get_ns))
        return new

    def _protect(self) -> Process:
        """The hold: a 64th of the dirty pages after the other, up to the end of a word of the bitmap each."""
        found, new = self.memory.written(), 0
        hold_ns, start_ns = max(1, round(self._hold_ns(found))), self.env.now
        if self._in_order():
            pages, done = sorted(found), 0
            for turn in range(1, 65):
                share = len(pages) * turn // 64
                if share <= done:
                    continue
                end = (pages[share - 1] // 64 + 1) * 64
                mine = {page for page in pages[done:] if page < end}
                done += len(mine)
                yield self.env.timeout(start_ns + hold_ns * done // len(pages) - self.env.now)
                self.memory.clear(mine)
                new += self._to_send(mine)  # user space reads them after the call, and the thread that does is in the call
        yield self.env.timeout(start_ns + hold_ns - self.env.now)
        return found, new

    def _in_order(self) -> bool:
        return self.memory.mechanism not in ("d-bit", "pml") and not self.rules.invalidates

    def _hold_ns(self, found: set[int]) -> float:
        return self.n_pages * self.costs.get_ns if self.memory.mechanism == "d-bit" else len(found) * self.costs.clear_ns


class TwinClear(TwinTracker):
    """KVM_GET_DIRTY_LOG reads; KVM_CLEAR_DIRTY_LOG clears a chunk just before it is sent."""

    def __init__(self, host: TwinHost) -> None:
        super().__init__(host)
        self.got: set[int] = set()
        self.marks: set[int] = set()

    def sync(self) -> Process:
        self._settle_buffers()
        self.got |= self.memory.dirty
        new = self._to_send(self.got)
        self.marks = set(range(-(-self.n_pages // self.rules.chunk_pages)))
        yield self.env.timeout(round(self.n_pages * self.costs.get_ns))
        return new

    def before_send(self, page: int) -> Process:
        chunk, size = page // self.rules.chunk_pages, self.rules.chunk_pages
        if chunk not in self.marks:
            return
        self.marks.remove(chunk)
        self._settle_buffers()
        pages = range(chunk * size, min((chunk + 1) * size, self.n_pages))
        due: list[set[int]] = []
        large: list[int] = []
        mode = "shared" if self.rules.clear_lock == "shared" else "exclusive"
        yield from self.host.lock.hold(mode, lambda: self._due_ns(pages, due, large), lambda ns: self._turn_ns(due[0], ns))
        if due[0] or sum(large):
            yield from self.host.flush()
            if sum(large):
                self.memory.close_large(pages)
            self.memory.clear(due[0])
            self.got -= due[0]

    def _due_ns(self, pages: range, due: list[set[int]], large: list[int]) -> float:
        due.append(self.got & self.memory.dirty & set(pages))
        if self.rules.interface == "initially-all-set":
            large.append(self.memory.open_large(pages))
        each_ns = self.costs.split_ns if self.rules.eager else self.costs.protect_ns
        more_turns_ns = (self._turns(due[0]) - 1) * self.costs.lock_pair_ns
        kept = {page for page in due[0] if not (large and self.rules.eager and self.memory.is_large(page))}
        small = {page for page in kept if self.memory.is_small(page)}
        bare = {page // MASK_BITS for page in kept} - {page // MASK_BITS for page in small}
        walked_ns = len(small) * self.costs.clear_ns + len(bare) * self.costs.bare_word_ns
        return walked_ns + sum(large) * each_ns + more_turns_ns

    def _turns(self, due: set[int]) -> int:
        """Times that mmu_lock is taken; words of 64 pages all count alike."""
        return max(1, len({page // MASK_BITS for page in due})) if self.rules.clear_lock == "each-mask" else 1

    def _turn_ns(self, due: set[int], total_ns: int) -> int:
        """Work between two looks whether others wait; 0: none is made."""
        turns = self._turns(due)
        return 0 if turns == 1 else -(-total_ns // turns)


class TwinRings:
    """The dirty rings and the threads that reap them, one at a time."""

    def __init__(self, host: TwinHost) -> None:
        self.host, self.env, self.memory, self.costs = host, host.env, host.memory, host.costs
        self.got: set[int] = set()

    def reap(self) -> Process:
        yield from self.host.in_turn(self._reap())

    def _reap(self) -> Process:
        taken = [list(ring) for ring in self.memory.rings]
        entries = {page for ring in taken for page in ring}
        self.got |= entries
        if not entries:
            return
        masks, n_entries = sum(map(n_masks, taken)), sum(map(len, taken))
        ns = max(1, round(masks * self.costs.lock_pair_ns + n_entries * self.costs.clear_ns))
        yield from self.host.lock.hold("exclusive", lambda: ns, max(1, ns // masks))
        yield from self.host.flush()
        for ring, old in zip(self.memory.rings, taken, strict=True):
            del ring[: len(old)]
        self.memory.clear(entries)


class TwinRing(TwinTracker):
    """KVM_RESET_DIRTY_RINGS, with all vCPUs out."""

    def sync(self) -> Process:
        yield from self.host.all_out()
        rings = self.host.rings
        yield from rings.reap()
        new = self._to_send(rings.got)
        rings.got = set()
        self.host.let_in()
        return new


def n_masks(ring: list[int]) -> int:
    """Runs of entries that fit into one word of 64 pages each."""
    n, base, mask = 0, 0, 0
    for page in ring:
        above, below = page - base, base - page
        if mask and 0 <= above < MASK_BITS:
            mask |= 1 << above
        elif mask and 0 < below < MASK_BITS and mask << below < 1 << MASK_BITS:
            base, mask = page, mask << below | 1
        else:
            n, base, mask = n + 1, page, 1
    return n


def tracker_of(host: TwinHost) -> TwinTracker:
    """By the interface of the case."""
    interfaces = {
        "get-dirty-log": TwinGet, "clear-dirty-log": TwinClear, "initially-all-set": TwinClear, "dirty-ring": TwinRing,
    }  # fmt: skip
    return interfaces[host.guest.case.rules.interface](host)
