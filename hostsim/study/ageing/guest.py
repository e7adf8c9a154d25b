"""The scenario of a guest whose memory is aged, as the table of a scenario file."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from hostsim.core.constants import NS_PER_S, PAGE_BYTES
from hostsim.core.units import format_bytes, format_duration, format_rate
from hostsim.costs.costs import load_costs
from hostsim.memory.policies.registry import policy_of

Under = Literal["faulting", "touching", "idle"]
UNDER: tuple[Under, ...] = ("faulting", "touching", "idle")
CAP_PERIODS = 1000
"""An aged run is over after its passes, or when memory is populated; this many times as long is the cap of its duration."""
POPULATING = "600s"
"""The cap of a guest that populates its memory and is not aged."""


@dataclass(frozen=True)
class Load:
    """The touches of a guest.

    exponent: of the Zipf law by which pages are drawn, 0: all pages alike.
    rate_per_s: touches of a vCPU a second; write_share: share of them that write, the others read.
    """

    exponent: float = 0.9
    rate_per_s: Fraction = Fraction(200_000)
    write_share: Fraction = Fraction(0)


@dataclass(frozen=True)
class AgedGuest:
    """under: faulting (memory is populated meanwhile), touching (it is there, and touched by ``load``), idle.

    mmu: keys of [vm.mmu]; period_ns: from the begin of a pass to that of the next, if it is over by then; passes: how many,
    under faulting as many as it takes to populate memory.
    """

    n_vcpus: int
    vcpu_pages: int
    under: Under = "touching"
    load: Load = Load()
    mmu: dict[str, Any] = field(default_factory=dict)
    period_ns: int = 250_000_000
    passes: int = 4

    def table(self, policy: str = "", mmu_lock: str = "era", seed: int = 1) -> dict[str, Any]:
        """The scenario as a table of TOML keys. InputError if there is no such policy or sheet.

        policy: of [ageing]; "": the guest is not aged.
        mmu_lock: how ageing takes mmu_lock, "era": as the kernel does.
        seed: of the scenario.
        """
        vm = {
            "memory": format_bytes(self.n_vcpus * self.vcpu_pages * PAGE_BYTES), "vcpus": self.n_vcpus,
            "filled": "none" if self.under == "faulting" else "all", "dirty_tracking": "get-dirty-log", "mmu": self.mmu,
            "workload": [{"name": "guest", **self._workload()}],
        }  # fmt: skip
        until = {"until": "work"} if self.under == "faulting" else {}
        found = {"name": "age", "seed": seed, "duration": self._duration(aged=bool(policy)), **until, "vm": vm}
        return found | ({"ageing": self._ageing(policy, mmu_lock)} if policy else {})

    def _duration(self, *, aged: bool) -> str:
        """Length of the run; of the plain guest, the time of all passes if they keep up with their period."""
        if self.under == "faulting" and not aged:
            return POPULATING
        return format_duration((self.passes + 1) * self.period_ns * (CAP_PERIODS if aged else 1))

    def _ageing(self, policy: str, mmu_lock: str) -> dict[str, Any]:
        by = policy_of(policy, str(self.mmu.get("era", "E4")), "age").passes
        passes = 1 if self.under == "faulting" else self.passes
        flush = {"flush": True} if by is not None and by.flushes else {}
        lock = {"mmu_lock": mmu_lock} if mmu_lock != "era" else {}
        return {"policy": policy, "period": format_duration(self.period_ns), "passes": passes, **flush, **lock}

    def _workload(self) -> dict[str, Any]:
        if self.under == "idle":
            return {"pattern": "idle"}
        if self.under == "faulting":
            loop_ns = round(load_costs(str(self.mmu["costs"])).loop_ns)
            rate, once = Fraction(self.n_vcpus * NS_PER_S, loop_ns), {"length": format_duration(self.vcpu_pages * loop_ns)}
            return {"pattern": "sequential", "write_rate": format_rate(rate), "active": once}
        rate, share = self.n_vcpus * self.load.rate_per_s, self.load.write_share
        shape = {"pattern": "zipf", "exponent": self.load.exponent}
        if not self.load.exponent:
            shape = {"pattern": "uniform", "arrivals": "poisson"}
        rates = {"write_rate": rate * share, "read_rate": rate * (1 - share)}
        return {**shape, **{name: format_rate(value) for name, value in rates.items() if value}}

