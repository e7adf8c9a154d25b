"""Building the simulated machine from the inputs of a measured case; no function here reads an outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hostsim.core.constants import NS_PER_MS, NS_PER_S
from hostsim.core.rng import stream_key
from hostsim.costs.host_sheet import load_sheet
from hostsim.costs.postcopy_sheet import PostcopyCosts, load_postcopy
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.compression import ASSUMED_RATIO, Content
from hostsim.qemu.cpu_throttle import TIMESLICE_NS, period_ns
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.mechanisms.multifd import ZeroPageDetection
from hostsim.qemu.mechanisms.postcopy import NAME
from hostsim.qemu.parameters import MigrationParameters, ParameterChange
from hostsim.qemu.version import Version
from hostsim.validation.qemu.cases import Case
from hostsim.validation.qemu.guest import blocks_of, workloads_of
from hostsim.validation.rows import Row

SHEET = "qemu-tcg-2core"
SOCKET_BUFFER_BYTES = 212_992
"""net.core.wmem_default of Linux: bytes that a unix socket queues for its reader; "0.2 MB per hop" in the runs' README."""
WAKE_BYTES = SOCKET_BUFFER_BYTES * 3 // 4
"""net/unix/af_unix.c::unix_writable wakes a writer when a quarter of its buffer is in use. The traces of link cases show it:
iterations of 449 pages end 54, 55, 59 or 60 chunks of 32 KiB apart, five or six chunks between one wake-up and the next."""
RELAY_CHUNK_BYTES = 32_768
"""The relay of link cases reads so many bytes, and sends them when its pace has reached their end."""
VERSIONS: dict[str, Version] = {"7.2": "7.2", "10.0": "10.0", "10.2": "10.2"}


def spec_of(case: Case, repeat: Mapping[str, Any], seed_set: int = 0, timer_late_ns: int | None = None) -> MachineSpec:
    """The machine of one repeat: its seed, its start phase, the write rate it achieved.

    Where cpu-throttle may tick, latenesses of the host are drawn: the phase of its ticks decides syncs near the threshold.
    seed_set: 0: the seed of the repeat, else another one.
    timer_late_ns: lateness of the throttle timer, with the overshoot of its sleeps; None: those of the host sheet.
    """
    inputs, seed = case.inputs, int(repeat["seed"])
    late = {} if timer_late_ns is None else _latenesses(timer_late_ns)
    return MachineSpec(
        blocks=blocks_of(case, repeat),
        workloads=tuple(workloads_of(case, repeat)),
        n_vcpus=int(inputs["vcpus"]),
        sheet=load_sheet(SHEET, late, drawn=case.throttles),
        seed=stream_key(seed, f"seed set {seed_set}")[0] if seed_set else seed,
        duration_ns=(int(inputs["cancel_after_s"]) + 10) * 1_000_000_000,
        link=LinkSpec(int(inputs["link_relay_Bps"] or 0), 0, SOCKET_BUFFER_BYTES, wake_bytes=WAKE_BYTES),
        migration=_migration(inputs),
        content=Content(float(inputs.get("compression_ratio") or ASSUMED_RATIO)),
        inputs={NAME: _postcopy_costs(int(inputs["link_relay_Bps"] or 0))},
    )


