"""Continuous checkpoints: the columns of ``checkpoints``, and the figures of all of them together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from hostsim.core.constants import NS_PER_S
from hostsim.results.columns import FLOAT, INT, JSON, STR, Column, Columns, read_row
from hostsim.results.mechanism import End, Mechanism
from hostsim.results.tables import OwnResult, Table

if TYPE_CHECKING:
    from hostsim.machine.machine import Machine
    from hostsim.qemu.checkpoints import Checkpoint, Checkpoints

PROTECTED, FAILED_OVER = "protected", "failed over"


class Since(NamedTuple):
    """A checkpoint and the time at which checkpoints began [ns]."""

    one: Checkpoint
    began_ns: int


CHECKPOINTS: Columns[Since] = (
    Column("checkpoint", INT, "", "checkpoint", "its number; the first copy has none", lambda row: row.one.number, key=True),
    Column(
        "paused_ns", INT, "ns", "paused at", "when the guest was paused, since the first copy was complete",
        lambda row: row.one.paused_ns - row.began_ns,
    ),
    Column("ran_ns", INT, "ns", "ran", "time that the guest ran before", lambda row: row.one.paused_ns - row.one.resumed_ns),
    Column(
        "pause_ns", INT, "ns", "pause", "time from the pause until the guest ran again",
        lambda row: row.one.running_again_ns - row.one.paused_ns,
    ),
    Column("dirty_pages", INT, "pages", "dirty pages", "pages that the guest had dirtied", lambda row: row.one.dirty_pages),
    Column(
        "sent_bytes", INT, "bytes", "sent", "bytes of the checkpoint, state of the devices included",
        lambda row: row.one.sent_bytes,
    ),
    Column(
        "commit_ns", INT, "ns", "replica has it after", "time from the pause until the replica's answer has arrived",
        lambda row: row.one.committed_ns - row.one.paused_ns,
    ),
    Column("outputs", INT, "outputs", "outputs", "outputs that this answer released", lambda row: row.one.outputs),
    Column(
        "delay_mean_ns", FLOAT, "ns", "output delay", "mean time that these outputs waited, 0 without outputs",
        lambda row: row.one.delay_ns / row.one.outputs if row.one.outputs else 0.0,
    ),
)  # fmt: skip
"""Columns of ``checkpoints``: a row for each checkpoint that the replica has whole."""


class _All(NamedTuple):
    checkpoints: Checkpoints
    end_ns: int

    @property
    def seconds(self) -> float:
        """Time in which checkpoints were sent: until the failure, or the end of the run."""
        failover = self.checkpoints.failover
        end_ns = self.end_ns if failover is None else failover.failed_ns
        return max(0, end_ns - self.checkpoints.began_ns) / NS_PER_S

    def mean(self, total: float) -> float:
        """``total`` over the number of checkpoints, 0 without any."""
        return total / len(self.checkpoints.done) if self.checkpoints.done else 0.0

    @property
    def run_share(self) -> float:
        """Share of the time of whole checkpoints in which the guest ran."""
        ran = sum(one.paused_ns - one.resumed_ns for one in self.checkpoints.done)
        paused = sum(one.running_again_ns - one.paused_ns for one in self.checkpoints.done)
        return ran / (ran + paused) if ran + paused else 0.0


def _failover(row: _All) -> dict[str, Any] | None:
    found = row.checkpoints.failover
    if found is None:
        return None
    return {
        "failed_ns": found.failed_ns, "took_over_ns": found.took_over_ns, "checkpoint": found.checkpoint,
        "lost_ns": found.lost_ns, "lost_work_ns": found.lost_work_ns, "dropped_outputs": found.dropped_outputs,
    }  # fmt: skip


PROTECTION: Columns[_All] = (
    Column("policy", STR, "", "", "remus or kemari", lambda row: row.checkpoints.spec.policy),
    Column("checkpoints", INT, "checkpoints", "", "checkpoints that the replica has", lambda row: len(row.checkpoints.done)),
    Column("seconds_s", FLOAT, "s", "", "from the first copy to the failure or the end of the run", lambda row: row.seconds),
    Column("run_share", FLOAT, "share", "", "share of the time in which the guest ran", lambda row: row.run_share),
    Column(
        "dirty_pages_mean", FLOAT, "", "", "pages of a checkpoint, the mean",
        lambda row: row.mean(sum(one.dirty_pages for one in row.checkpoints.done)),
    ),
    Column(
        "pause_mean_ns", FLOAT, "ns", "", "pause of a checkpoint, the mean",
        lambda row: row.mean(sum(one.running_again_ns - one.paused_ns for one in row.checkpoints.done)),
    ),
    Column(
        "pause_max_ns", INT, "ns", "", "the longest pause",
        lambda row: max((one.running_again_ns - one.paused_ns for one in row.checkpoints.done), default=0),
    ),
    Column(
        "commit_mean_ns", FLOAT, "ns", "", "time from the pause until the replica has the checkpoint, the mean",
        lambda row: row.mean(sum(one.committed_ns - one.paused_ns for one in row.checkpoints.done)),
    ),
    Column(
        "sent_bytes_per_s", FLOAT, "bytes/s", "", "bytes of checkpoints over the time",
        lambda row: sum(one.sent_bytes for one in row.checkpoints.done) / row.seconds if row.seconds else 0.0,
    ),
    Column("output_delay", JSON, "", "", "delay of outputs: count, mean, percentiles, maximum [ns]",
           lambda row: row.checkpoints.delays.summary()),
    Column("failover", JSON, "", "", "failure of the source host: times [ns], the checkpoint that the replica goes on from, "
           "lost work, outputs that were never released; null without a failure", _failover),
)  # fmt: skip
"""Keys of ``checkpoints`` in run.json."""


def _own(machine: Machine) -> OwnResult | None:
    """The result at the end of the run; None if the first copy was never complete."""
    checkpoints, end_ns = machine.checkpoints, machine.env.now_ns
    if checkpoints is None or not checkpoints.began_ns:
        return None
    rows = (Since(one, checkpoints.began_ns) for one in checkpoints.done)
    return OwnResult(read_row(PROTECTION, _All(checkpoints, end_ns)), Table.read("checkpoints", CHECKPOINTS, rows))


def _status(machine: Machine) -> str | None:
    if machine.checkpoints is None or not machine.checkpoints.began_ns:
        return None
    return PROTECTED if machine.checkpoints.failover is None else FAILED_OVER


PART = Mechanism(
    "checkpoints", 60, "Checkpoints", table=CHECKPOINTS, moments=("paused_ns",), figures=PROTECTION, own=_own,
    ends=(End(PROTECTED, converged=True), End(FAILED_OVER, converged=True)), status=_status,
)
