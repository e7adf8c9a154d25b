"""Options of ``hostsim measure-dirty``, as typed."""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.study.asking import argument, asked, most_runs

METHODS = {"page-sampling": "page-sampling", "bitmap": "dirty-bitmap", "ring": "dirty-ring"}
"""Method to the mode of calc-dirty-rate."""
DEFAULT_FILE = "measured_guest"


@dataclass(frozen=True)
class MeasureOptions:
    """Lists are separated by commas. file None: DEFAULT_FILE."""

    file: str | None = argument(None, "A scenario (.toml): its [vm] is measured, its [migration] forecast.", DEFAULT_FILE)
    method: str = asked("page-sampling,bitmap,ring", f"Methods: {', '.join(METHODS)}.", "NAME,...")
    samples: str = asked("512,4096", "page-sampling: sampled pages of each GiB, 128 to 16384.", "N,...")
    window: str = asked("1s,5s", "Lengths of a measurement (calc-time).", "TIME,...")
    reps: int = asked(200, "Measurements of each row; fewer if one costs many faults.", "N", min=2, max=10_000)
    seed: int | None = asked(None, "The first seed, in place of the scenario's.", "N", min=0, show_default=False)
    max_runs: int = most_runs()
