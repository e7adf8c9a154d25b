"""[checkpoints]: a replica that follows the VM checkpoint by checkpoint, after the first copy that [migration] makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from hostsim.core.errors import Finding
from hostsim.core.units import format_duration
from hostsim.qemu.checkpoints import CheckpointSpec
from hostsim.scenario.section import Section
from hostsim.scenario.types import Count, Duration, DurationOrNever, Rate

if TYPE_CHECKING:
    # Circle of types: the schema calls the check, which gets the whole scenario.
    from hostsim.scenario.schema import Scenario

OUTPUT_RATE_MAX = 1_000_000
COPY_MAX_NS = 1_000_000


class Checkpoints(Section):
    """[checkpoints]: continuous checkpoints of [vm] to a replica at the destination of [migration]."""

    policy: Literal["remus", "kemari"] = Field(
        description="remus: a pause each `epoch`, pages are copied and then sent while the guest runs, outputs wait for the "
        "replica; kemari: each output pauses the guest until the replica has its pages"
    )
    output_rate: Rate = Field(
        le=OUTPUT_RATE_MAX, description="packets and disk writes that leave the guest while it runs, at random times",
        examples=["200/s"],
    )  # fmt: skip
    epoch: Duration = Field(
        default=100_000_000, ge=1_000_000, description="remus: time that the guest runs between two pauses"
    )
    copy_page_ns: Count = Field(
        default=400, ge=0, le=COPY_MAX_NS,
        description="remus: time of the pause for each dirty page [ns] (assumed: 4 KiB at 10 GB/s)",
    )  # fmt: skip
    fails_at: DurationOrNever = Field(default=0, description="simulated time at which the source host fails, or never")
    detection: Duration = Field(
        default=500_000_000, description="from the failure until the replica's host takes over (assumed: five missed "
        "heartbeats, one each 100 ms)",
    )  # fmt: skip

    @property
    def idle_keys(self) -> tuple[str, ...]:
        """Keys that mean nothing with this policy."""
        return ("epoch", "copy_page_ns") if self.policy == "kemari" else ()

    def spec(self) -> CheckpointSpec:
        """The policy with its constants."""
        return CheckpointSpec(
            self.policy, self.epoch, float(self.output_rate), self.copy_page_ns, self.fails_at, self.detection
        )


def checkpoint_findings(scenario: Scenario) -> Iterator[Finding]:
    """Findings between [checkpoints] and other keys."""
    checkpoints = scenario.checkpoints
    if checkpoints is None:
        return
    if scenario.migration is None:
        wanted = "a [migration] table, which makes the replica's first copy"
        yield Finding("checkpoints", "no [migration]", wanted, "[migration]")
    if checkpoints.policy == "kemari" and not checkpoints.output_rate:
        got, wanted = "0/s with policy = 'kemari'", "outputs: Kemari sends a checkpoint at each output, and at no other time"
        yield Finding("checkpoints.output_rate", got, wanted, 'output_rate = "200/s"', ("checkpoints.policy",))
    for key in checkpoints.idle_keys:
        if key in checkpoints.model_fields_set:
            wanted = "the table without this key: Kemari sends a checkpoint at each output, without a buffer"
            yield Finding(f"checkpoints.{key}", "a value with policy = 'kemari'", wanted, "", ("checkpoints.policy",))
    if checkpoints.fails_at > 0 and checkpoints.fails_at >= scenario.duration:
        wanted = f"a failure before the end of the run ({format_duration(scenario.duration)})"
        got = format_duration(checkpoints.fails_at)
        yield Finding("checkpoints.fails_at", got, wanted, 'fails_at = "30s"', ("duration",))
