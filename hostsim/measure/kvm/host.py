"""KVM of this host, as far as an ordinary user can see: its MMU, PML, the kernel's release."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hostsim.costs.era import Mmu
from hostsim.measure.calibrate.machine import read_machine

TWO_DIMENSIONAL = ("kvm_intel/parameters/ept", "kvm_amd/parameters/npt")


@dataclass(frozen=True)
class KvmHost:
    """mmu: tdp, direct (EPT or NPT through rmaps) or shadow; release: of the kernel; title: of the processor."""

    mmu: Mmu
    pml: bool
    release: str
    title: str
    n_cpus: int

    @property
    def version(self) -> str:
        """``6.18`` of ``6.18.44-amd64``."""
        return ".".join(self.release.split("-")[0].split(".")[:2])

    @property
    def words(self) -> str:
        """For people."""
        how = {"tdp": "TDP MMU", "direct": "EPT or NPT through rmaps", "shadow": "shadow MMU"}[self.mmu]
        return f"{self.title}, Linux {self.version}, KVM's {how}"


def read_host(root: Path = Path("/")) -> KvmHost:
    """Facts from the parameters of KVM's modules below ``root``."""
    modules = root / "sys/module"
    two_dimensional = any(_is_on(modules / name) for name in TWO_DIMENSIONAL)
    tdp: Mmu = "tdp" if _is_on(modules / "kvm/parameters/tdp_mmu") else "direct"
    return KvmHost(
        mmu=tdp if two_dimensional else "shadow",
        pml=_is_on(modules / "kvm_intel/parameters/pml"),
        release=os.uname().release,
        title=read_machine(root).title,
        n_cpus=len(os.sched_getaffinity(0)),
    )


def _is_on(parameter: Path) -> bool:
    try:
        return parameter.read_text(encoding="ascii").strip() in {"Y", "1"}
    except OSError:
        return False
