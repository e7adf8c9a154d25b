"""The frontier: pairs of link speed and downtime limit that reach a target, computed; runs move it and say how surely.

The computation has corners: pairs for which neither a slower link nor a shorter limit would do. A few runs of each corner
say whether it does; where they say no, the next longer limit of its link is run. Pairs that the few runs bear out are
confirmed by more runs with other seeds, whose share is P.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hostsim.scenario.schema import Scenario
from hostsim.study.compare.work import work_of
from hostsim.study.predict.bench import Bench
from hostsim.study.predict.forecast import forecast
from hostsim.study.predict.knobs import KNOBS, Knob
from hostsim.study.predict.replications import same_guest
from hostsim.study.solve.candidates import duration_ns, limit_edge_ms, settings_of
from hostsim.study.solve.solution import Cell, Change
from hostsim.study.solve.target import Target
from hostsim.study.statistics import share_of

GBIT = 125_000_000
SPEEDS = (1, 2.5, 5, 10, 15, 20, 25, 40, 50, 100, 200)
"""Link speeds [Gbit/s] beside the present one."""
MULTIPLES, FASTEST = (1.5, 2.0, 3.0, 5.0), 16
"""Of the present speed, where few of the usual ones are up to FASTEST times as fast."""
LIMITS_MS = (50, 100, 200, 300, 500, 1_000, 2_000, 5_000, 10_000, 30_000)
"""Downtime limits beside the present one."""
CORNERS, SEARCHED, CONFIRMED = 3, 2, 20
"""Corners that are run; runs of a pair that is looked at, and most runs of one that is confirmed."""
STEPS = 2
"""Longer limits that are run where runs refute a corner."""
OF_A_PAIR = ("bandwidth", "downtime-limit")
FRONTIER_WORK = 200_000_000
"""Work of all these runs [pages], a third of it for looking."""
SEED_AFTER, CONFIRM_AFTER = 2000, 3000
"""Seeds of runs that look, and of those that confirm, lie so far behind the first: the search of changes has others."""


def frontier(base: Scenario, target: Target, found: Sequence[Change] = ()) -> tuple[Cell, ...]:
    """A cell for each pair of bandwidth and downtime limit, row by row from the slowest link on.

    base, target: of the search. () where the migration cannot be computed.
    found: changes that runs have confirmed; the values of a link or a limit have a row or a column of their own.
    """
    speeds, limits = (_knob(name) for name in ("bandwidth_bytes_per_s", "downtime_limit_ms"))
    speed, limit = speeds.read(base), limits.read(base)
    if forecast(base) is None or speed is None or limit is None:
        return ()
    edge = limit_edge_ms(base, target)
    farthest = float(int(min(edge, LIMITS_MS[-1])))
    known = {_place_of(one, speed, limit): one for one in found if one.helps and one.kind in OF_A_PAIR}
    usual_limits = {float(one) for one in LIMITS_MS if one <= edge}
    across = sorted(usual_limits | {min(limit, edge), farthest} | {at for _, at in known})
    usual = {float(one * GBIT) for one in SPEEDS if speed <= one * GBIT <= FASTEST * speed}
    multiples = {one * speed for one in MULTIPLES} if len(usual) < len(MULTIPLES) else set()
    down = sorted(usual | multiples | {speed} | {at for at, _ in known})
    cells = [_cell(base, target, one, other) for one in down for other in across]
    cells = [_by_change(cell, known[_place(cell)]) if _place(cell) in known else cell for cell in cells]
    return tuple(replace(cell, corner=_is_corner(cell, cells)) for cell in cells)


def confirmed(base: Scenario, target: Target, cells: Sequence[Cell], reps: int | None, bench: Bench) -> tuple[Cell, ...]:
    """``cells`` with the runs of up to CORNERS corners, those nearest to the present bandwidth first. RunsFailedError.

    base, target: of the search.
    reps: confirming runs of each; None: CONFIRMED, fewer where that is too much work.
    bench: workers, and the folder of finished runs.
    """
    today = _knob("bandwidth_bytes_per_s").read(base) or 1.0
    corners = [cell for cell in cells if cell.corner and not cell.confirmed]
    corners = sorted(corners, key=lambda cell: abs(cell.bandwidth_bytes_per_s - today))
    most = max(1, int(FRONTIER_WORK / 3 // (4 * base.vm.memory_pages * SEARCHED)))
    looked = _looked(base, target, corners[: min(CORNERS, most)], cells, bench)
    held = [cell for cell in looked.values() if cell.reached == cell.runs]
    surely = {_place(cell): cell for cell in _confirmed(base, target, held, reps, bench)}
    return tuple(surely.get(_place(cell)) or looked.get(_place(cell)) or cell for cell in cells)


def _looked(
    base: Scenario, target: Target, corners: Sequence[Cell], cells: Sequence[Cell], bench: Bench
) -> dict[tuple[float, float], Cell]:  # fmt: skip
    """Pairs with a few runs each: corners and, where runs refute one, the next longer limits of its link."""
    found: dict[tuple[float, float], Cell] = {}
    ask = list(corners)
    for _ in range(STEPS + 1):
        ran = _with_runs(base, target, ask, SEED_AFTER, SEARCHED, bench)
        found |= {_place(cell): cell for cell in ran}
        longer = [_longer(cell, cells) for cell in ran if cell.reached < cell.runs]
        ask = [cell for cell in longer if cell is not None and _place(cell) not in found]
    return found


def _longer(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    """The pair of the same link with the next longer limit."""
    others = [one for one in cells if one.bandwidth_bytes_per_s == cell.bandwidth_bytes_per_s]
    return min(
        (one for one in others if one.downtime_limit_ms > cell.downtime_limit_ms),
        key=lambda one: one.downtime_limit_ms, default=None,
    )  # fmt: skip


def _confirmed(base: Scenario, target: Target, held: Sequence[Cell], reps: int | None, bench: Bench) -> list[Cell]:
    """``held`` with their confirming runs."""
    if not held:
        return []
    scenarios = [_of(base, target, cell) for cell in held]
    first = [_seeded(scenario, SEED_AFTER, 1)[0] for scenario in scenarios]
    one = max(work_of(figures, scenario) for figures, scenario in zip(bench.figures(first), first, strict=True))
    usual = min(CONFIRMED, max(SEARCHED, int(FRONTIER_WORK * 2 / 3 // (len(held) * max(1, one)))))
    ran = _with_runs(base, target, held, CONFIRM_AFTER, usual if reps is None else reps, bench)
    return [replace(cell, confirmed=True) for cell in ran]


def _with_runs(
    base: Scenario, target: Target, cells: Sequence[Cell], first: int, runs: int, bench: Bench
) -> list[Cell]:  # fmt: skip
    """``cells`` with ``runs`` runs each, from the seed that lies ``first`` behind that of ``base`` on."""
    scenarios = [one for cell in cells for one in _seeded(_of(base, target, cell), first, runs)]
    bench.expected = bench.done + len(scenarios)
    met = [target.met(figures) for figures in bench.figures(scenarios)]
    shares = [share_of(sum(met[i * runs : (i + 1) * runs]), runs) for i in range(len(cells))]
    return [
        replace(cell, runs=runs, reached=share.k, low=share.low, high=share.high)
        for cell, share in zip(cells, shares, strict=True)
    ]


def _seeded(scenario: Scenario, first: int, runs: int) -> list[Scenario]:
    draw = same_guest(scenario)
    return [draw(first + number) for number in range(runs)]


def _place_of(change: Change, speed: float, limit: float) -> tuple[float, float]:
    """(link speed, limit) of a scenario with ``change`` alone."""
    assert isinstance(change.value, int | float), "a link and a limit have values"
    return (float(change.value), limit) if change.kind == "bandwidth" else (speed, float(change.value))


def _by_change(cell: Cell, change: Change) -> Cell:
    """``cell`` with the confirming runs of the change that it stands for."""
    share = change.reached
    assert share is not None, "a change that helps was run"
    return replace(cell, runs=share.n, reached=share.k, low=share.low, high=share.high, confirmed=True)


def _place(cell: Cell) -> tuple[float, float]:
    return cell.bandwidth_bytes_per_s, cell.downtime_limit_ms


def _of(base: Scenario, target: Target, cell: Cell) -> Scenario:
    scenario = _turned(base, cell.bandwidth_bytes_per_s, cell.downtime_limit_ms)
    return scenario.model_copy(update={"duration": duration_ns(scenario, target)})


def _cell(base: Scenario, target: Target, speed: float, limit: float) -> Cell:
    scenario = _turned(base, speed, limit)
    found = forecast(scenario.model_copy(update={"duration": duration_ns(scenario, target)}))
    assert found is not None, "asked before"
    total = found.total_s if found.total_s != float("inf") else None
    other = {} if limit == _knob("downtime_limit_ms").read(base) else settings_of(base, "downtime-limit", limit)
    settings = {**settings_of(base, "bandwidth", speed), **other}
    return Cell(speed, limit, target.computed(found), total, settings=settings)


def _turned(base: Scenario, speed: float, limit: float) -> Scenario:
    scenario = base
    if speed != _knob("bandwidth_bytes_per_s").read(base):
        scenario = _knob("bandwidth_bytes_per_s").turned(scenario, speed)
    return _knob("downtime_limit_ms").turned(scenario, limit)


def _is_corner(cell: Cell, cells: Sequence[Cell]) -> bool:
    """Whether it reaches the target, and neither a slower link nor a shorter limit does: by runs, else by computation."""
    return _reaches(cell) and not any(
        _reaches(other) and other != cell and other.bandwidth_bytes_per_s <= cell.bandwidth_bytes_per_s
        and other.downtime_limit_ms <= cell.downtime_limit_ms
        for other in cells
    )  # fmt: skip


def _reaches(cell: Cell) -> bool:
    return cell.confirmed or cell.computed


def _knob(name: str) -> Knob:
    return next(knob for knob in KNOBS if knob.name == name)
