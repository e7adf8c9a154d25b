"""The repetition that a number is: noise of neighbours asks for another one than the layout of memory.

Noise has one sign. A neighbour of the host, on the other thread of the core or in the shared cache, lengthens all that is
timed, by 15 to 40 % for fractions of a second to seconds, and shortens nothing. The loop beside each repetition tells those
on a core of their own (pace.py); a neighbour in the shared cache, or one that comes and goes between the two loops, it does
not show. The lower quartile of the calm repetitions is right as long as three tenths of them met none; it is no lucky
repetition, since a quarter are shorter.

The layout of memory has both signs: each VM, and each allocation, lies better or worse for good. Its middle is wanted, the
median. So it is of differences of two timings of one row, since the noise may be in either.
"""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.measure.calibrate.sample import Sample
from hostsim.measure.kvm.chains import CHAIN_WORK, CHAINS, chain_name

OF_LAYOUT = frozenset({
    "pages_a_map_fault", "unmap_page_ns",
    *(chain_name(work, length) for work in CHAIN_WORK for length in CHAINS),
})  # fmt: skip
"""Work on descriptors of the rmap and on pages that go back to the host, which lie in a row or scattered."""
OF_PAIRS = frozenset({
    "first_map_more_ns", "scattered_fault_ns", "allocation_ns", "enable_next_call_ns", "disable_next_call_ns",
    "clear_one_more_ns", "sync_table_ns", "sync_spte_ns", "sync_drop_ns", "sync_protect_ns", "root_load_ns", "invlpg_ns",
    "invlpg_spte_ns", "emulated_more_ns", "zap_table_ns", "zap_entry_ns", "swap_slot_ns",
})  # fmt: skip
"""Differences of two timings, one right after the other."""


@dataclass(frozen=True)
class Estimate:
    """A number from its repetitions. ns: its value; which: words for the repetition that it is."""

    ns: float
    which: str


def estimate(name: str, sample: Sample) -> Estimate:
    """The number ``name`` of its repetitions ``sample``."""
    if name in OF_LAYOUT | OF_PAIRS:
        return Estimate(sample.median_ns, "median")
    return Estimate(sample.low_ns, "lower quartile")
