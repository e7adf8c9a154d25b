"""A migration that could end but never does, because QEMU counts XBZRLE deltas as if they were whole pages.

QEMU compares remaining (4096 bytes a page) with bandwidth x downtime limit, where bandwidth is the bytes on the wire in
the last window (migration/migration.c::migration_update_counters). When every dirty page travels as a delta of a few
bytes, the wire is nearly idle, the measured bandwidth tiny, and the test fails although the rest would take milliseconds.
"""

from __future__ import annotations

from hostsim.verdict.commands import command_for
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.findings import sent_words
from hostsim.verdict.forecast import MARGIN
from hostsim.verdict.model import Confidence, Own, Remedy, Verdict
from hostsim.verdict.remedies import LIMIT_MAX_S, always_end
from hostsim.verdict.words import bandwidth_words, bytes_words, pages_words, rounded_up, seconds_words
from hostsim.verdict.xbzrle_tail import DELTA_SYNCS, XbzrleTail

BLOCKED, BY_XBZRLE = Own("blocked by xbzrle accounting"), Own("xbzrle")


def outage_s(tail: XbzrleTail, evidence: Evidence) -> float:
    """The real time of the stop [s]: encoding the remaining pages at the speed seen, then sending the deltas."""
    pages = tail.remaining_bytes[1] / evidence.page_bytes
    wire_s = pages * tail.wire_bytes_per_page / (evidence.bandwidth_peak_bytes_per_s or float("inf"))
    return pages / tail.pages_per_s + wire_s


def blocked(evidence: Evidence, tail: XbzrleTail) -> Verdict | None:
    """The verdict if the rest would fit into the downtime limit but QEMU's test never passes; else None."""
    if tail.syncs < DELTA_SYNCS or not evidence.ram_bytes:
        return None
    if outage_s(tail, evidence) > evidence.limit_s or tail.needed_limit_ms[0] <= evidence.limit_s * 1000:
        return None
    return Verdict(
        outcome=BLOCKED,
        reason=BY_XBZRLE,
        headline=_headline(evidence, tail),
        findings=_findings(evidence, tail),
        remedies=_remedies(evidence, tail),
        confidence=Confidence("high", f"{tail.syncs:.0f} syncs in a row, deltas of {tail.wire_bytes_per_page:.1f} B a page"),
        numbers={
            "outage_s": outage_s(tail, evidence),
            "remaining_bytes": tail.remaining_bytes[1],
            "remaining_wire_bytes": _wire_bytes(evidence, tail),
            "xbzrle_wire_bytes_per_page": tail.wire_bytes_per_page,
        },
    )


def _wire_bytes(evidence: Evidence, tail: XbzrleTail) -> float:
    return tail.remaining_bytes[1] / evidence.page_bytes * tail.wire_bytes_per_page


def _headline(evidence: Evidence, tail: XbzrleTail) -> str:
    return (
        f"could finish but is never switched over (XBZRLE): {evidence.status} after "
        f"{seconds_words(evidence.elapsed_s)}, "
        f"{tail.syncs:.0f} syncs in the last {seconds_words(tail.duration_s)}{sent_words(evidence)}"
    )


def _findings(evidence: Evidence, tail: XbzrleTail) -> tuple[str, ...]:
    low, high = tail.remaining_bytes
    rate = tail.wire_bytes / tail.duration_s
    return (
        (
            f"Why: {bytes_words(high)} remaining would cost {bytes_words(_wire_bytes(evidence, tail))} on "
            "the wire "
            f"({tail.wire_bytes_per_page:.1f} B a page) and about "
            f"{seconds_words(outage_s(tail, evidence))} of encoding, within "
            f"the limit of {seconds_words(evidence.limit_s)}."
        ),
        (
            f"But QEMU compares whole pages, {bytes_words(low)} to {bytes_words(high)}, with bandwidth x limit, and "
            f"the bandwidth of the deltas is {bandwidth_words(rate)}: for whole pages it would need a limit of "
            f"{seconds_words(tail.needed_limit_ms[0] / 1000)} to {seconds_words(tail.needed_limit_ms[1] / 1000)}."
        ),
    )


def _remedies(evidence: Evidence, tail: XbzrleTail) -> tuple[Remedy, ...]:
    return (
        _limit(evidence, tail),
        _switchover_bandwidth(evidence, tail),
        *always_end(evidence, tail.remaining_bytes[1] / evidence.page_bytes),
        _without_xbzrle(evidence, tail),
    )


def _limit(evidence: Evidence, tail: XbzrleTail) -> Remedy:
    least_s, most_s = (rounded_up(needed_ms / 1000 * MARGIN) for needed_ms in tail.needed_limit_ms)
    # Runs confirm a value or raise it, so the advice for a run begins with the least.
    value_s = least_s if evidence.source == "run" else most_s
    others = f"the greatest remaining x 8 / mbps seen; {seconds_words(least_s)} passes at some syncs"
    if evidence.source == "run":
        others = f"now {seconds_words(evidence.limit_s)}; {seconds_words(most_s)} would pass at every sync seen"
    text = (
        f"downtime limit >= {seconds_words(value_s)} ({others}): only QEMU's test needs this limit; the guest stops for "
        f"about {seconds_words(outage_s(tail, evidence))}"
    )
    command = command_for(evidence.profile, "downtime_limit", value_s * 1000)
    return Remedy("downtime_limit", text, value_s * 1000, "ms", command, helps=value_s <= LIMIT_MAX_S)


def _switchover_bandwidth(evidence: Evidence, tail: XbzrleTail) -> Remedy:
    value = rounded_up(tail.remaining_bytes[1] / evidence.limit_s * MARGIN)
    text = f"QEMU >= 8.2: avail-switchover-bandwidth >= {bandwidth_words(value)}, from which QEMU then computes the downtime"
    command = f"migrate_set_parameter avail-switchover-bandwidth {value:.0f}"
    return Remedy("avail_switchover_bandwidth", text, value, "bytes/s", command, helps=evidence.qemu != "7.2")


def _without_xbzrle(evidence: Evidence, tail: XbzrleTail) -> Remedy:
    whole_s = tail.remaining_bytes[1] / (evidence.bandwidth_peak_bytes_per_s or 1.0)
    pages = pages_words(tail.remaining_bytes[1] / evidence.page_bytes)
    ends = whole_s <= evidence.limit_s
    text = f"xbzrle off {'ends it too' if ends else 'does not help'}: {pages} sent whole take {seconds_words(whole_s)}"
    return Remedy("xbzrle", text, command=command_for(evidence.profile, "xbzrle") if ends else "", helps=ends)
