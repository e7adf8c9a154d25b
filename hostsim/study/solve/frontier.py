"""The frontier: pairs of link speed and downtime limit that reach a target, computed; its cheapest corners are run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hostsim.scenario.schema import Scenario
from hostsim.study.predict.bench import Bench
from hostsim.study.predict.forecast import forecast
from hostsim.study.predict.knobs import KNOBS, Knob
from hostsim.study.predict.replications import same_guest
from hostsim.study.solve.candidates import duration_ns, limit_edge_ms
from hostsim.study.solve.solution import Cell
from hostsim.study.solve.target import Target

GBIT = 125_000_000
SPEEDS = (1, 2.5, 5, 10, 15, 20, 25, 40, 50, 100, 200)
"""Link speeds [Gbit/s] beside the present one."""
LIMITS_MS = (50, 100, 200, 300, 500, 1_000, 2_000, 5_000, 10_000, 30_000)
"""Downtime limits beside the present one."""
CORNERS, SEEDS = 3, 2
FRONTIER_WORK = 200_000_000
SEED_AFTER = 2000
"""Seeds of the corners' runs lie so far behind the first: the search and the confirmation have others."""


def frontier(base: Scenario, target: Target) -> tuple[Cell, ...]:
    """A cell for each pair, row by row from the slowest link on; () where the migration cannot be computed."""
    speeds, limits = (_knob(name) for name in ("bandwidth_bytes_per_s", "downtime_limit_ms"))
    speed, limit = speeds.read(base), limits.read(base)
    if forecast(base) is None or speed is None or limit is None:
        return ()
    edge = limit_edge_ms(base, target)
    farthest = float(int(min(edge, LIMITS_MS[-1])))
    across = sorted({float(one) for one in LIMITS_MS if one <= edge} | {min(limit, edge), farthest})
    down = sorted({one * GBIT for one in SPEEDS if speed / 8 <= one * GBIT <= 16 * speed} | {speed})
    cells = [_cell(base, target, one, other) for one in down for other in across]
    return tuple(replace(cell, corner=_is_corner(cell, cells)) for cell in cells)


def confirmed(base: Scenario, target: Target, cells: Sequence[Cell], bench: Bench) -> tuple[Cell, ...]:
    """``cells`` with the runs of up to CORNERS corners, those nearest to the present bandwidth first."""
    today = _knob("bandwidth_bytes_per_s").read(base) or 1.0
    corners = [cell for cell in cells if cell.corner]
    nearest = sorted(corners, key=lambda cell: abs(cell.bandwidth_bytes_per_s - today))[:CORNERS]
    one = 4 * base.vm.memory_pages * SEEDS
    chosen = nearest[: max(1, int(FRONTIER_WORK // one))]
    runs = [
        same_guest(_of(base, target, cell))(SEED_AFTER + number) for cell in chosen for number in range(SEEDS)
    ]
    bench.expected = bench.done + len(runs)
    met = [target.met(figures) for figures in bench.figures(runs)]
    ran = {id(cell): sum(met[i * SEEDS : (i + 1) * SEEDS]) for i, cell in enumerate(chosen)}
    return tuple(replace(cell, runs=SEEDS, reached=ran[id(cell)]) if id(cell) in ran else cell for cell in cells)


def _of(base: Scenario, target: Target, cell: Cell) -> Scenario:
    scenario = _turned(base, cell.bandwidth_bytes_per_s, cell.downtime_limit_ms)
    return scenario.model_copy(update={"duration": duration_ns(scenario, target)})


def _cell(base: Scenario, target: Target, speed: float, limit: float) -> Cell:
    scenario = _turned(base, speed, limit)
    found = forecast(scenario.model_copy(update={"duration": duration_ns(scenario, target)}))
    assert found is not None, "asked before"
    total = found.total_s if found.total_s != float("inf") else None
    return Cell(speed, limit, target.computed(found), total)


def _turned(base: Scenario, speed: float, limit: float) -> Scenario:
    scenario = base
    if speed != _knob("bandwidth_bytes_per_s").read(base):
        scenario = _knob("bandwidth_bytes_per_s").turned(scenario, speed)
    return _knob("downtime_limit_ms").turned(scenario, limit)


def _is_corner(cell: Cell, cells: Sequence[Cell]) -> bool:
    """Whether it reaches the target, and neither a slower link nor a shorter limit does."""
    return cell.computed and not any(
        other.computed and other != cell and other.bandwidth_bytes_per_s <= cell.bandwidth_bytes_per_s
        and other.downtime_limit_ms <= cell.downtime_limit_ms
        for other in cells
    )  # fmt: skip


def _knob(name: str) -> Knob:
    return next(knob for knob in KNOBS if knob.name == name)
