"""Figures of post-copy: blocktime as the destination's query-migrate reports it, and facts that the verdict reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from hostsim.core.constants import NS_PER_MS, NS_PER_S
from hostsim.results.mechanism import percent
from hostsim.results.postcopy_brake import brake_facts

if TYPE_CHECKING:
    from hostsim.qemu.mechanisms.postcopy import BlocktimeFigures
    from hostsim.qemu.migration import Migration
    from hostsim.qemu.postcopy.destination import Destination
    from hostsim.results.tables import MigrationResult


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
    busy, sent_bytes_per_s, place_page_ns: see hostsim.results.postcopy_brake.
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
            **brake_facts(migration, there, end_ns),
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
