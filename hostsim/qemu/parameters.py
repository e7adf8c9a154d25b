"""Migration parameters and capabilities (qapi/migration.json::MigrationParameters), and behaviour by QEMU version."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hostsim.qemu.mechanism import mechanisms
from hostsim.qemu.version import Version

if TYPE_CHECKING:
    # Circle of types: bases are joined when the program runs; mypy needs their fields.
    from hostsim.qemu.mechanisms.auto_converge import AutoConvergeParameters
    from hostsim.qemu.mechanisms.dirty_limit import DirtyLimitParameters
    from hostsim.qemu.mechanisms.multifd import MultifdParameters
    from hostsim.qemu.mechanisms.postcopy import PostcopyParameters

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
    kick_ends_limit_sleep: dirtylimit_vcpu_execute sleeps by usleep, which a kick's signal ends (7.2), or by g_usleep,
    which goes on after a signal (10.x).
    zero_page_detection: the parameter exists (9.0); before, the migration thread looks for zero pages.
    multifd_counts_when_sent: bytes of a packet count once its channel has written them (8.1), else as it is handed over, and
    uncompressed.
    multifd_sync_each_section: channels sync at the end of each ram_save_iterate, else once a scan of RAM
    (8.1, multifd-flush-after-each-section).
    multifd_spins: channels_ready counts syncs too, so the thread looks for a free channel in a loop (until 8.2, d2026ee117).
    postcopy_first: a switch to post-copy is tested before completion (>= 10.1, migration_iteration_run).
    postcopy_to_the_last: post-copy completes when nothing is pending (>= 10.1), else below the threshold without a limit.
    has_postcopy_device: the status is "postcopy-device" until the destination has loaded the package (10.2).
    urgent_thread: with postcopy-preempt the return-path thread sends requested pages (>= 8.0), else the migration thread.
    blocktime_ns: blocktime is counted in nanoseconds, with latencies (>= 10.1), else by a clock of milliseconds.
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
    kick_ends_limit_sleep: bool = False
    zero_page_detection: bool = True
    multifd_counts_when_sent: bool = True
    multifd_sync_each_section: bool = False
    multifd_spins: bool = False
    postcopy_first: bool = False
    postcopy_to_the_last: bool = False
    has_postcopy_device: bool = False
    urgent_thread: bool = True
    blocktime_ns: bool = False
    cancels_setup_at_once: bool = True


_7_2 = Behaviour(
    estimate_first=False, flush_pages=1, counts_all_bytes=False, dirty_sync_timer=False, at_threshold_completes=False,
    has_device_status=False, kick_ends_limit_sleep=True, zero_page_detection=False, multifd_counts_when_sent=False,
    multifd_sync_each_section=True, multifd_spins=True, urgent_thread=False, cancels_setup_at_once=False,
)  # fmt: skip
_10_0 = Behaviour(
    estimate_first=True, flush_pages=PAGES_A_FLUSH, counts_all_bytes=True, dirty_sync_timer=True,
    at_threshold_completes=False, has_device_status=True,
)  # fmt: skip
_10_2 = replace(
    _10_0, at_threshold_completes=True, postcopy_first=True, postcopy_to_the_last=True, has_postcopy_device=True,
    blocktime_ns=True,
)  # fmt: skip
BEHAVIOUR: dict[Version, Behaviour] = {"7.2": _7_2, "10.0": _10_0, "10.2": _10_2}


@dataclass(frozen=True)
class ParameterChange:
    """One migrate-set-parameters of an operator: ``after_ns`` since the start, or with sync ``after_sync``; 0: not this.

    values: (name of MigrationParameters, new value).
    """

    after_ns: int
    after_sync: int
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class _First:
    qemu: Version = "10.2"
    max_bandwidth: int = 128 << 20
    downtime_limit_ms: int = 300


if TYPE_CHECKING:

    class _OfMechanisms(
        PostcopyParameters, MultifdParameters, DirtyLimitParameters, AutoConvergeParameters, _First
    ):
        """Fields of all mechanisms, as far as mypy has to know their names."""
else:
    _OfMechanisms = type("_OfMechanisms", (*(one.parameters for one in reversed(mechanisms())), _First), {})


@dataclass(frozen=True)
class MigrationParameters(_OfMechanisms):
    """As QMP names them; the fields of each mechanism come from its record (hostsim.qemu.mechanism).

    max_bandwidth, avail_switchover_bandwidth: bytes/s, 0: none. timeout_ns: 0: none.
    continue_after_ns: from the event pre-switchover to migrate-continue, 0: the command never comes.
    suspend_after_ns: from the start to the moment at which an operator suspends the guest, 0: never.
    suspend_after_sync, cancel_after_sync: number of the sync at which an operator suspends the guest, or cancels; 0: never.
    keepalive_ns: time without the destination after which the manager cancels, 0: never.
    retries, retry_after_ns: further attempts after a cancel or a failure, and the pause before each.
    changes: parameters that an operator changes while the migration runs.
    """

    avail_switchover_bandwidth: int = 0
    return_path: bool = False
    switchover_ack: bool = False
    pause_before_switchover: bool = False
    continue_after_ns: int = 0
    suspend_after_ns: int = 0
    suspend_after_sync: int = 0
    cancel_after_sync: int = 0
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
