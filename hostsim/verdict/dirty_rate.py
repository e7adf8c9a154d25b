"""A measured dirty rate before any migration: which link keeps up with it, and the scenario to simulate it."""

from __future__ import annotations

from collections.abc import Sequence

from hostsim.core.constants import PAGE_BYTES, PAGE_WIRE_BYTES
from hostsim.logs.model import DirtyReading, MigrationLog
from hostsim.verdict.model import Confidence, Remedy, Verdict
from hostsim.verdict.words import bandwidth_words, bytes_words, rounded_up, seconds_words

WIRE = PAGE_WIRE_BYTES / PAGE_BYTES
"""A page takes 8 bytes more on the wire (QEMU migration/ram.c::save_page_header)."""
PERIODS = "1, 2, 5, 10 and 30 s"


def no_migration_yet(log: MigrationLog, link_bytes_per_s: float | None) -> Verdict | None:
    """The answer on a log of nothing but readings of calc-dirty-rate."""
    if not log.readings:
        return None
    measured = [reading for reading in log.readings if reading.bytes_per_s is not None]
    if not measured:
        return _not_measured(log.readings[-1])
    top = max(measured, key=lambda reading: reading.bytes_per_s or 0.0)
    per_s, period = top.bytes_per_s or 0.0, top.period_s
    converges = bandwidth_words(rounded_up(per_s * 8 * WIRE) / 8)
    count = f"{len(measured)} measurements" if len(measured) > 1 else "one measurement"
    return Verdict(
        outcome="no migration yet",
        headline=f"no migration yet: a measured dirty rate, {_reading_words(top)}, {bandwidth_words(per_s)}",
        findings=(_link(per_s, link_bytes_per_s), _again(measured)),
        remedies=(
            Remedy("bandwidth", f"bandwidth: over a link that carries more than {converges} for this migration "
                   "alone, it converges by itself", per_s * WIRE, "bytes/s"),
        ),
        confidence=Confidence("medium" if len(measured) > 1 else "low", count),
        measure_next=(f"virsh domdirtyrate-calc DOMAIN --seconds N --mode dirty-bitmap for {PERIODS}",),
        numbers={"dirty_bytes_per_s": per_s, "dirty_bits_per_s": 8 * per_s, **({"period_s": period} if period else {}),
                 "needed_bytes_per_s": per_s * WIRE},
    )  # fmt: skip


def scenario_lines(log: MigrationLog, link_bytes_per_s: float | None) -> list[str]:
    """A scenario for ``hostsim run`` that writes as calc-dirty-rate measured; empty if ``log`` has no measured rate.

    link_bytes_per_s: bandwidth of the link in the scenario; None or 0: twice the measured rate.
    """
    measured = [reading for reading in log.readings if reading.bytes_per_s]
    if not measured:
        return []
    longest = max(measured, key=lambda reading: (reading.period_s or 1.0) * (reading.bytes_per_s or 0.0))
    rate, period = longest.bytes_per_s or 0.0, longest.period_s or 1.0
    link = link_bytes_per_s or rounded_up(2 * rate * WIRE)
    pages = max(1, round(rate * period / PAGE_BYTES))
    return [
        "# the measured rate; fill in the memory of the guest, and its working set when longer periods have shown it",
        "[vm]",
        f'memory = "{_memory(pages * PAGE_BYTES)}"',
        "[[vm.workload]]",
        'pattern = "sequential"',
        f'size = "{pages * PAGE_BYTES // 1024}KiB"  # at least: what was dirty after {seconds_words(period)}',
        f'write_rate = "{round(rate / PAGE_BYTES)}/s"',
        "[link]",
        f'bandwidth = "{round(link * 8 / 1e6)}Mbit/s"',
        "[migration]",
        'bandwidth = "unlimited"',
    ]


def _memory(used_bytes: int) -> str:
    gib = 8
    while gib << 30 < 2 * used_bytes:
        gib *= 2
    return f"{gib}GiB"


def _reading_words(reading: DirtyReading) -> str:
    period = f" over {seconds_words(reading.period_s)}" if reading.period_s else ""
    return f"{bytes_words(reading.bytes_per_s or 0.0)}/s{period}{f' ({reading.mode})' if reading.mode else ''}"


def _link(per_s: float, link: float | None) -> str:
    words = bandwidth_words(per_s * WIRE)
    told = ""
    if link:
        told = f"This link, {bandwidth_words(link)}, is {'faster' if link > per_s * WIRE else 'slower'}. "
    return (
        f"Will it converge? {told}It converges over a link faster than {words}. Over a slower link it converges only if the "
        "guest writes the same pages again and again; then a longer period measures a lower rate."
    )


def _again(measured: Sequence[DirtyReading]) -> str:
    if len(measured) > 1:
        return "Measured: " + "; ".join(_reading_words(reading) for reading in measured[:5]) + "."
    period = measured[0].period_s
    size = (measured[0].bytes_per_s or 0.0) * (period or 1.0)
    return f"Pages: the guest writes at least {bytes_words(size)}; one period does not show how much more."


def _not_measured(reading: DirtyReading) -> Verdict:
    state = "is under way" if reading.status == "measuring" else "was not begun"
    return Verdict(
        outcome="no migration yet",
        headline=f"no migration yet, and no dirty rate: the measurement {state}",
        measure_next=("virsh domdirtyrate-calc DOMAIN --seconds 5, then virsh domstats DOMAIN --dirtyrate",),
    )
