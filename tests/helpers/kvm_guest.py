"""A guest under KVM whose log is kept by hand: no SimPy, no migration."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from hostsim.core.memory import lay_out, make_memory
from hostsim.costs.exits import EXCLUSIVE, MAP, N_KINDS, NONE, SHARED, SPLIT, WP, ExitCosts
from hostsim.guest.pacing import work_at
from hostsim.guest.workload import Workload, build_guest
from hostsim.kvm.engine import GuestEngine
from hostsim.kvm.lay_out import MmuConfig


def exit_costs(mode: int = NONE, ns: int = 300) -> ExitCosts:
    """Every fault takes mmu_lock in ``mode``; leaving, holding and entering take ``ns`` each."""
    modes, holds = np.full(N_KINDS, mode, np.int64), np.full(N_KINDS, ns, np.int64)
    return ExitCosts(ns, ns, ns, 0, 0, modes, holds, np.zeros((3, 1), np.int64))


class HandGuest:
    """A VM of ``n_pages``, logged from 0 on; ``harvest`` is GET with protection, at no cost."""

    def __init__(self, loads: list[Workload], n_pages: int, n_vcpus: int, **settings: Any) -> None:
        """Settings: seed, costs, config (MmuConfig), filled (pages with content), eager, log_capacity."""
        filled = settings.get("filled", n_pages)
        self.memory = make_memory(lay_out([("pc.ram", n_pages, [(0, filled)] if filled else [])]))
        self.guest = build_guest(loads, settings.get("seed", 1))
        config, costs = settings.get("config", MmuConfig()), settings.get("costs", exit_costs())
        log_capacity = settings.get("log_capacity", 0)
        self.engine = GuestEngine(self.guest, self.memory, n_vcpus, config, costs, log_capacity=log_capacity)
        self.engine.log.start(all_set=False, eager=settings.get("eager", True), now_ns=0)
        self.n_pages = n_pages

    def run(self, until_ns: int) -> None:
        """Up to ``until_ns``; no event for the host may come."""
        assert self.engine.advance(until_ns) is None

    def harvest(self, now_ns: int) -> np.ndarray:
        """Gfns in the log, which is cleared."""
        due, bmap = np.zeros(self.n_pages, np.uint8), np.zeros(self.n_pages, np.uint8)
        self.engine.log.mark_due(due, 0, self.n_pages)
        self.engine.log.clear(due, 0, self.n_pages, split=False, protect_large=False, now_ns=now_ns, bmap=bmap)
        self.engine.mmu.check_counts()
        assert self.engine.log.first_unrecorded() == -1
        return np.flatnonzero(bmap)

    def work_ns(self, now_ns: int) -> list[int]:
        """Work done by each clock."""
        return [int(work_at(row, now_ns)) for row in self.guest.clocks]


def load(pattern: str, n_pages: int, rate: float, vcpus: int = 1, **settings: Any) -> Workload:
    """Writes at ``rate`` a second over all vCPUs to pages from 0 on."""
    return Workload("w", pattern, tuple(range(vcpus)), 0, n_pages, Fraction(rate), **settings)


__all__ = ["EXCLUSIVE", "MAP", "NONE", "SHARED", "SPLIT", "WP", "HandGuest", "MmuConfig", "exit_costs", "load"]
