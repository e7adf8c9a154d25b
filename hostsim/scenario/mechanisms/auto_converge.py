"""Auto-converge in a scenario: the keys of its throttle, its mode."""

from __future__ import annotations

from pydantic import Field

from hostsim.qemu.mechanisms.auto_converge import NAME, AutoConvergeParameters
from hostsim.scenario.mechanism import Kind, Mechanism
from hostsim.scenario.section import Section
from hostsim.scenario.types import Count, Flag

QEMU_DEFAULTS = AutoConvergeParameters()


class AutoConvergeKeys(Section):
    """Keys of [migration]."""

    auto_converge: Flag = Field(
        default=QEMU_DEFAULTS.auto_converge, description="capability auto-converge; default by profile"
    )
    throttle_trigger_threshold: Count = Field(
        default=QEMU_DEFAULTS.throttle_trigger_threshold, ge=1, le=100,
        description="dirtied divided by sent bytes [percent] above which a period counts as too dirty",
    )  # fmt: skip
    cpu_throttle_initial: Count = Field(
        default=QEMU_DEFAULTS.cpu_throttle_initial, ge=1, le=99, description="first throttle [percent]"
    )
    cpu_throttle_increment: Count = Field(
        default=QEMU_DEFAULTS.cpu_throttle_increment, ge=1, le=99, description="step of the throttle [percent]"
    )
    cpu_throttle_tailslow: Flag = Field(
        default=QEMU_DEFAULTS.cpu_throttle_tailslow, description="smaller steps near the end"
    )
    max_cpu_throttle: Count = Field(
        default=QEMU_DEFAULTS.max_cpu_throttle, ge=1, le=99, description="largest throttle [percent]"
    )


PART = Mechanism(
    NAME, 5, Kind.THROTTLE, "auto_converge", AutoConvergeKeys,
    modelled=("auto-converge",),
    modes={"auto-converge": {"auto_converge": "true"}},
    is_forecast=True,
)  # fmt: skip
