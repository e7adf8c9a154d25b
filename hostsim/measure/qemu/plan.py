"""The measurements of ``hostsim validate --suite kvm --measure``: small guests, each of them done within seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hostsim.measure.qemu.firmware import Guest

BANDWIDTH_BPS = 64 << 20
RING_ENTRIES = 4096
RING = "dirty-ring-size="


@dataclass(frozen=True)
class Planned:
    """One migration.

    guest: program in the VM.
    ring_entries: of each vCPU's dirty ring, 0: the log is a bitmap.
    capabilities: of both sides; parameters: of the source, beside bandwidth and downtime.
    dirty_limit_mb_s: ``set-vcpu-dirty-limit``, before the migration; 0: no limit.
    postcopy_after_syncs: ``migrate-start-postcopy`` is sent when QEMU counts more syncs; 0: never.
    cancel_after_s: then a migration that is not done is cancelled.
    """

    id: str
    guest: Guest
    ring_entries: int = 0
    max_bandwidth: int = BANDWIDTH_BPS
    downtime_limit_ms: int = 100
    capabilities: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)
    dirty_limit_mb_s: int = 0
    postcopy_after_syncs: int = 0
    cancel_after_s: int = 5

    @property
    def accel(self) -> str:
        """Value of -accel."""
        return f"kvm,{RING}{self.ring_entries}" if self.ring_entries else "kvm"


FLAT = Guest(set_pages=6500, pace="cpu")
"""Rounds of 0.4 s, so that the cancel after 3 s is not beside a sync."""
CONVERGING = {"cpu-throttle-initial": 40, "cpu-throttle-increment": 20}
"""Of auto-converge, so that it ends soon; QEMU's own are 20 and 10."""
PLAN = (
    Planned("log_none", Guest(pattern="none")),
    Planned("log_rand_4000", Guest(rate=4000)),
    Planned("ring_rand_4000", Guest(rate=4000), RING_ENTRIES),
    Planned("log_seq_9000", Guest(rate=9000, pattern="seq")),
    Planned("ring_seq_9000", Guest(rate=9000, pattern="seq"), RING_ENTRIES),
    Planned("log_hotcold_8000", Guest(rate=8000, pattern="hotcold", hot_pages=800, hot_share=0.9)),
    Planned("log_rand_flat", FLAT, cancel_after_s=3),
    Planned("ring_rand_flat", FLAT, RING_ENTRIES, cancel_after_s=3),
    Planned(
        "log_rand_40000_converge", Guest(rate=40000, pace="cpu"), capabilities=("auto-converge",), parameters=CONVERGING,
        cancel_after_s=12,
    ),
    Planned("ring_rand_flat_limit", FLAT, RING_ENTRIES, dirty_limit_mb_s=10, cancel_after_s=6),
    Planned("log_rand_24000_postcopy", Guest(rate=24000), capabilities=("postcopy-ram",), postcopy_after_syncs=2),
)  # fmt: skip
"""Bitmap and ring, each pattern, at full speed, then the mechanisms for a guest that does not converge."""

RATE_MODES = {"page-sampling": 0, "dirty-bitmap": 0, "dirty-ring": RING_ENTRIES}
"""Modes of calc-dirty-rate, and the ring that each needs."""
RATE_GUEST = Guest(rate=4000)
"""The guest whose dirty rate calc-dirty-rate reports."""
RATE_TIME_S = 1
