"""The arrays of a VM with modelled TLBs: all drawn touches by weight, and the weights of STALE pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.record import Records
from hostsim.guest import touch
from hostsim.guest.workload import Guest
from hostsim.kvm.lay_out import set_shares
from hostsim.kvm.loops import layout as lay
from hostsim.kvm.loops.armed import count_range
from hostsim.kvm.miss_chances import sweep_gap_ns, trace_gap_ns

Ints = NDArray[np.int64]
SUM_BITS = (("weights_at", lay.REGION_BITS), ("supers_at", lay.SUPER_BITS))


def by_weight(kvm: lay.Kvm, guest: Guest) -> lay.Kvm:
    """Turn uniform parts of ``kvm`` into parts by weight, UNIT a page, and lay out State.cleared_at; draws stay.

    guest: rates of its classes.
    Returns the state with the new arrays; ``kvm.streams`` and ``kvm.state`` change in place.
    """
    parts, tape = kvm.parts.copy(), [kvm.tape]
    length = len(kvm.tape)
    for part in parts:
        if part.kind == lay.UNIFORM:
            part.kind = lay.BY_WEIGHT
            for at, bits in SUM_BITS:
                setattr(part, at, length)
                tape.append(np.zeros(_sums(part, bits), np.int64))
                length += len(tape[-1])
    flat = np.flatnonzero(kvm.ints[:, touch.KIND] == touch.FLAT)
    kvm.streams["drawn_weight"][np.isin(kvm.streams["touch_class"], flat)] *= lay.UNIT
    kvm.state.cleared_at = length
    tape.append(np.zeros(len(kvm.sptes.spte) + len(kvm.sptes.level), np.int64))
    return replace(kvm, parts=parts, tape=np.concatenate(tape), rates=_rates(kvm, guest))


def _sums(part: lay.Part, bits: int) -> int:
    return max(1, int((part.end - 1) >> bits) - int(part.first >> bits) + 1)


def _rates(kvm: lay.Kvm, guest: Guest) -> Records[lay.Rate]:
    """Rate.scale: of FLAT and PACED classes by UNIT; of sweeps and traces the time between touches of a page [ns]."""
    rates = kvm.rates.copy()
    for c, row in enumerate(guest.table.ints):
        kind = row[touch.KIND]
        if kind == touch.FLAT:
            rates[c].scale = guest.table.mean_ns[c] * lay.UNIT
        elif kind == touch.PACED:
            rates[c].scale = lay.UNIT
        elif kind == touch.SWEEP:
            rates[c].scale = sweep_gap_ns(row)
        elif kind == touch.TRACE:
            rates[c].scale = trace_gap_ns(guest, c)
    set_shares(rates, guest.table.ints)
    return rates


def with_columns(kvm: lay.Kvm, length: int, columns: Sequence[Ints]) -> lay.Kvm:
    """``kvm`` with ``columns`` behind ``length`` words of the tape: by class, int64[1] or int64[n_pages], STALE weights."""
    classes, at = kvm.classes.copy(), length
    for found, column in zip(classes, columns, strict=True):
        found.miss_at, found.miss_step = at, len(column) > 1
        at += len(column)
    return replace(kvm, classes=classes, tape=np.concatenate([kvm.tape[:length], *columns]))


def column(kvm: lay.Kvm, c: int, chances: Iterable[NDArray[np.float64]]) -> Ints:
    """Weights of the pages of class ``c`` while they are STALE, by their ``chances`` to miss, piece after piece.

    Returns int64[n_pages], or int64[1] if all pages have one weight.
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
    """Count all armed pages again, in place."""
    kvm.counts[: lay.STALE_ROW] = 0
    kvm.parts["armed"] = 0
    for part in kvm.parts:
        if part.kind == lay.BY_WEIGHT:
            for sums, bits in SUM_BITS:
                at = getattr(part, sums)
                kvm.tape[at : at + _sums(part, bits)] = 0
    count_range(kvm, 0, len(kvm.sptes.spte), 1)
