"""[[vm.dirty_limit]]: an operator's set-vcpu-dirty-limit, with a migration or without."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from hostsim.core.errors import Finding
from hostsim.core.units import format_bandwidth
from hostsim.qemu.dirty_limit import LimitChange
from hostsim.scenario.section import Section
from hostsim.scenario.types import Bandwidth, Duration, Vcpus

MIB = 1 << 20


class DirtyLimit(Section):
    """[[vm.dirty_limit]]: from then on the vCPUs sleep at full dirty rings, so that they dirty no more than the quota."""

    at: Duration = Field(default=0, description="simulated time of the command")
    quota: Bandwidth = Field(
        description="set-vcpu-dirty-limit, whole MiB/s for each vCPU; unlimited: cancel-vcpu-dirty-limit",
        examples=["10MiB/s"],
    )
    vcpus: Vcpus = Field(default="all", description='the vCPUs it is for: "all", a list, or "0-3"')

    def change(self) -> LimitChange:
        """The command for the machine."""
        return LimitChange(self.at, self.quota // MIB, () if self.vcpus == "all" else self.vcpus)


def limit_findings(limits: tuple[DirtyLimit, ...], n_vcpus: int, tracking: str) -> Iterator[Finding]:
    """Findings of the limits of [vm], which has ``n_vcpus`` and finds dirty pages by ``tracking``."""
    for i, limit in enumerate(limits):
        at = f"vm.dirty_limit[{i}]"
        if tracking != "dirty-ring":
            wanted = "dirty_tracking = 'dirty-ring': a vCPU is held back where its ring is full"
            yield Finding(at, f"a limit with '{tracking}'", wanted, 'dirty_tracking = "dirty-ring"', ("vm.dirty_tracking",))
        if limit.quota % MIB:
            wanted = "whole MiB/s, as QEMU's command takes them"
            yield Finding(f"{at}.quota", format_bandwidth(limit.quota), wanted, 'quota = "10MiB/s"')
        if limit.vcpus != "all" and max(limit.vcpus) >= n_vcpus:
            got, wanted = f"vCPU {max(limit.vcpus)}", f"vCPUs below vm.vcpus ({n_vcpus})"
            yield Finding(f"{at}.vcpus", got, wanted, "vcpus = [0]", ("vm.vcpus",))
