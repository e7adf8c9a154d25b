"""Migration parameters and capabilities (qapi/migration.json::MigrationParameters), and behaviour by QEMU version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
    has_device_status: the status is "device" once the VM has stopped (10.x, migration_switchover_prepare); else only after
    pre-switchover (7.2, migration_maybe_pause).
    cancels_setup_at_once: migrate_cancel while the connection is being made ends the migration (>= 8.0, migration_cancel).
    """

    estimate_first: bool
    flush_pages: int
    counts_all_bytes: bool
    dirty_sync_timer: bool
    at_threshold_completes: bool
    has_device_status: bool
    cancels_setup_at_once: bool


Version = Literal["7.2", "10.0", "10.2"]
BEHAVIOUR: dict[Version, Behaviour] = {
    "7.2": Behaviour(False, 1, False, False, False, False, False),
    "10.0": Behaviour(True, PAGES_A_FLUSH, True, True, False, True, True),
    "10.2": Behaviour(True, PAGES_A_FLUSH, True, True, True, True, True),
}


@dataclass(frozen=True)
class ParameterChange:
    """One migrate-set-parameters of an operator: ``after_ns`` since the start, or with sync ``after_sync``; 0: not this.

    values: (name of MigrationParameters, new value).
    """

    after_ns: int
    after_sync: int
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class MigrationParameters:
    """As QMP names them; max_bandwidth and avail_switchover_bandwidth in bytes/s, 0: none; timeout_ns 0: none.

    continue_after_ns: from the event pre-switchover to migrate-continue, 0: the command never comes.
    suspend_after_ns: from the start to the moment at which an operator suspends the guest, 0: never.
    keepalive_ns: time without the destination after which the manager cancels, 0: never.
    retries, retry_after_ns: further attempts after a cancel or a failure, and the pause before each.
    changes: parameters that an operator changes while the migration runs.
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
    switchover_ack: bool = False
    pause_before_switchover: bool = False
    continue_after_ns: int = 0
    suspend_after_ns: int = 0
    keepalive_ns: int = 0
    retries: int = 0
    retry_after_ns: int = 0
    changes: tuple[ParameterChange, ...] = ()
    start_ns: int = 0
    timeout_ns: int = 0

    @property
    def behaviour(self) -> Behaviour:
        """Behaviour of this version of QEMU."""
        return BEHAVIOUR[self.qemu]

    @property
    def rate_limit_bytes(self) -> int:
        """Bytes a window of 100 ms may send (migration.c XFER_LIMIT_RATIO); 0: no limit."""
        return self.max_bandwidth // 10
