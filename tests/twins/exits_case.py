"""A guest that exits, as plain values: mappings at the start, programs of its vCPUs, costs."""

from __future__ import annotations

from dataclasses import dataclass

REGION_PAGES = 512
Flags = frozenset[str]


@dataclass(frozen=True)
class Program:
    """Accesses to first, first + step, .. below first + n, the first at start_ns; pml: entries in the buffer by then."""

    first: int
    n: int
    step: int
    is_write: bool
    start_ns: int
    loop_ns: int
    pml: int = 0

    def pages(self) -> range:
        return range(self.first, self.first + self.n, self.step)


@dataclass(frozen=True)
class Costs:
    """mode, hold_ns: by kind, in the order map, track, wp, split; queue_ns: by mode, then by requests beside one's own."""

    exit_ns: int
    entry_ns: int
    spurious_ns: int
    pml_ns: int
    pml_drain_ns: int
    mode: dict[str, str]
    hold_ns: dict[str, int]
    queue_ns: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Case:
    """spte: flags of 4 KiB mappings; large: flags by region of those mapped by one large spte."""

    n_regions: int
    spte: dict[int, Flags]
    large: dict[int, Flags]
    logged: bool
    pml: bool
    huge: bool
    programs: tuple[Program, ...]
    costs: Costs

    def starts_protected(self) -> bool:
        """Whether no write can pass unseen: none is writable, or, with D bits, none both writable and dirty.

        A large spte is never left to the D bit: one bit would stand for 512 pages.
        """
        if any("writable" in flags for flags in self.large.values()):
            return False
        unseen = {"writable", "dirty"} if self.pml else {"writable"}
        return not any(unseen <= flags for flags in self.spte.values())
