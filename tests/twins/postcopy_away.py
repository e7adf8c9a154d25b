"""Drawn migrations whose source has swapped pages out at the switch to post-copy, in the engine and in the twin."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import simpy

from hostsim.guest.vm import Vm
from hostsim.kvm.loops.layout import AWAY, RESIDENT
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.postcopy import steps
from hostsim.qemu.postcopy.destination import Destination
from tests.twins import migration as twin_migration
from tests.twins.configs import MS
from tests.twins.postcopy import ARRIVE, THREAD, TwinPhase
from tests.twins.postcopy_compare import disagreement, drawn_postcopy


def drawn_away(seed: int) -> MachineSpec:
    """Machine number ``seed``; frames hold 4 KiB where memory is swapped, so host pages do, too."""
    spec = drawn_postcopy(seed)
    return replace(spec, migration=replace(spec.migration, host_page_bytes=4096))


def delays_of(seed: int, n_pages: int) -> dict[int, int]:
    """Pages that are swapped out at the switch, and the time [ns] that reading each of them back takes."""
    rng = Random(f"away {seed}")
    share, longest = rng.choice((0.05, 0.5, 1.0)), rng.choice((1_000, 100_000, 3 * MS))
    return {gfn: rng.randrange(1, longest) for gfn in range(n_pages) if rng.random() < share}


class SwappedVm(Vm):
    """A guest some of whose pages are away from the switch on; each is read back in a time of its own."""

    places: Any
    delays: dict[int, int]
    back_ns: dict[int, int]

    @property
    def backing(self) -> Any:
        return self.places

    def read_back(self, page: int) -> Generator[simpy.Event, Any, None]:
        back_ns = self.back_ns.setdefault(page, self.env.now_ns + self.delays[page])
        yield self.env.timeout(max(0, back_ns - self.env.now_ns))
        self.places[page] = RESIDENT


class TwinAwayPhase(TwinPhase):
    seed = 0

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.delays = delays_of(self.seed, len(self.m.memory.content))
        self.back_ns: dict[int, int] = {}
        self.held, self.returns_ns = -1, 0

    def _is_away(self, gfn: int) -> bool:
        return gfn in self.delays and self.back_ns.get(gfn, self.now + 1) > self.now

    def _read_ns(self, gfn: int) -> int:
        return self.back_ns.setdefault(gfn, self.now + self.delays[gfn])

    def _bring(self, gfn: int) -> None:
        if not self._is_away(gfn):
            return
        self.held = gfn
        while self._is_away(gfn):
            self.until(self._read_ns(gfn), THREAD)
        self._let_return_path_read()
        self.held = -1

    def _let_return_path_read(self) -> None:
        while self.returns_ns > self.now:
            self.until(self.returns_ns, THREAD)

    def _arrive(self, gfn: int, life: int) -> None:
        is_for_us = self.p.postcopy_preempt and not self.old and life == self.life and not self.is_down
        if not is_for_us or self.now < self.return_busy:
            super()._arrive(gfn, life)
        elif gfn == self.held:
            self.requests += 1
        elif gfn in self.bitmap and self._is_away(gfn):
            self.return_busy = self.returns_ns = self._read_ns(gfn)
            self._at(self.return_busy, ARRIVE, lambda: self._arrive(gfn, life))
        else:
            super()._arrive(gfn, life)

    def _disconnect(self) -> None:
        self.held, self.returns_ns = -1, 0


def away_disagreement(seed: int, patched: Callable[..., None]) -> str:
    """Empty if machine ``seed`` with swapped pages gives equal facts in twin and engine; ``patched``: sets an attribute."""

    def destination(migration: Any, arrived_ns: int) -> Destination:
        vm = migration.vm
        vm.__class__, vm.delays, vm.back_ns = SwappedVm, delays_of(seed, vm.memory.n_pages), {}
        vm.places = np.full(vm.memory.n_pages, RESIDENT, np.uint8)
        vm.places[list(vm.delays)] = AWAY
        return _ORIGINAL(migration, arrived_ns)

    patched(steps, "_destination", destination)
    patched(TwinAwayPhase, "seed", seed)
    patched(twin_migration, "TwinPhase", TwinAwayPhase)
    return disagreement(seed, drawn_away(seed))


_ORIGINAL = steps._destination
