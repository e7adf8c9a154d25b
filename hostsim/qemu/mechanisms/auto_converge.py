"""Auto-converge as QEMU has it: capability and parameters of the throttle; the model is hostsim.qemu.auto_converge."""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.qemu.mechanism import Mechanism

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


PART = Mechanism(NAME, 5, "auto_converge", AutoConvergeParameters)
