"""Post-copy in results: its phase, its blocktime, a VM that was lost, and which stage was busy all the time.

The source's thread reads a page, the link carries it, one thread of the destination places it; max-postcopy-bandwidth holds
back the first. Pages pass the stages one behind the other, so that the one which is busy all the time sets the pace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from hostsim.core.constants import NS_PER_MS, NS_PER_S, PAGE_WIRE_BYTES, ZERO_PAGE_BYTES
from hostsim.qemu.mechanisms.postcopy import NAME, PAUSED
from hostsim.qemu.postcopy import state as at
from hostsim.results.mechanism import End, Mechanism, percent

if TYPE_CHECKING:
    from hostsim.machine.machine import Machine
    from hostsim.qemu.mechanisms.postcopy import BlocktimeFigures
    from hostsim.qemu.migration import Migration
    from hostsim.qemu.postcopy.destination import Destination
    from hostsim.results.tables import MigrationResult

PLACING, SOURCE, LINK, WINDOW, LIMIT = "placing", "source", "link", "window", "max-postcopy-bandwidth"
SWAP, FRAMES = "source swap", "destination memory"
AT_SOURCE, AT_DESTINATION = (SOURCE, LINK, WINDOW, LIMIT, SWAP), (PLACING, FRAMES)
MS_PER_S = 1000


def bottleneck_facts(migration: Migration, there: Destination, end_ns: int) -> dict[str, Any]:
    """Work of the stages of ``migration`` from the switch to ``end_ns``, without pauses of the phase.

    there: the destination, which counts its own stages.
    busy: share of its time in which each stage worked, 1 at most: the destination's from the moment at which it loads pages,
    all others' from the moment at which the package is written. sent_bytes_per_s: of all pages. place_page_ns: of a page.
    """
    m, places_s = migration.state, (end_ns - there.listens_ns - migration.state.paused_ns) / NS_PER_S
    sends_s = (end_ns - m.downtime_start_ns - m.paused_ns) / NS_PER_S - (m.downtime_ms or 0) / MS_PER_S
    spans_s = {stage: places_s if stage in AT_DESTINATION else sends_s for stage in (PLACING, FRAMES, *AT_SOURCE)}
    spent_s = _spent_s(migration, there) if min(places_s, sends_s) > 0 else {}
    busy = {stage: min(one_s / spans_s[stage], 1.0) for stage, one_s in spent_s.items()}
    sent = _sent_bytes(migration, there) / sends_s if spent_s else 0.0
    return {"busy": busy, "sent_bytes_per_s": sent, "place_page_ns": there.rules.place_page_ns}


def _sent_bytes(migration: Migration, there: Destination) -> int:
    """Bytes on both channels since the switch."""
    return migration.ram.stream_bytes - there.sent_before.stream_bytes


def _spent_s(migration: Migration, there: Destination) -> dict[str, float]:
    """Time for which each stage worked [s]; stages without a limit are left out."""
    rules, before, ram, sent = there.rules, there.sent_before, migration.ram, _sent_bytes(migration, there)
    normal, zero = ram.normal_pages - before.normal_pages, ram.zero_pages - before.zero_pages
    apart, apart_zero = _urgent_pages(there)
    placed_ns = (normal - apart) * rules.place_page_ns + (zero - apart_zero) * rules.place_zero_ns
    by_the_thread = (normal, zero) if rules.preempt != 10 else (normal - apart, zero - apart_zero)
    sent_ns = by_the_thread[0] * rules.page_ns + by_the_thread[1] * rules.zero_page_ns
    spent = {PLACING: placed_ns / NS_PER_S, SOURCE: sent_ns / NS_PER_S}
    if rules.link_bytes_per_s:
        spec = migration.link.spec
        is_held = spec.stream_bytes_per_s < spec.bandwidth_bytes_per_s or not spec.bandwidth_bytes_per_s
        spent[WINDOW if is_held else LINK] = sent / rules.link_bytes_per_s
    if migration.parameters.max_postcopy_bandwidth:
        spent[LIMIT] = sent / migration.parameters.max_postcopy_bandwidth
    waited = {SWAP: there.read_ns / NS_PER_S, FRAMES: there.frames_ns / NS_PER_S}
    return spent | {stage: waited_s for stage, waited_s in waited.items() if waited_s}


def _urgent_pages(there: Destination) -> tuple[int, int]:
    """(pages with content, zero pages) on the preempt channel, by its bytes."""
    pages, n_bytes = int(there.phase.p[at.URGENT_TAIL]), there.urgent_bytes
    normal = min(pages, max(0, n_bytes - ZERO_PAGE_BYTES * pages) // (PAGE_WIRE_BYTES - ZERO_PAGE_BYTES))
    return normal, pages - normal


def blocktime_fields(figures: BlocktimeFigures) -> dict[str, Any]:
    """Fields of capability postcopy-blocktime, by QMP's names (qapi/migration.json::MigrationInfo)."""
    found = figures.found
    fields = {"postcopy-blocktime": found.total_ms, "postcopy-vcpu-blocktime": list(found.vcpu_ms)}
    if not figures.in_ns:
        return fields
    return fields | {
        "postcopy-latency": found.latency_ns, "postcopy-latency-dist": list(found.dist),
        "postcopy-vcpu-latency": list(found.vcpu_latency_ns),
    }  # fmt: skip


