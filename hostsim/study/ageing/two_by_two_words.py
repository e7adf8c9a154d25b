"""The verdict of the 2x2 on "if so, you need a fast rmap"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hostsim.study.ageing.two_by_two import Cell

NEEDED_RATIO = 2.0
"""An index is needed where a pass without it takes more than this many times as long."""


def verdict_lines(cells: Sequence[Cell]) -> Iterator[str]:
    """The verdict as lines, each computed from the figures of ``cells``."""
    alone = [cell for cell in cells if not cell.migrates]
    ratios = {a_bits: _ratio([cell for cell in alone if cell.a_bits is a_bits]) for a_bits in (True, False)}
    for a_bits, ratio in ratios.items():
        yield f"{'With' if a_bits else 'Without'} the bit a pass through the slow index takes {ratio:.1f} times as long."
    needed = {a_bits for a_bits, ratio in ratios.items() if ratio > NEEDED_RATIO}
    yield "VERDICT: 'if the hardware has the bit, you need a fast rmap' " + _logic(needed) + "."
    yield from _price(cells)


def _ratio(cells: Sequence[Cell]) -> float:
    fast, slow = cells
    return slow.pass_ns / fast.pass_ns


def _logic(needed: set[bool]) -> str:
    if needed == {True, False}:
        return "holds, but the bit is only sufficient: without it a pass makes the same look-ups, and needs it as well"
    if needed == {True}:
        return "holds, and the bit is necessary, too: without it the index does not matter"
    return "does not hold here: a pass is as fast without" if True not in needed else "holds"


def _price(cells: Sequence[Cell]) -> Iterator[str]:
    """The faults and the time of a migration that a missing bit adds, with the fast index."""
    fast = cells[0].index
    for migrates in (False, True):
        mine = {cell.a_bits: cell for cell in cells if cell.migrates is migrates and cell.index == fast}
        with_bit, without = mine[True], mine[False]
        told = f"{without.faults:.0f} faults a pass of the guest's, {with_bit.faults:.0f} with it"
        if without.migration_s and with_bit.migration_s:
            times = without.migration_s / with_bit.migration_s
            told += f"; the migration takes {times:.1f} times as long" + ("" if without.completed else " and is given up")
        yield f"What the missing bit costs{' under a migration' if migrates else ''}: {told}."
