"""Figures of post-copy: what the destination's query-migrate tells of blocktime, and facts that the verdict reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hostsim.core.constants import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from hostsim.qemu.migration import Migration


def blocktime_fields(migration: Migration) -> dict[str, Any] | None:
    """Fields of capability postcopy-blocktime, by QMP's names (qapi/migration.json::MigrationInfo); None without them."""
    there, behaviour = migration.destination, migration.behaviour
    if there is None or not migration.parameters.postcopy_blocktime:
        return None
    found = there.blocktime(behaviour.blocktime_ns)
    fields = {"postcopy-blocktime": found.total_ms, "postcopy-vcpu-blocktime": list(found.vcpu_ms)}
    if not behaviour.blocktime_ns:
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
    """
    there, m = migration.destination, migration.state
    if there is None:
        return {}
    end_ns = m.end_ns or migration.env.now_ns
    return {
        "postcopy": {
            "switched_s": (m.downtime_start_ns - m.start_ns) / NS_PER_S,
            "exposed_s": (end_ns - m.downtime_start_ns) / NS_PER_S,
            "outage_ms": (there.run_ns - m.vm_stopped_ns) / NS_PER_MS,
            "missing_pages": there.n_missing,
            "requests": there.requests,
            "faults": there.faults,
            "stalled_s": there.stalled_ns / NS_PER_S,
            "vcpu_s": max(end_ns - there.run_ns, 0) / NS_PER_S * len(there.phase.vcpus),
            "stalls": there.stalls.summary(),
            "paused_s": m.paused_ns / NS_PER_S,
            "pages_lost": m.pages_lost,
            "preempt": migration.parameters.postcopy_preempt,
            "limit_bytes_per_s": migration.parameters.max_postcopy_bandwidth,
        }
    }