def postcopy_facts(migration: Migration) -> dict[str, Any]:
    """``postcopy``: the phase in figures; nothing if the migration never switched.

    switched_s: since the start. exposed_s: from the switch to the end, in which the guest needs both hosts and the link.
    outage_ms: from the stop at the source until the guest ran at the destination. stalled_s: time for which vCPUs waited for
    pages, summed; of vcpu_s, the time of all vCPUs in the phase.
    busy, sent_bytes_per_s, place_page_ns: see hostsim.results.mechanisms.postcopy.
    """
    there, m = cast("Destination | None", migration.destination), migration.state
    if there is None:
        return {}
    end_ns = m.end_ns or migration.env.now_ns
    there_s = max(end_ns - there.run_ns, 0) / NS_PER_S
    return {
        "postcopy": {
            "switched_s": (m.downtime_start_ns - m.start_ns) / NS_PER_S,
            "exposed_s": (end_ns - m.downtime_start_ns) / NS_PER_S,
            "outage_ms": (there.run_ns - m.vm_stopped_ns) / NS_PER_MS,
            "missing_pages": there.n_missing,
            "requests": there.requests,
            "faults": there.faults,
            "stalled_s": there.stalled_ns / NS_PER_S,
            "vcpu_s": there_s * len(there.phase.vcpus),
            "stalls": there.stalls.summary(),
            "paused_s": m.paused_ns / NS_PER_S,
            "pages_lost": m.pages_lost,
            "preempt": migration.parameters.postcopy_preempt,
            "limit_bytes_per_s": migration.parameters.max_postcopy_bandwidth,
            **bottleneck_facts(migration, there, end_ns),
        }
    }


def compared(migration: MigrationResult) -> dict[str, int | float | str]:
    """Figures of the phase beside those of other mechanisms; {} if the migration never switched."""
    phase = migration.facts.get("postcopy")
    if not phase:
        return {}
    stalled = phase["stalled_s"] / phase["vcpu_s"] if phase["vcpu_s"] else 0.0
    ended = {"ended": "post-copy"} if migration.status == "completed" else {}
    return ended | {
        "exposed_ns": round(phase["exposed_s"] * NS_PER_S), "outage_ms": phase["outage_ms"],
        "page_wait_p99_ns": phase["stalls"]["p99_ns"], "exposed_slowdown_percent": percent(stalled),
        "page_requests": phase["requests"], "missing_pages": phase["missing_pages"],
    }  # fmt: skip


def _facts(_machine: Machine, migration: Migration) -> dict[str, Any]:
    return postcopy_facts(migration)


PART = Mechanism(
    NAME, 50,
    answer=blocktime_fields,
    ram=("postcopy-requests", "postcopy-bytes"),
    facts=_facts,
    ends=(End(PAUSED, "VM lost in post-copy"),),
    spans={"postcopy-active": "purple", PAUSED: "orange", "postcopy-recover": "olive"},
    compared=compared,
)  # fmt: skip
