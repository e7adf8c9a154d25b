"""calc-dirty-rate on a guest whose dirty rate is known."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

from hostsim.core.constants import PAGE_BYTES
from hostsim.measure.qemu.firmware import Guest
from hostsim.measure.qemu.migrate import LOOK_S, STUCK_S, Bench, wait_until_begun
from hostsim.measure.qemu.plan import RATE_GUEST, RATE_MODES, RATE_TIME_S, RING
from hostsim.measure.qemu.process import Place, Qemu
from hostsim.measure.qemu.qmp import QemuError

SAMPLE_PAGES = 4096
"""Of each GiB, the most that QEMU takes."""
MIB = 1 << 20


@dataclass(frozen=True)
class DirtyRate:
    """The answers of calc-dirty-rate for a guest that writes uniformly.

    reported_mib_s: by QEMU, a whole number.
    distinct_mib_s: of distinct pages in the time, expected from the writes that the guest has counted.
    ns_per_write_before, ns_per_write_during: mean time of a write, faults included.
    """

    mode: str
    reported_mib_s: int
    distinct_mib_s: float
    write_rate_pages_s: float
    ns_per_write_before: float
    ns_per_write_during: float

    def as_object(self) -> dict[str, Any]:
        """In the terms of JSON."""
        return asdict(self)


def measure_dirty_rate(bench: Bench, mode: str, guest: Guest = RATE_GUEST) -> DirtyRate:
    """Let QEMU measure the rate of ``guest`` for RATE_TIME_S. QemuError if it has no such mode."""
    accel = f"kvm,{RING}{RATE_MODES[mode]}" if RATE_MODES[mode] else "kvm"
    with Qemu(bench.binary, Place(bench.folder, "rate"), guest.image(bench.tsc_hz), guest.mem_mib, accel) as qemu:
        wait_until_begun(qemu)
        first = qemu.mailbox()
        time.sleep(RATE_TIME_S / 2)
        before = qemu.mailbox()
        more = {"sample_pages": SAMPLE_PAGES} if mode == "page-sampling" else {}
        qemu.qmp.ask("calc-dirty-rate", calc_time=RATE_TIME_S, mode=mode, **more)
        reported = _reported(qemu)
        after = qemu.mailbox()
    rate = after.rate_since(before, bench.tsc_hz)
    return DirtyRate(
        mode, reported, distinct_mib(guest.set_pages, rate * RATE_TIME_S) / RATE_TIME_S, rate,
        before.write_ns_since(first, bench.tsc_hz), after.write_ns_since(before, bench.tsc_hz),
    )  # fmt: skip


def _reported(qemu: Qemu) -> int:
    until = time.monotonic() + RATE_TIME_S + STUCK_S
    while time.monotonic() < until:
        time.sleep(LOOK_S)
        found = qemu.qmp.ask("query-dirty-rate")
        if found["status"] == "measured":
            return int(found["dirty-rate"])
    raise QemuError(f"calc-dirty-rate has not measured after {RATE_TIME_S + STUCK_S:g} s")


def distinct_mib(n_pages: int, writes: float) -> float:
    """Expected distinct pages [MiB] of ``writes`` uniform writes to ``n_pages``."""
    return n_pages * -math.expm1(-writes / n_pages) * PAGE_BYTES / MIB
