"""dirty-limit as QEMU has it: capability, quota, period, refusals; the model is hostsim.qemu.dirty_limit."""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.qemu.mechanism import DIRTY_RING, Absent, Mechanism, Rule

NAME = "dirty_limit"
_NO_REMEDY_YET = "dirty-limit conflicts with auto-converge either of then available currently"


@dataclass(frozen=True)
class DirtyLimitParameters:
    """vcpu_dirty_limit: MiB/s."""

    dirty_limit: bool = False
    vcpu_dirty_limit: int = 1
    x_vcpu_dirty_limit_period_ms: int = 1000


PART = Mechanism(
    NAME, 30, "dirty_limit", DirtyLimitParameters,
    rules=(
        Rule("dirty_limit", "auto_converge", False, _NO_REMEDY_YET, since=(8, 1)),
        Rule(
            "dirty_limit", DIRTY_RING, True, "dirty-limit requires KVM with accelerator property 'dirty-ring-size' set",
            since=(8, 1),
        ),
    ),
    newer=(Absent("dirty_limit", (8, 1), "qapi/migration.json::MigrationCapability: since 8.1"),),
)  # fmt: skip
