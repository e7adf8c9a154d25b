"""Ageing of a VM's pages through KVM's mmu notifier, by the trigger that this kernel has.

Only /sys/kernel/mm/page_idle/bitmap ages the pages that it is given, in the system call itself
(Documentation/admin-guide/mm/idle_page_tracking.rst, mm/page_idle.c::page_idle_clear_pte_refs_one). Every page is marked
with its sptes mapped, right after that without: the difference is KVM's clear_young. No counter of KVM moves by it; the
proof is that marked pages read as idle, and no longer do when the guest has written them through sptes that it kept.

The other triggers give no time of a page. DAMON's thread samples one page of each region at an interval, and its processor
time is that of the regions, of walks over the host's page tables and of waking up. MGLRU's debugfs ages a whole memory
cgroup, by page table. Reclaim ages a page on its way out, twice, and unmaps it in the same call.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hostsim.measure.kvm.bench import Bench, Timing, host_timing
from hostsim.measure.kvm.chains import CHAINS, chain_name, map_all
from hostsim.measure.kvm.device import refusal
from hostsim.measure.kvm.page_tables import PAGE_BYTES
from hostsim.measure.kvm.passes import LEAVES, Row, complaint_of, forget, write
from hostsim.measure.kvm.rules import REPETITIONS_MIN, about
from hostsim.measure.kvm.vm import Vm

AGED_BYTES = 16 << 20
AGE = "age"
"""The work, in names of chains."""
NEARLY = 0.99
WORD_BITS = 64
PRESENT, FRAME = np.uint64(1 << 63), np.uint64((1 << 55) - 1)
"""Of an entry of /proc/self/pagemap."""


@dataclass(frozen=True)
class Kernel:
    """Files of the kernel below ``root``."""

    root: Path = Path("/")

    @property
    def bitmap(self) -> Path:
        """Idle bits of all page frames."""
        return self.root / "sys/kernel/mm/page_idle/bitmap"

    @property
    def pagemap(self) -> Path:
        """Frames of this process."""
        return self.root / "proc/self/pagemap"

    def why_not(self) -> str:
        """The reasons for which this kernel ages no page on demand; empty if it does."""
        return "" if self.bitmap.exists() else "; ".join(self._reasons())

    def _reasons(self) -> Iterator[str]:
        yield "ageing: this kernel has no page_idle (CONFIG_IDLE_PAGE_TRACKING)"
        kdamonds = self.root / "sys/kernel/mm/damon/admin/kdamonds"
        if kdamonds.exists():
            on = [path.parent.name for path in sorted(kdamonds.glob("*/state")) if path.read_text().strip() == "on"]
            in_use = f", and kdamond {', '.join(on)} works for others" if on else ""
            yield f"DAMON samples a page of a region at an interval, which gives no time of a page{in_use}"
        if (self.root / "sys/kernel/debug/lru_gen").exists():
            yield "MGLRU ages a whole memory cgroup, which gives no time of a page"


def ages(bench: Bench, kernel: Kernel | None = None) -> None:
    """Measure with ``bench`` the time to age a page by its sptes, or note the reason why it cannot be measured.

    kernel: its page_idle bitmap; None: this machine's.
    """
    kernel = kernel or Kernel()
    if why_not := kernel.why_not():
        bench.absent["age_page_ns"] = why_not
        return
    for length in CHAINS:
        with bench.vm(memory_bytes=AGED_BYTES, aliases=length) as vm:
            for _ in range(REPETITIONS_MIN):
                if not _age_round(bench, vm, length, kernel):
                    return  # EPT or NPT: a page has one spte


def _age_round(bench: Bench, vm: Vm, length: int, kernel: Kernel) -> bool:
    """False if KVM keeps no chain."""
    n, before = vm.spec.n_pages, vm.read_counters()[LEAVES]
    map_all(vm)
    if vm.read_counters()[LEAVES] - before < NEARLY * n * length:
        return False
    with IdleBits(kernel, vm) as idle:
        with_sptes, without = both = _with_and_without(vm, idle)
        why_not = complaint_of([without], about(LEAVES, 0)) or _unproven(vm, idle)
    aged_ns = (with_sptes.ns - without.ns) / n
    bench.keep(chain_name(AGE, length), aged_ns, both, why_not)
    if length == 1:
        bench.keep("age_page_ns", aged_ns, both, why_not)
    forget(vm)
    return True


def _with_and_without(vm: Vm, idle: IdleBits) -> Row:
    """Marking every page, mapped at all of its addresses; then again after KVM has forgotten them."""
    map_all(vm)
    _touch(vm)
    with_sptes = idle.mark()
    forget(vm)
    _touch(vm)
    return with_sptes, idle.mark()


def _touch(vm: Vm) -> None:
    """The host's own young bits are set, on both sides of the difference."""
    vm.memory.array(np.uint64)[:: PAGE_BYTES // 8].sum()


def _unproven(vm: Vm, idle: IdleBits) -> str:
    """Empty if KVM took part: marked pages are idle, and a write of the guest, without a fault, ends that."""
    map_all(vm)
    idle.mark()
    marked = idle.count()
    write(vm)
    left, n = idle.count(), vm.spec.n_pages
    if marked < NEARLY * n:
        return f"{marked} of {n} pages were idle after they had been marked"
    return "" if left <= n - NEARLY * n else f"{left} of {n} pages were still idle after the guest had written them"


def words_of(frames: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """(Words of the bitmap, ascending; the bits of ``frames`` in each), both uint64[words]."""
    words, where = np.unique(frames // np.uint64(WORD_BITS), return_inverse=True)
    masks = np.zeros(len(words), np.uint64)
    np.bitwise_or.at(masks, where, np.uint64(1) << frames % np.uint64(WORD_BITS))
    return words, masks


def _frames(pagemap: Path, first: int, n: int) -> NDArray[np.uint64]:
    """Frames of the pages [first, first + n) of this process. KvmError if one is not present, or the kernel hides it."""
    try:
        with pagemap.open("rb", buffering=0) as file:
            file.seek(first * 8)
            entries = np.frombuffer(file.read(n * 8), np.uint64)
    except OSError as error:
        raise refusal(str(pagemap), os.strerror(error.errno or 0)) from error
    frames = entries & FRAME
    if len(entries) < n or not ((entries & PRESENT).astype(bool) & (frames > 0)).all():
        raise refusal(str(pagemap), "a page of the VM has no frame there", "root needs CAP_SYS_ADMIN: leave the container")
    return frames


class IdleBits:
    """A context manager: the idle bits of a VM's memory.

    kernel: its files. vm: its memory is present, and stays where it is meanwhile.
    """

    def __init__(self, kernel: Kernel, vm: Vm) -> None:
        frames = _frames(kernel.pagemap, vm.memory.address // PAGE_BYTES, vm.spec.n_pages)
        self._words, self._masks = words_of(frames)
        self._path, self._vm = kernel.bitmap, vm

    def __enter__(self) -> Self:
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise refusal(str(self._path), os.strerror(error.errno or 0)) from error
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._fd)

    def mark(self) -> Timing:
        """Set every bit, which clears the page's young bits, KVM's among them."""
        writes = [(mask.tobytes(), int(word) * 8) for word, mask in zip(self._words, self._masks, strict=True)]
        return host_timing(self._vm, partial(self._write, writes))

    def _write(self, writes: list[tuple[bytes, int]]) -> None:
        for content, at in writes:
            os.pwrite(self._fd, content, at)

    def count(self) -> int:
        """Pages that are idle now."""
        found = [os.pread(self._fd, 8, int(word) * 8) for word in self._words]
        idle = np.frombuffer(b"".join(found), np.uint64) & self._masks
        return int(np.unpackbits(idle.view(np.uint8)).sum())
