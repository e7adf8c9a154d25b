"""Measure the migrations of group ``blind`` of suite ``kvm`` here: python docs/tools/measure_blind.py FILE [ID ...].

The plan was drawn when the model existed, and hostsim had simulated none of its migrations then: mixtures of patterns, rates
and mechanisms that no other measured case has. Bandwidths are so low that the speed of the host hardly shows.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hostsim.measure.qemu.firmware import Guest
from hostsim.measure.qemu.measure import measure
from hostsim.measure.qemu.plan import Planned

XBZRLE, MULTIFD, CONVERGE = ("xbzrle",), ("multifd",), ("auto-converge",)
POSTCOPY, PREEMPT = ("postcopy-ram",), ("postcopy-ram", "postcopy-preempt")


def throttle(initial: int, increment: int, most: int, trigger: int, *, tailslow: bool = False) -> dict[str, int | bool]:
    """Parameters of auto-converge."""
    return {
        "cpu-throttle-initial": initial, "cpu-throttle-increment": increment, "max-cpu-throttle": most,
        "throttle-trigger-threshold": trigger, "cpu-throttle-tailslow": tailslow,
    }  # fmt: skip


PLAN = (
    Planned("blind_rand_9000", Guest(512, 32_768, 24_576, rate=9000), 0, 97_000_000, 300, cancel_after_s=30),
    Planned("blind_seq_11000", Guest(256, 8192, 12_288, "seq", 11_000), 0, 53_000_000, 40, cancel_after_s=30),
    Planned(
        "blind_hotcold_30000", Guest(256, 4096, 32_768, "hotcold", 30_000, hot_pages=2000, hot_share=0.8), 0,
        119_000_000, 100, cancel_after_s=20,
    ),
    Planned("blind_ring1024_rand_6000", Guest(128, 8192, 16_384, rate=6000), 1024, 57_000_000, 150, cancel_after_s=20),
    Planned("blind_small_rand_20000", Guest(64, 2048, 8192, rate=20_000), 0, 157_000_000, 10, cancel_after_s=15),
    Planned("blind_zero_rand_3000", Guest(512, 4096, 4096, rate=3000), 0, 199_000_000, 20, cancel_after_s=15),
    Planned("blind_seq_20000_stuck", Guest(128, 4096, 16_384, "seq", 20_000), 0, 61_000_000, 200, cancel_after_s=8),
    Planned("blind_rand_30000_dl1000", Guest(128, 8192, 16_384, rate=30_000), 0, 67_000_000, 1000, cancel_after_s=25),
    Planned(
        "blind_converge_tailslow", Guest(128, 8192, 16_384, rate=40_000, pace="cpu"), 0, 67_000_000, 150, CONVERGE,
        throttle(30, 15, 99, 50, tailslow=True), cancel_after_s=25,
    ),
    Planned(
        "blind_converge_seq_max70", Guest(128, 8192, 12_288, "seq", 30_000, "cpu"), 0, 83_000_000, 120, CONVERGE,
        throttle(10, 25, 70, 30), cancel_after_s=20,
    ),
    Planned(
        "blind_converge_wall_24000", Guest(128, 8192, 16_384, rate=24_000), 0, 59_000_000, 100, CONVERGE,
        throttle(50, 10, 99, 60), cancel_after_s=20,
    ),
    Planned(
        "blind_xbzrle_rand_20000", Guest(128, 8192, 8192, rate=20_000), 0, 52_000_000, 100, XBZRLE,
        {"xbzrle-cache-size": 64 << 20}, cancel_after_s=20,
    ),
    Planned(
        "blind_xbzrle_seq_c16", Guest(128, 8192, 8192, "seq", 10_000), 0, 63_000_000, 50, XBZRLE,
        {"xbzrle-cache-size": 16 << 20}, cancel_after_s=20,
    ),
    Planned(
        "blind_xbzrle_hotcold_converge", Guest(256, 8192, 24_576, "hotcold", 26_000, "cpu", 4000, 0.7), 0, 58_000_000, 60,
        (*XBZRLE, *CONVERGE), {"xbzrle-cache-size": 32 << 20, **throttle(20, 20, 90, 40)}, cancel_after_s=25,
    ),
    Planned(
        "blind_multifd3_rand_8000", Guest(256, 16_384, 16_384, rate=8000), 0, 98_000_000, 120, MULTIFD,
        {"multifd-channels": 3}, cancel_after_s=20,
    ),
    Planned(
        "blind_multifd8_seq_9000", Guest(128, 8192, 16_384, "seq", 9000), 0, 59_000_000, 50, MULTIFD,
        {"multifd-channels": 8}, cancel_after_s=20,
    ),
    Planned(
        "blind_multifd_zstd_rand_10000", Guest(128, 8192, 16_384, rate=10_000), 0, 61_000_000, 100, MULTIFD,
        {"multifd-channels": 4, "multifd-compression": "zstd"}, cancel_after_s=20,
    ),
    Planned(
        "blind_multifd_zlib_hotcold", Guest(128, 8192, 8192, "hotcold", 7000, hot_pages=900, hot_share=0.9), 0,
        51_000_000, 150,
        MULTIFD, {"multifd-channels": 2, "multifd-compression": "zlib"}, cancel_after_s=20,
    ),
    Planned(
        "blind_postcopy1_rand_20000", Guest(128, 8192, 16_384, rate=20_000), 0, 66_000_000, 100, POSTCOPY,
        postcopy_after_syncs=1, cancel_after_s=20,
    ),
    Planned(
        "blind_postcopy3_preempt_bw50", Guest(256, 8192, 32_768, rate=40_000), 0, 110_000_000, 60, PREEMPT,
        {"max-postcopy-bandwidth": 50_000_000}, postcopy_after_syncs=3, cancel_after_s=20,
    ),
    Planned(
        "blind_postcopy1_seq_bw30", Guest(128, 4096, 16_384, "seq", 18_000), 0, 55_000_000, 100, POSTCOPY,
        {"max-postcopy-bandwidth": 30_000_000}, postcopy_after_syncs=1, cancel_after_s=20,
    ),
    Planned(
        "blind_limit20_rand", Guest(128, 8192, 16_384, rate=30_000, pace="cpu"), 2048, 62_000_000, 120, dirty_limit_mb_s=20,
        cancel_after_s=15,
    ),
    Planned(
        "blind_return_path_hotcold", Guest(128, 8192, 16_384, "hotcold", 12_000, hot_pages=300, hot_share=0.5), 4096,
        71_000_000,
        200, ("return-path",), cancel_after_s=20,
    ),
)  # fmt: skip
"""Guests: memory [MiB], filled pages, working set [pages]; then ring entries, max-bandwidth [bytes/s],
downtime-limit [ms]."""


def main() -> None:
    """Measure the cases named, or all; one JSON object a line."""
    path, *ids = sys.argv[1:]
    plan = [one for one in PLAN if not ids or one.id in ids]
    found = measure(plan, modes=(), busy=True, progress=lambda about: sys.stderr.write(f"{about}\n"))
    for refused, why in found.refused.items():
        sys.stderr.write(f"{refused}: {why}\n")
    Path(path).write_text("".join(json.dumps(case) + "\n" for case in found.cases), encoding="utf-8")
    sys.stderr.write(f"others took {found.foreign_share:.0%} of the processors\n")


if __name__ == "__main__":
    main()
