"""Auto-converge as QEMU has it: capability and parameters of the throttle; the model is hostsim.qemu.auto_converge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hostsim.qemu.mechanism import Mechanism

if TYPE_CHECKING:
    # Circle of types: a migration calls the step, which gets that migration.
    from hostsim.qemu.migration import Migration

NAME = "auto_converge"


@dataclass(frozen=True)
class AutoConvergeParameters:
    """Thresholds and throttles in percent."""

    auto_converge: bool = False
    throttle_trigger_threshold: int = 50
    cpu_throttle_initial: int = 20
    cpu_throttle_increment: int = 10
    cpu_throttle_tailslow: bool = False
    max_cpu_throttle: int = 99


def _throttle(migration: Migration, dirty_bytes: int, xfer_bytes: int) -> None:
    """mig_throttle_guest_down."""
    from hostsim.qemu.auto_converge import next_percent  # it reads the parameters, which this record makes

    percent = next_percent(migration.throttle.percent, migration.parameters, dirty_bytes, xfer_bytes)
    migration.throttle.set(percent)
    migration.recorder.mark(migration.env.now_ns, "migration_throttle", migration.throttle.percent)


PART = Mechanism(NAME, 5, "auto_converge", AutoConvergeParameters, throttle=_throttle)
