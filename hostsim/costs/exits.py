"""Exits of a guest under KVM: the list of their kinds, lock modes of their faults, and their costs.

A kind is defined once, in ``EXITS``. Cost tables, counters, columns of results, tables, pictures, the verdict and the page
of results follow that list; the compiled loops use the numbers.

Linux arch/x86/kvm/mmu/mmu.c::fast_page_fault, ::direct_page_fault, ::kvm_tdp_mmu_map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

NOTHING, MAP, TRACK, WP, SPLIT, SPURIOUS, PML_FULL, RETRY = range(8)
"""Numbers of the engine. NOTHING: no fault, as IPIs and kicks. Kinds with a cost of their own precede RETRY."""
USER_SPACE = -1
"""Number of the kinds that the vCPU's thread counts in user space."""
NONE, SHARED, EXCLUSIVE = range(3)
"""Mode in which a fault takes mmu_lock."""


@dataclass(frozen=True)
class ExitKind:
    """A kind of exit.

    number: index of the engine's counters and cost tables, or USER_SPACE.
    name: counter of ``Tally`` and column of results.
    cost: key of eras and cost tables; "" for an exit that costs leaving and entering the guest alone.
    heading: of a column.
    label: of a line in a picture.
    title: of a column beside figures of other kinds.
    words: plural, for a sentence.
    meaning: explanation for the page of results.
    handles_fault: the exit ends a fault.
    spare: narrow tables may leave the kind out.
    compared: tables of ``hostsim compare`` show the kind.
    """

    number: int
    name: str
    cost: str
    heading: str
    label: str
    words: str
    meaning: str
    handles_fault: bool = True
    spare: bool = False
    compared: bool = False

    @property
    def title(self) -> str:
        """``wp faults``, ``PML full``."""
        return self.name.replace("_", " ") if self.handles_fault else self.heading


EXITS = (
    ExitKind(
        WP, "wp_faults", cost="wp", heading="wp", label="write protection", words="write-protection faults",
        meaning="exits that handled the first write to a write-protected page", compared=True,
    ),
    ExitKind(
        MAP, "map_faults", cost="map", heading="map", label="map", words="map faults",
        meaning="exits that mapped a page", compared=True,
    ),
    ExitKind(
        SPLIT, "split_faults", cost="split", heading="split", label="split", words="faults that split a large page",
        meaning="exits that split a large page, because a write to it has to be logged by 4 KiB", compared=True,
    ),
    ExitKind(
        TRACK, "track_faults", cost="track", heading="track", label="access tracking", words="access-tracking faults",
        meaning="exits that made a page accessible again after ageing had taken the access away",
    ),
    ExitKind(
        SPURIOUS, "spurious", cost="spurious", heading="spurious", label="spurious", words="spurious faults",
        meaning="faults on a page that another vCPU had opened meanwhile", spare=True,
    ),
    ExitKind(
        RETRY, "retries", cost="", heading="retried", label="retried", words="retried faults",
        meaning="faults that an mmu-notifier invalidation sent back", handles_fault=False, spare=True,
    ),
    ExitKind(
        PML_FULL, "pml_full", cost="pml_full", heading="PML full", label="PML buffer full", words="full PML buffers",
        meaning="exits because a PML buffer was full (512 pages)", handles_fault=False, compared=True,
    ),
    ExitKind(
        USER_SPACE, "ring_full", cost="", heading="ring full", label="ring full", words="full rings",
        meaning="exits to user space because a dirty ring was full", handles_fault=False, compared=True,
    ),
)  # fmt: skip
"""In the order of results: columns of files, tables, legends."""
COUNTED = tuple(sorted((kind for kind in EXITS if kind.number != USER_SPACE), key=lambda kind: kind.number))
"""Those that the engine counts, by number."""
COSTED = tuple(kind for kind in COUNTED if kind.cost)
"""Those with a cost of their own, by number: from 1 on, without a gap."""
COST_KEYS = ("nothing", *(kind.cost for kind in COSTED))
"""Keys of the rows of ``ExitCosts.mode`` and ``hold_ns``."""
N_KINDS = len(COST_KEYS)
assert [kind.number for kind in COUNTED] == list(range(1, len(COUNTED) + 1)), "numbers of exits have a gap"


class ExitCosts(NamedTuple):
    """Nanoseconds.

    mode, hold_ns: int64[N_KINDS] by kind.
    queue_ns: int64[3, k], added to a hold in a mode with k others.
    crowd_ns: int64[k], added to a page that is populated while k other vCPUs populate.
    lone_ns: int64[2], added to a fault 0.2 ms and 1 ms after the vCPU's last entry.
    scattered_ns: added to a fault far from the page of the vCPU's last one.
    prefetch_ns: added to a hold by each spte that the fault prefetches.
    ipi_ns: added to leaving and entering the guest where an IPI is the reason.
    before_ns: int64[N_KINDS] by kind, handling of a fault that takes mmu_lock before it asks for it.
    wait_lock_ns: until a reader that has met a writer at mmu_lock stands in the queue, one reader after the other.
    word_ns: until the lock word comes to a thread of the host that takes mmu_lock after a vCPU.
    """

    exit_ns: int
    entry_ns: int
    spurious_ns: int
    pml_ns: int
    pml_drain_ns: int
    mode: Ints
    hold_ns: Ints
    queue_ns: Ints
    crowd_ns: Ints = np.zeros(1, np.int64)
    lone_ns: Ints = np.zeros(2, np.int64)
    scattered_ns: int = 0
    prefetch_ns: int = 0
    ipi_ns: int = 0
    before_ns: Ints = np.zeros(N_KINDS, np.int64)
    wait_lock_ns: int = 0
    word_ns: int = 0

    def of_new_pages(self, first_map_ns: int) -> ExitCosts:
        """These costs where no VM has mapped the pages since the host made them.

        No run has such pages: a VM starts with its pages mapped, and populate_ns and the times of a swap device contain the
        first mapping of a new page.

        first_map_ns: added to the page of a map fault and to each page that it prefetches.
        """
        added = np.where(np.arange(len(self.hold_ns)) == MAP, first_map_ns, 0)
        return self._replace(hold_ns=self.hold_ns + added, prefetch_ns=self.prefetch_ns + first_map_ns)
