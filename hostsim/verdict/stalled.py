"""A migration whose log ends with answers between which QEMU has sent nothing: neither a matter of rounds nor of rates."""

from __future__ import annotations

import numpy as np

from hostsim.logs.model import MigrationLog
from hostsim.verdict.course import last, running
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.model import Confidence, Remedy, Verdict
from hostsim.verdict.words import bandwidth_words, bytes_words, seconds_words

STALLED_S, ANSWERS = 5.0, 3
"""A shorter time, or fewer answers, is no stall: a window of 100 ms can be empty, a busy host answers late (assumed)."""
SHOWN_SHARE = 0.01
"""Logs that round sizes to three digits show a growth from this share of the bytes sent on."""
SENDING = "active"
"""End of the statuses in which pages are sent, before a move of the guest and after."""


def stalled(log: MigrationLog, evidence: Evidence) -> Verdict | None:
    """The verdict where bytes sent and remaining have not changed over the last answers of ``log``.

    evidence: of ``log``. None for a migration that ended otherwise than by a cancel, that has nothing left to send, or whose
    log is too coarse to show whether it sends.
    """
    at = running(log)
    at = at[~np.isnan(log.transferred_bytes[at]) & ~np.isnan(log.t_s[at])]
    left = last(log.remaining_bytes)
    is_over = evidence.status in ("completed", "failed") or not len(at) or not log.status[at[-1]].endswith(SENDING)
    if is_over or not left:
        return None
    first = _first_of_the_stall(log, at)
    since_s, seconds = float(log.t_s[first]), float(log.t_s[at[-1]] - log.t_s[first])
    sent = float(log.transferred_bytes[first])
    speed = sent / since_s if since_s > 0 else 0.0
    if seconds < STALLED_S or np.count_nonzero(at >= first) < ANSWERS or speed * seconds < SHOWN_SHARE * sent or not sent:
        return None
    return _verdict(evidence, log.status[at[-1]], since_s, seconds, speed, left)


def _first_of_the_stall(log: MigrationLog, at: np.ndarray) -> int:
    """The first answer from which on the bytes sent, of memory and of disks, and the bytes left stay as they are."""
    columns = (log.transferred_bytes, log.remaining_bytes, log.disk_transferred_bytes)
    stays = np.ones(len(at), bool)
    for column in columns:
        stays &= (column[at] == column[at[-1]]) | np.isnan(column[at])
    moved = np.flatnonzero(~stays)
    return int(at[moved[-1] + 1] if len(moved) else at[0])


def _verdict(evidence: Evidence, status: str, since_s: float, seconds: float, speed: float, left: float) -> Verdict:
    ended = "cancelled" if evidence.status.startswith("cancel") else f"still {status}"
    waits = " The guest runs at the destination until it touches a page that is missing." if status != SENDING else ""
    why = (
        f"Why: until {seconds_words(since_s)} after the start QEMU sent {bandwidth_words(speed)} on average, and nothing "
        f"since: the network is down, the destination reads no more, or the QEMU of the source hangs.{waits}"
    )
    nothing = "bandwidth, downtime limit and auto-converge do not help until bytes flow again"
    return Verdict(
        outcome="cannot tell",
        headline=(
            f"cannot tell: nothing has been sent for {seconds_words(seconds)}; {ended} with {bytes_words(left)} left, which "
            "is not a matter of convergence"
        ),
        findings=(why,),
        remedies=(Remedy("bandwidth", nothing, helps=False),),
        confidence=Confidence("high", "bytes sent and remaining are the same in each of the last answers"),
        measure_next=(
            "the migration's socket on both hosts (ss -tio: retransmissions, unacked, a window of zero)",
            "the QEMU log of both hosts",
        ),
        numbers={"stalled_s": seconds, "stalled_since_s": since_s, "remaining_bytes": left},
    )  # fmt: skip
