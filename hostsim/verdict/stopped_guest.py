"""A guest that is stopped while its migration runs: nothing of pre-copy can matter any more.

Either QEMU has stopped it (status device or pre-switchover), or a manager has, so that the migration ends: then it has not
converged, and the pause is downtime.
"""

from __future__ import annotations

from hostsim.logs.model import MigrationLog
from hostsim.verdict.course import last, running, seconds_in
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.findings import after_words, sent_words
from hostsim.verdict.mechanism import sure_ends
from hostsim.verdict.model import Confidence, Remedy, Verdict
from hostsim.verdict.words import bytes_words, seconds_words

STOPPED = ("device", "pre-switchover")
"""migration.c::migration_completion_precopy stops the guest before either (qapi/migration.json::MigrationStatus)."""
WHY = {
    "device": "QEMU sends the state of the devices, and a device with much state (vfio, a GPU, vhost-user) takes long",
    "pre-switchover": "QEMU waits for migrate-continue (capability pause-before-switchover), which libvirt sends once the "
    "disks are at rest",
}


def stopped_in_device_state(log: MigrationLog, evidence: Evidence) -> Verdict | None:
    """The verdict where the last status of ``log`` before any end is one with the guest stopped.

    evidence: of ``log``. None for a migration that ended, and for any other last status.
    """
    at = running(log)
    if evidence.status in ("completed", "failed") or not len(at) or log.status[at[-1]] not in STOPPED:
        return None
    status, stopped_s = log.status[at[-1]], seconds_in(log, STOPPED)
    left = last(log.remaining_bytes)
    span = f"for at least {seconds_words(stopped_s)}" if stopped_s else "for a time that one answer does not show"
    rest = "" if left is None else f", {bytes_words(left)} of RAM left" if left else ", no RAM left to send"
    return Verdict(
        outcome="stopped in device state",
        headline=f"the guest is stopped: status {status} {span}{rest}; this is not a matter of convergence",
        findings=(f"Why: {WHY[status]}; all of that time is downtime. {_vfio(log)}".rstrip(),),
        remedies=(
            Remedy("bandwidth", f"more bandwidth, a longer downtime limit, auto-converge and {' and '.join(sure_ends())} do "
                   "not help: QEMU sends no more pages", helps=False),
        ),
        confidence=Confidence("high", f'QEMU has entered status "{status}", which follows the stop of the guest'),
        measure_next=(
            ("the QEMU log of both hosts, and which device it is (info migrate and query-migrate show vfio bytes; vfio "
            "devices can send while the guest runs if they support pre-copy)"),
        ),
        numbers={"stopped_s": stopped_s, **({} if left is None else {"remaining_bytes": left})},
    )  # fmt: skip


def waits_to_begin(log: MigrationLog, evidence: Evidence) -> Verdict | None:
    """The verdict on status wait-unplug: the guest has not given back its network devices, so no page has been sent.

    evidence: of ``log``. None for a migration that ended, and for any other last status.
    """
    at = running(log)
    if evidence.status in ("completed", "failed") or not len(at) or log.status[at[-1]] != "wait-unplug":
        return None
    waited_s = float(log.t_s[at[-1]])
    span = f" for {seconds_words(waited_s)}" if waited_s else ""
    return Verdict(
        outcome="too early to tell",
        headline=f"too early to tell: status wait-unplug{span}, nothing has been sent; this is not a matter of convergence",
        findings=(
            ("Why: QEMU waits until the guest has unplugged the primary device of each failover pair (virtio-net with "
             "failover=on, a passed-through network card); memory is sent after that."),
        ),
        confidence=Confidence("high", "QEMU enters this status before the first page"),
        measure_next=("the guest's kernel log, whether it unplugs the device; the event UNPLUG_PRIMARY of QMP",),
        numbers={"waited_s": waited_s},
    )  # fmt: skip


def _vfio(log: MigrationLog) -> str:
    sent = last(log.vfio_bytes)
    return "" if sent is None else f"The log shows a vfio device, {bytes_words(sent)} of its state sent so far."


NOT_CONVERGED = "Pre-copy had not converged by then: explain the answers before the pause alone to see why and what helps."


def stopped_by_manager(log: MigrationLog, evidence: Evidence) -> Verdict | None:
    """The verdict on a log that records that a manager paused the guest for its migration; None for other logs."""
    stopped = last(log.stopped_s)
    if stopped is None or evidence.status == "failed" or evidence.status.startswith("cancel"):
        return None
    timeout = last(log.timeout_s)
    why = f" by the time-out of {timeout:.0f} s" if timeout else ""
    if evidence.status == "completed":
        return _ended(evidence, stopped, why)
    return _goes_on(evidence, stopped, why)


def _ended(evidence: Evidence, stopped_s: float, why: str) -> Verdict:
    seconds = evidence.total_time_ms / 1000 if evidence.total_time_ms else evidence.elapsed_s
    return Verdict(
        outcome="completed",
        headline=f"completed (forced{why}, not converged) in {seconds_words(seconds)}, the guest stood still for about "
        f"{seconds_words(stopped_s)}{sent_words(evidence)}",
        findings=((f"Why: the manager paused the guest, and all of the {seconds_words(stopped_s)} since then is downtime, "
                  f"however short QEMU's own switchover was. {NOT_CONVERGED}"),),
        confidence=Confidence("high", "the log shows the pause"),
        numbers={"stopped_s": stopped_s},
    )  # fmt: skip


def _goes_on(evidence: Evidence, stopped_s: float, why: str) -> Verdict:
    left, speed = evidence.remaining_bytes or 0.0, evidence.bandwidth_bytes_per_s or 0.0
    more = f", about {seconds_words(left / speed)} more" if speed else ""
    return Verdict(
        outcome="would converge",
        headline=f"the guest is paused{why}: {evidence.status}{after_words(evidence)} with {bytes_words(left)} left{more}, "
        "all of it downtime",
        findings=((f"Why: the manager paused the guest {seconds_words(stopped_s)} ago; nothing is dirtied any more, so the "
                  f"migration ends with the last page. {NOT_CONVERGED}"),),
        confidence=Confidence("high", "a paused guest writes nothing"),
        numbers={"stopped_s": stopped_s, "remaining_bytes": left, **({"left_s": left / speed} if speed else {})},
    )  # fmt: skip
