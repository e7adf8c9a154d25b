"""Checkpoints in verdicts: their cost to the guest and its clients, and the work that a failure would lose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hostsim.core.constants import NS_PER_S
from hostsim.core.units import parse_duration, parse_rate
from hostsim.verdict.evidence import Evidence, Seen
from hostsim.verdict.mechanism import Mechanism, OwnOutcome
from hostsim.verdict.model import Own, Verdict
from hostsim.verdict.words import bandwidth_words, bytes_words, count_words, percent_words, seconds_words

if TYPE_CHECKING:
    from hostsim.results.tables import MigrationResult, RunResult

NAME = "checkpoints"
PROTECTED, FAILED_OVER = Own("protected"), Own("failed over")
LATE = 1.2
"""An epoch that is longer than its key by this factor is worth a sentence (assumed)."""
REST_ON = (
    "outputs leave the guest at random times ({rate} while it runs); an application that waits for each of its outputs "
    "makes fewer"
)


@dataclass(frozen=True)
class SeenCheckpoints(Seen):
    """figures: by the names of run.json, the rate of outputs, the epoch of Remus and the mean time between two pauses."""

    figures: Mapping[str, Any] = field(default_factory=dict)


def _of_run(result: RunResult, migration: MigrationResult) -> SeenCheckpoints | None:
    if NAME not in migration.own:
        return None
    keys, own = result.scenario["checkpoints"], migration.own[NAME]
    ran_ns = own.table.columns["ran_ns"]
    told = {
        "output_rate_per_s": float(parse_rate(keys["output_rate"])), "epoch_ns": parse_duration(keys.get("epoch", "0s")),
        "ran_mean_ns": float(ran_ns.mean()) if len(ran_ns) else 0.0,
    }  # fmt: skip
    return SeenCheckpoints({**own.figures, **told})


def _protected(evidence: Evidence) -> Verdict | None:
    """The verdict on a VM whose replica follows it; None if it was not checkpointed."""
    seen = evidence.mechanisms.get(NAME)
    if not isinstance(seen, SeenCheckpoints):
        return None
    found = seen.figures
    failover = found["failover"]
    headline = _running(found) if failover is None else _failed(failover)
    return Verdict(
        outcome=PROTECTED if failover is None else FAILED_OVER,
        headline=headline,
        findings=tuple(_findings(found)),
        numbers={key: float(value) for key, value in found.items() if isinstance(value, int | float)},
    )


def _running(found: Mapping[str, Any]) -> str:
    delay = found["output_delay"]
    waits = f"; an output waits {_ns(delay['mean_ns'])} on average" if delay["count"] else ""
    return f"the replica follows the guest: the guest runs {percent_words(found['run_share'])} of the time{waits}"


def _failed(failover: Mapping[str, Any]) -> str:
    outage_ns = failover["took_over_ns"] - failover["failed_ns"]
    lost = f"the last {_ns(failover['lost_ns'])} of the guest's work are lost"
    return f"failed over: the replica goes on {_ns(outage_ns)} after the failure; {lost}"


def _findings(found: Mapping[str, Any]) -> list[str]:
    sends = bytes_words(found["sent_bytes_per_s"] * found["seconds_s"] / max(found["checkpoints"], 1))
    pause = f"pauses the guest for {_ns(found['pause_mean_ns'])} (at most {_ns(found['pause_max_ns'])})"
    many = f"{count_words(found['checkpoints'])} checkpoints in {seconds_words(found['seconds_s'])}"
    lines = [
        f"Cost: {many}; each {pause} and sends {sends} on average, {bandwidth_words(found['sent_bytes_per_s'])} in all.",
        f"Replica: it has a checkpoint {_ns(found['commit_mean_ns'])} after the pause; until then it holds the one before.",
    ]
    if found["policy"] == "remus" and found["ran_mean_ns"] > LATE * found["epoch_ns"]:
        lines.append(
            f"Epoch: the guest ran {_ns(found['ran_mean_ns'])} between two pauses, not {_ns(found['epoch_ns'])}: the next "
            f"pause waits until the replica has the checkpoint, {_ns(found['commit_mean_ns'])} after its pause."
        )
    delay = found["output_delay"]
    if delay["count"]:
        lines.append(
            f"Outputs: {count_words(delay['count'])} were released, half of them within {_ns(delay['p50_ns'])}, "
            f"99 % within {_ns(delay['p99_ns'])}."
        )
    if found["failover"] is not None:
        dropped = f"{count_words(found['failover']['dropped_outputs'])} outputs after it never left the host"
        state = f"the replica is the guest as it was at checkpoint {found['failover']['checkpoint']}, every page checked"
        lines.append(f"Failure: {state}; {dropped}, so no client has seen the lost work.")
    rate = f"{count_words(found['output_rate_per_s'])} a second"
    return [*lines, f"Assumption: {REST_ON.format(rate=rate)}."]


def _ns(span_ns: float) -> str:
    return seconds_words(span_ns / NS_PER_S)


PART = Mechanism(
    NAME, 60, _of_run, outcomes=(OwnOutcome(PROTECTED, "good"), OwnOutcome(FAILED_OVER, "good")), ended=(_protected,)
)
