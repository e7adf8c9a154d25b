"""Draw the pictures of runs that pages show, under docs/tutorial and docs/howto."""

from __future__ import annotations

import sys
from pathlib import Path

from hostsim import run
from hostsim.report.kvm_plots import kvm_pictures
from hostsim.report.memory_plots import host_pictures
from hostsim.report.plots import migration_pictures
from hostsim.scenario import load_scenario

ROOT = Path(__file__).resolve().parents[2]
PICTURES = {
    "tutorial/first-run.png": ("precopy_convergence", migration_pictures),
    "howto/kvm-write-protect.png": ("kvm_write_protect", kvm_pictures),
}
HOST_PICTURES = {
    "howto/memory-pressure-latencies.png": ("memory_pressure", "latencies.png"),
    "howto/ageing-under-load-age-map.png": ("ageing_under_load", "age_map.png"),
}


def main() -> int:
    """Write the pictures."""
    for name, (scenario, draw) in PICTURES.items():
        result = run(load_scenario(ROOT / "scenarios" / f"{scenario}.toml"))
        (ROOT / "docs" / name).write_bytes(draw(result.migrations[0], result.name)["png"])
    for name, (scenario, picture) in HOST_PICTURES.items():
        result = run(load_scenario(ROOT / "scenarios" / f"{scenario}.toml"))
        assert result.host is not None
        (ROOT / "docs" / name).write_bytes(host_pictures(result.host, result.name)[picture])
    return 0


if __name__ == "__main__":
    sys.exit(main())
