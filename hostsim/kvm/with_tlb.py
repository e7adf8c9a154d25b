"""The arrays of a VM whose TLBs are modelled: all drawn touches by weight, and what a STALE page weighs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hostsim.guest import touch
from hostsim.guest.workload import Guest
from hostsim.kvm.loops import layout as lay
from hostsim.kvm.loops.armed import count_range
from hostsim.kvm.miss_chances import sweep_gap_ns, trace_gap_ns

Ints = NDArray[np.int64]
SUM_BITS = ((lay.P_WEIGHTS, lay.REGION_BITS), (lay.P_SUPERS, lay.SUPER_BITS))


def by_weight(kvm: lay.Kvm, guest: Guest) -> lay.Kvm:
    """Uniform parts become parts by weight, UNIT a page; ``state[CLEARED]`` has its place. Draws so far stand. In place."""
    parts, tape = kvm.parts.copy(), [kvm.tape]
    length = len(kvm.tape)
    for part in parts:
        if part[lay.P_KIND] == lay.UNIFORM:
            part[lay.P_KIND] = lay.BY_WEIGHT
            for at, bits in SUM_BITS:
                part[at] = length
                tape.append(np.zeros(_sums(part, bits), np.int64))
                length += len(tape[-1])
    flat = np.flatnonzero(kvm.ints[:, touch.KIND] == touch.FLAT)
    kvm.streams[np.isin(kvm.streams[:, lay.S_CLASS], flat), lay.S_DRAWN] *= lay.UNIT
    kvm.state[lay.CLEARED] = length
    tape.append(np.zeros(len(kvm.sptes.spte) + len(kvm.sptes.level), np.int64))
    return replace(kvm, parts=parts, tape=np.concatenate(tape), rates=_rates(kvm, guest))


def _sums(part: Ints, bits: int) -> int:
    return max(1, int((part[lay.P_END] - 1) >> bits) - int(part[lay.P_FIRST] >> bits) + 1)


def _rates(kvm: lay.Kvm, guest: Guest) -> NDArray[np.float64]:
    """R_SCALE: of FLAT and PACED classes by UNIT; of sweeps and traces the time between touches of a page [ns]."""
    rates = kvm.rates.copy()
    for c, row in enumerate(guest.table.ints):
        kind = row[touch.KIND]
        if kind == touch.FLAT:
            rates[lay.R_SCALE, c] = guest.table.mean_ns[c] * lay.UNIT
        elif kind == touch.PACED:
            rates[lay.R_SCALE, c] = lay.UNIT
        elif kind == touch.SWEEP:
            rates[lay.R_SCALE, c] = sweep_gap_ns(row)
        elif kind == touch.TRACE:
            rates[lay.R_SCALE, c] = trace_gap_ns(guest, c)
    return rates


def with_columns(kvm: lay.Kvm, length: int, columns: Sequence[Ints]) -> lay.Kvm:
    """``columns`` by class, weights of STALE pages, one for all or one each, lie behind ``length`` words of the tape."""
    ints, at = kvm.ints.copy(), length
    for row, column in zip(ints, columns, strict=True):
        row[lay.C_MISS], row[lay.C_STEP] = at, len(column) > 1
        at += len(column)
    return replace(kvm, ints=ints, tape=np.concatenate([kvm.tape[:length], *columns]))


def column(kvm: lay.Kvm, c: int, chances: Iterable[NDArray[np.float64]]) -> Ints:
    """Weights of the pages of class ``c`` while they are STALE, by their ``chances`` to miss, piece after piece.

    int64[n_pages], or int64[1] if all are the same.
    """
    row, pieces, at = kvm.ints[c], [], 0
    for chance in chances:
        if row[touch.KIND] == touch.WEIGHTED:
            first = int(row[touch.DATA_OFFSET]) + at
            pieces.append(np.rint(kvm.page_weights[first : first + len(chance)] * chance).astype(np.int64))
        elif chance.min() == chance.max():
            pieces.append(np.broadcast_to(np.int64(np.rint(chance[0] * lay.UNIT)), len(chance)))
        else:
            pieces.append(np.rint(chance * lay.UNIT).astype(np.int64))
        at += len(chance)
    if all(piece.min() == piece.max() == pieces[0][0] for piece in pieces):
        return pieces[0][:1].copy()
    return np.concatenate(pieces)


def count_anew(kvm: lay.Kvm) -> None:
    """What is armed is counted again, all of it. In place."""
    kvm.counts[: lay.STALE_ROW] = 0
    kvm.parts[:, lay.P_ARMED] = 0
    for part in kvm.parts[kvm.parts[:, lay.P_KIND] == lay.BY_WEIGHT]:
        for at, bits in SUM_BITS:
            kvm.tape[part[at] : part[at] + _sums(part, bits)] = 0
    count_range(kvm, 0, len(kvm.sptes.spte), 1)
