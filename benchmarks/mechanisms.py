"""Each mechanism that ``compare --modes`` knows, on the guest of scenarios/big_guest.toml."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from hostsim.core.errors import InputError
from hostsim.machine.machine import Machine
from hostsim.scenario import load_scenario
from hostsim.scenario.build import build
from hostsim.study.compare.modes import MODES, keys_of

GUEST = Path(__file__).parents[1] / "scenarios" / "big_guest.toml"
REPEATS = 3


def per_cpu_second(mode: str, changes: tuple[str, ...] = ()) -> dict[str, float] | None:
    """Simulated seconds a second of CPU of ``mode``, median of three; None if the guest cannot have it."""
    keys = [f"migration.{key}={value}" for key, value in keys_of(mode).items()]
    try:
        scenario = load_scenario(GUEST, [*keys, *changes], 1)
    except InputError:
        return None
    found = [_once(scenario) for _ in range(REPEATS)]
    simulated_s, cpu_s = found[0][0], statistics.median(cpu_s for _, cpu_s in found)
    return {"simulated_s": simulated_s, "cpu_s": cpu_s, "ratio": simulated_s / cpu_s}


def _once(scenario: Any) -> tuple[float, float]:
    start = time.process_time()
    machine = Machine(build(scenario))
    machine.run()
    return machine.env.now_ns / 1e9, time.process_time() - start


def all_modes() -> dict[str, dict[str, float] | None]:
    """``per_cpu_second`` of every mode."""
    return {mode: per_cpu_second(mode) for mode in MODES}