def _postcopy_costs(relay_bytes_per_s: int) -> PostcopyCosts:
    """Costs of post-copy on this machine.

    Through the relay a page waits until the chunk around it is due, half a chunk on average: the answer to a request comes
    by so much later.
    """
    costs = load_postcopy(SHEET)
    if not relay_bytes_per_s:
        return costs
    return replace(costs, request_ns=costs.request_ns + RELAY_CHUNK_BYTES * NS_PER_S // (2 * relay_bytes_per_s))


def _latenesses(timer_late_ns: int) -> dict[str, int]:
    """The timer's lateness, and the overshoot of sleeps with which a throttled guest keeps the CPU time that was measured.

    The overshoot was found from that time and the timer's lateness; a timer that is later lengthens both the run and the
    period, so that longer sleeps leave the same time. Exact at p = 0.5; within 1 % at p = 0.2 and 0.9.
    """
    sheet = load_sheet(SHEET)
    shift_ns = timer_late_ns - sheet.throttle_timer_late_ns
    runs_ns = TIMESLICE_NS + sheet.throttle_timer_late_ns - sheet.throttle_overshoot_ns
    sleeps_ns = period_ns(50) + sheet.throttle_timer_late_ns - runs_ns
    overshoot_ns = sheet.throttle_overshoot_ns + shift_ns * sleeps_ns // (runs_ns + sleeps_ns)
    return {"throttle_timer_late_ns": timer_late_ns, "throttle_overshoot_ns": overshoot_ns}


def _zero_page_detection(inputs: Mapping[str, Any]) -> ZeroPageDetection:
    found: ZeroPageDetection = inputs.get("zero_page_detection") or MigrationParameters.zero_page_detection
    return found


SIMULATED = frozenset(
    [
        "events", "auto-converge", "return-path", "multifd", "xbzrle", "postcopy-ram", "postcopy-preempt",
        "postcopy-blocktime", "pause-before-switchover", "dirty-limit",
    ]
)  # fmt: skip
"""Capabilities that a case may have: all that ``_migration`` reads, and QEMU's events."""


def not_simulated(case: Case) -> str:
    """Capabilities of the case that its simulation would leave out; empty if there are none."""
    return ", ".join(sorted(set(case.inputs["capabilities"]) - SIMULATED))


def left_out(case: Case, suite: str, row_id: str) -> Row:
    """Row ``row_id`` of ``suite`` for a ``case`` that is not simulated: measured outcome and missing capabilities."""
    measured, missing = "|".join(sorted(set(case.status))), f"without {not_simulated(case)}"
    return Row(suite, row_id, "outcome", measured, "not simulated", None, None, passed=False).unscored(missing)


CHANGED = {
    "max_bandwidth_Bps": "max_bandwidth", "downtime_limit_ms": "downtime_limit_ms",
    "max_postcopy_bandwidth_Bps": "max_postcopy_bandwidth",
}  # fmt: skip
"""Inputs that ``parameter_changes`` may change while the migration runs, and their fields of MigrationParameters."""


def _change(change: Mapping[str, Any]) -> ParameterChange:
    """The change that a case has as ``{"after_ms": 2000, "downtime_limit_ms": 800}``."""
    values = tuple((field, int(change[key])) for key, field in CHANGED.items() if key in change)
    return ParameterChange(int(change["after_ms"]) * NS_PER_MS, 0, values)


def _migration(inputs: Mapping[str, Any]) -> MigrationParameters:
    throttle, cache_size = inputs["throttle"], inputs.get("xbzrle_cache_size")
    cache: dict[str, Any] = {"xbzrle": "xbzrle" in inputs["capabilities"]}
    return MigrationParameters(
        qemu=VERSIONS[".".join(str(inputs["qemu_version"]).split(".")[:2])],
        max_bandwidth=int(inputs["max_bandwidth_Bps"]),
        downtime_limit_ms=int(inputs["downtime_limit_ms"]),
        auto_converge="auto-converge" in inputs["capabilities"],
        throttle_trigger_threshold=int(throttle["throttle-trigger-threshold"]),
        cpu_throttle_initial=int(throttle["cpu-throttle-initial"]),
        cpu_throttle_increment=int(throttle["cpu-throttle-increment"]),
        cpu_throttle_tailslow=bool(throttle["cpu-throttle-tailslow"]),
        max_cpu_throttle=int(throttle["max-cpu-throttle"]),
        avail_switchover_bandwidth=int(inputs["avail_switchover_bandwidth_Bps"] or 0),
        return_path="return-path" in inputs["capabilities"],
        multifd="multifd" in inputs["capabilities"],
        multifd_channels=int(inputs.get("multifd_channels") or 2),
        multifd_compression=inputs.get("multifd_compression") or "none",
        zero_page_detection=_zero_page_detection(inputs),
        **(cache | ({"xbzrle_cache_size": int(cache_size)} if cache_size else {})),
        postcopy_ram="postcopy-ram" in inputs["capabilities"],
        postcopy_preempt="postcopy-preempt" in inputs["capabilities"],
        postcopy_blocktime="postcopy-ram" in inputs["capabilities"],
        max_postcopy_bandwidth=int(inputs.get("max_postcopy_bandwidth_Bps") or 0),
        postcopy_after_rounds=int(inputs.get("postcopy_after_syncs") or -1),
        postcopy_after_ns=int(inputs["postcopy_after_ms"]) * NS_PER_MS if inputs.get("postcopy_after_ms") else -1,
        dirty_limit="dirty-limit" in inputs["capabilities"],
        vcpu_dirty_limit=int(inputs.get("vcpu_dirty_limit_MBps") or 1),
        pause_before_switchover="pause-before-switchover" in inputs["capabilities"],
        continue_after_ns=int(inputs.get("continue_after_ms") or 0) * NS_PER_MS,
        changes=tuple(_change(change) for change in inputs.get("parameter_changes") or ()),
        timeout_ns=int(inputs["cancel_after_s"]) * 1_000_000_000,
    )
