"""Which downtime limit does a guest with a working set of 256 MiB need over 5 Gbit/s?

Shape of the answer: a table with a step in it: below the floor divided by the bandwidth nothing completes, above it
everything does, and a still larger limit only buys downtime for total time.
"""

from __future__ import annotations

from hostsim import Scenario, run

LIMITS = ("50ms", "100ms", "200ms", "300ms", "500ms", "1s")
BASE = {
    "vm": {
        "memory": "512MiB",
        "workload": [{"pattern": "uniform", "size": "256MiB", "write_rate": "300k/s"}],
    },
    "link": {"bandwidth": "5Gbit/s"},
}


def main() -> None:
    """Run one migration per limit and print what came of it."""
    print(f"{'limit':>6}  {'status':<10} {'total [ms]':>10} {'downtime [ms]':>13} {'syncs':>5}")
    for limit in LIMITS:
        migration = {"profile": "libvirt", "downtime_limit": limit, "timeout": "20s"}
        result = run(Scenario.model_validate({**BASE, "migration": migration})).migrations[0]
        syncs = int(result.rounds.columns["round"][-1]) if len(result.rounds.columns["round"]) else 0
        print(f"{limit:>6}  {result.status:<10} {result.total_time_ms!s:>10} {result.downtime_ms!s:>13} {syncs:>5}")


if __name__ == "__main__":
    main()
