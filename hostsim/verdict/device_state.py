"""A guest that is stopped already: the status is device or pre-switchover, and nothing of pre-copy can matter any more."""

from __future__ import annotations

from hostsim.logs.model import MigrationLog
from hostsim.verdict.course import last, running, seconds_in
from hostsim.verdict.evidence import Evidence
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
    """The answer where the last state before any end is one with the guest stopped."""
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
    """The answer where the guest has not given back its network devices, so that no page has been sent."""
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
