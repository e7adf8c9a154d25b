"""Migration parameters and capabilities (qapi/migration.json::MigrationParameters), and behaviour by QEMU version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hostsim.core.constants import PAGE_BYTES

PAGES_A_FLUSH = 32
"""64 iovecs, two a page (migration/qemu-file.c MAX_IOV_SIZE)."""


@dataclass(frozen=True)
class Behaviour:
    """Behaviour in which QEMU versions differ.

    estimate_first: savevm.c reports pending as an estimate, then exactly if the estimate is below the threshold (>= 8.0).
    flush_pages: normal pages that are gathered before they count against the rate limit (10.x), 1: none (7.2).
    counts_all_bytes: ram.transferred counts the bytes of all channels (10.x), else of the RAM stream alone (7.2).
    dirty_sync_timer: auto-converge syncs at least each 5 s (>= 9.2).
    at_threshold_completes: pending == threshold switches over (10.2) or iterates once more.
    has_device_status: the status is "device" once the VM has stopped (10.x, migration_switchover_prepare).
    postcopy_first: a switch to post-copy is tested before completion (>= 10.1, migration_iteration_run).
    postcopy_to_the_last: post-copy completes when nothing is pending (>= 10.1), else below the threshold without a limit.
    has_postcopy_device: the status is "postcopy-device" until the destination has loaded the package (10.2).
    urgent_thread: with postcopy-preempt the return-path thread sends requested pages (>= 8.0), else the migration thread.
    blocktime_ns: blocktime is counted in nanoseconds, with latencies (>= 10.1), else by a clock of milliseconds.
    """

    estimate_first: bool
    flush_pages: int
    counts_all_bytes: bool
    dirty_sync_timer: bool
    at_threshold_completes: bool
    has_device_status: bool
    postcopy_first: bool = False
    postcopy_to_the_last: bool = False
    has_postcopy_device: bool = False
    urgent_thread: bool = True
    blocktime_ns: bool = False


Version = Literal["7.2", "10.0", "10.2"]
BEHAVIOUR: dict[Version, Behaviour] = {
    "7.2": Behaviour(False, 1, False, False, False, False, urgent_thread=False),
    "10.0": Behaviour(True, PAGES_A_FLUSH, True, True, False, True),
    "10.2": Behaviour(
        True, PAGES_A_FLUSH, True, True, True, True, postcopy_first=True, postcopy_to_the_last=True,
        has_postcopy_device=True, blocktime_ns=True,
    ),
}


@dataclass(frozen=True)
class MigrationParameters:
    """As QMP names them; bandwidths in bytes/s, 0: none; timeout_ns 0: none.

    postcopy_after_rounds: migrate-start-postcopy once that many rounds are over (MIGRATION_PASS of the next); -1: never.
    postcopy_after_ns: migrate-start-postcopy that long after the start; -1: never.
    postcopy_link_fails_ns: the connection breaks that long after the switch; 0: never.
    postcopy_recover_after_ns: migrate-recover that long after the break; 0: never.
    host_page_bytes: page size of the destination's memory backend, which post-copy requests and places whole.
    """

    qemu: Version = "10.2"
    max_bandwidth: int = 128 << 20
    downtime_limit_ms: int = 300
    auto_converge: bool = False
    throttle_trigger_threshold: int = 50
    cpu_throttle_initial: int = 20
    cpu_throttle_increment: int = 10
    cpu_throttle_tailslow: bool = False
    max_cpu_throttle: int = 99
    avail_switchover_bandwidth: int = 0
    return_path: bool = False
    start_ns: int = 0
    timeout_ns: int = 0
    postcopy_ram: bool = False
    postcopy_preempt: bool = False
    postcopy_blocktime: bool = False
    max_postcopy_bandwidth: int = 0
    postcopy_after_rounds: int = -1
    postcopy_after_ns: int = -1
    postcopy_link_fails_ns: int = 0
    postcopy_recover_after_ns: int = 0
    host_page_bytes: int = PAGE_BYTES

    @property
    def behaviour(self) -> Behaviour:
        """Behaviour of this version of QEMU."""
        return BEHAVIOUR[self.qemu]

    @property
    def rate_limit_bytes(self) -> int:
        """Bytes a window of 100 ms may send (migration.c XFER_LIMIT_RATIO); 0: no limit."""
        return self.max_bandwidth // 10
