"""``hostsim.fit``: the guest of a log, with intervals, as a scenario that can be read, edited and run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.errors import InputError, Problem
from hostsim.core.units import parse_bytes
from hostsim.fitting.bends import bends_of
from hostsim.fitting.bottleneck import Bottleneck, bottleneck_of
from hostsim.fitting.estimate import DRAWS, Estimate, counts_each, differ, estimate, estimate_points
from hostsim.fitting.guest import Setting, scenario_table, setting_of
from hostsim.fitting.inputs import curve_points, is_curve, reading_points
from hostsim.fitting.mixture import Classes
from hostsim.fitting.observed import Observed, observe
from hostsim.fitting.pacing import Pace
from hostsim.fitting.points import Point
from hostsim.fitting.refusal import NotIdentifiedError, is_idle, one_length, unexplained
from hostsim.fitting.which import leading, names_of, of_number, of_one_guest, usable
from hostsim.logs.model import MigrationLog
from hostsim.logs.sniff import read_logs
from hostsim.scenario.schema import Scenario
from hostsim.theory.floor import floor_pages
from hostsim.verdict.speeds import change_words

FORMAT = "hostsim-fit/1"
LOW, HIGH = 5, 95
"""Percentiles of the drawn guests between which an interval reaches."""
CURVE_S = (0.1, 1.0, 10.0)
"""Times [s] at which the fit prints the pages dirtied by then."""
MEMORY_FACTOR = 2


@dataclass(frozen=True)
class Interval:
    """A fitted figure. low, high: between which 90 % of the drawn guests lie; None where none was drawn."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class GuestFit:
    """A guest fitted to the rounds of its migrations.

    sources: the logs. found: classes, pacing, points, drawn guests. setting: memory and migration as the log shows them.
    figures: name with its unit to the fitted value and its interval. load_end_s: seconds since the start of the migration at
    which the load ended; None: not seen to end. notes: sentences about the log.
    """

    name: str
    sources: tuple[str, ...]
    found: Estimate
    setting: Setting
    figures: Mapping[str, Interval]
    load_end_s: float | None
    threshold_pages: float | None
    notes: tuple[str, ...]
    observed: tuple[Observed, ...] = ()

    @property
    def classes(self) -> Classes:
        """The fitted classes of pages."""
        return self.found.classes

    @property
    def ends_by_itself(self) -> bool | None:
        """Whether pre-copy as in the log ends while the load continues; None: drawn guests disagree, or no bandwidth."""
        floor = self.figures.get("floor_pages")
        if floor is None or self.threshold_pages is None:
            return None
        low, high = (floor.value if bound is None else bound for bound in (floor.low, floor.high))
        if high <= self.threshold_pages:
            return True
        return False if low > self.threshold_pages else None

    def table(self, classes: Classes | None = None) -> dict[str, Any]:
        """The table of the scenario, of another guest than the fitted one with ``classes``."""
        return scenario_table(classes or self.classes, self.found.pace, self.setting, self.name)

    def scenario(self) -> Scenario:
        """The fitted guest, and its migration as the log shows it."""
        return Scenario.model_validate(self.table())

    def drawn_table(self, number: int) -> dict[str, Any]:
        """The table of a guest drawn from the errors of the fit: number 0 is the fitted one."""
        draws = self.found.draws
        return self.table(draws[(number - 1) % len(draws)] if number and draws else None)

    def to_dict(self) -> dict[str, Any]:
        """The content of ``--json``."""
        return {
            "format": FORMAT,
            "name": self.name,
            "sources": self.sources,
            "load_end_s": self.load_end_s,
            "ends_by_itself": self.ends_by_itself,
            "threshold_pages": self.threshold_pages,
            "notes": self.notes,
            "figures": {name: asdict(one) for name, one in self.figures.items()},
            "classes": [{"pages": n, "writes_per_page_per_s": rate} for n, rate in self.classes.pages],
            "sweep": asdict(self.classes.sweep) if self.classes.sweep else None,
            "pacing": {**asdict(self.found.pace), "words": self.found.pace.words},
            "dirty_log_cleared_by_chunks": self.found.by_chunks,
            "bursts": self.found.bursts,
            "rate_is_bounded_from_below_only": self.found.from_below,
            "rounds": list(rows_of(self)),
            "scenario": self.table(),
        }


def rows_of(fitted: GuestFit) -> Iterator[dict[str, Any]]:
    """A row a point: measured beside fitted. migration: as ``_numbers`` has it."""
    busy = [one for one in fitted.observed if one.rounds]
    numbers = _numbers(busy)
    each = np.repeat(numbers, counts_each(busy, fitted.found)).tolist() if busy else [0] * len(fitted.found.points)
    for p, expected, number in zip(fitted.found.points, fitted.classes.expected.tolist(), each, strict=True):
        yield {
            "migration": number,
            "end_s": p.end_s,
            "rounds": p.rounds,
            "length_s": p.t_s,
            "found_pages": p.found_pages,
            "fitted_pages": expected,
            "off_share": p.found_pages / expected - 1 if expected > 0 else None,
            "error_share": p.off_pages / max(p.found_pages, 1.0),
            "throttle_percent": 100 * p.throttle,
        }


def _numbers(some: Sequence[Observed]) -> list[int]:
    """Numbers of migrations: in their log, or as they are named where several logs are fitted; 0 where only one is."""
    if len(some) < 2:
        return [0] * len(some)
    one_log = len({one.log.source for one in some}) == 1
    return [one.log.part[0] if one_log else number for number, one in enumerate(some, 1)]


def fit(
    *paths: str | Path,
    tag: str | None = None,
    migration: int | None = None,
    seed: int = 1,
    draws: int = DRAWS,
    memory: str | None = None,
    **known: Any,
) -> GuestFit:
    """The guest of one or several logs.

    paths: logs in any form that ``hostsim explain`` reads, or a dirty curve (.csv, .toml); several are of one guest, and so
    are the migrations of one tag.
    tag: as for ``hostsim explain``. migration: number of the only migration to use; None: all together.
    seed: of the drawn guests. draws: their number.
    memory: of the guest, where the input lacks it. known: fields of Evidence that the caller knows better.

    InputError; NotIdentifiedError with its reasons.
    """
    if not paths:
        raise InputError([Problem("fit", "LOG", "none", "at least one log", "hostsim fit job.jsonl")])
    curves = [str(path) for path in paths if is_curve(str(path))]
    if curves:
        points = tuple(p for path in curves for p in curve_points(path))
        return _fit_curve(points, tuple(map(str, paths)), seed, draws, memory)
    logs = [log for path in paths for log in read_logs(str(path), tag)]
    logs = of_number(of_one_guest(logs, len(paths)), migration)
    readings = [reading for log in logs for reading in log.readings]
    if readings and all(len(log) <= 1 and log.readings for log in logs):
        return _fit_curve(reading_points(readings), tuple(map(str, paths)), seed, draws, memory)
    return fit_logs(logs, seed, draws, **known)


def fit_logs(logs: Sequence[MigrationLog], seed: int = 1, draws: int = DRAWS, **known: Any) -> GuestFit:
    """As ``fit`` with ``seed``, ``draws`` and ``known``, of ``logs`` that are read already. All are of one guest."""
    used, left = usable([observe(log, **known) for log in logs])
    found, one = _estimate(used, seed, draws), leading(used)
    bottleneck = bottleneck_of(one.evidence)
    setting = setting_of(used, bool(found.by_chunks), tuple(found.pace.host.items()), bottleneck)
    threshold = one.evidence.threshold_pages if bottleneck else None
    figures = {**_figures(found, bottleneck), **_memory_figures(one)}
    changes = (words for log in used for words in change_words(log.evidence.speeds))
    of_logs = (note for log in used for note in log.log.notes)
    notes = (*changes, *_unseen(used), *of_logs, *_together(used, found), *(f"Left out: {r}" for r in left))
    result = GuestFit(_name(used), names_of(used), found, setting, figures, None, threshold, notes, tuple(used))
    return replace(result, load_end_s=_load_end_s(result, used))


def _unseen(used: Sequence[Observed]) -> Iterator[str]:
    """A sentence about rounds whose number and sum alone a log shows."""
    for syncs in (r.syncs for one in used for r in one.rounds if r.off_share):
        yield (
            f"The log shows only the sum of the last {syncs} rounds, which lie between the last answer and the end; hostsim "
            "assumes that each round is shorter than the one before it by the same factor. Poll more often to be surer"
        )


def _together(used: Sequence[Observed], found: Estimate) -> Iterator[str]:
    """Sentences about migrations that are fitted together."""
    if len(used) < 2:
        return
    one, bottlenecks = leading(used), [bottleneck_of(each.evidence) for each in used]
    if len({(bottleneck.kind, bottleneck.bytes_per_s) for bottleneck in bottlenecks if bottleneck}) > 1:
        yield f"Bandwidth and downtime limit of the scenario are those of {one.name}"
    if differ(used, found):
        yield (
            "The migrations differ by more than their errors: the load was not the same in each, and the fitted guest lies "
            "between them; --migration fits one of a log"
        )


def _estimate(usable: Sequence[Observed], seed: int, draws: int) -> Estimate:
    busy = [one for one in usable if one.rounds]
    if not busy:
        return Estimate((), Classes((), None, np.zeros(0), 0.0), Pace(), None, 0.0, ())
    found = estimate(busy, seed, draws)
    problem = one_length(found.points) or unexplained([p.found_pages for p in found.points], found.classes.expected.tolist())
    if problem:
        raise NotIdentifiedError([f"{busy[0].name}: {problem}"])
    return found


def _fit_curve(points: tuple[Point, ...], sources: tuple[str, ...], seed: int, draws: int, memory: str | None) -> GuestFit:
    problem = one_length(points) if points else "no dirty rate was measured"
    if problem:
        raise NotIdentifiedError([f"{', '.join(sources)}: {problem}".replace("rounds took", "measurements took")])
    most = max(p.found_pages for p in points)
    ram = max(256.0, parse_bytes(memory) // PAGE_BYTES) if memory else MEMORY_FACTOR * most
    found = estimate_points(points, max(ram, most), seed, draws)
    setting = Setting(
        round(ram), ((0, round(ram)),), None, 300.0, None, xbzrle=False, multifd=False, by_chunks=False, patience_s=600
    )
    assumed = () if memory else ("The memory of the guest is assumed: twice the pages that were dirtied; --memory sets it",)
    notes = (*assumed, *bends_of(points))
    return GuestFit(_slug(sources), sources, found, setting, _figures(found, None), None, None, notes)


def _figures(found: Estimate, bottleneck: Bottleneck | None) -> dict[str, Interval]:
    told: dict[str, Interval] = {}
    curves = [one.curve() for one in (found.classes, *found.draws)]
    told["working_set_pages"] = _interval([one.written_pages for one in (found.classes, *found.draws)])
    told["writes_per_s"] = _interval([one.writes_per_s for one in (found.classes, *found.draws)])
    for seconds in CURVE_S:
        told[f"dirtied_in_{seconds:g}s_pages"] = _interval([curve(seconds) for curve in curves])
    if bottleneck is not None:
        sent = bottleneck.measured / (PAGE_BYTES + 8)
        told["bandwidth_bytes_per_s"] = Interval(bottleneck.measured)
        told["floor_pages"] = _interval([floor_pages(curve, sent) for curve in curves])
    return told


def _interval(values: Sequence[float]) -> Interval:
    if len(values) < 2:
        return Interval(values[0])
    low, high = np.percentile(values[1:], [LOW, HIGH])
    return Interval(values[0], min(float(low), values[0]), max(float(high), values[0]))


def _memory_figures(one: Observed) -> dict[str, Interval]:
    zero = {} if one.zero_pages is None else {"zero_pages": Interval(one.zero_pages)}
    return {"ram_pages": Interval(one.ram_pages), "filled_pages": Interval(one.filled_pages), **zero}


def _load_end_s(result: GuestFit, some: Sequence[Observed]) -> float | None:
    """The end of a migration that the fitted guest would not have let end: then its load had ended just before."""
    ended = [one for one in some if one.log.status[-1] == "completed" and one.evidence.total_time_ms]
    after = any((one.log.postcopy_requests > 0).any() or one.evidence.guest_moved for one in ended)
    throttled = any(one.evidence.throttle_percent > 0 for one in ended)
    if not ended or after or throttled or result.ends_by_itself is not False:
        return None
    return max(one.evidence.total_time_ms or 0.0 for one in ended) / 1000


def _name(some: Sequence[Observed]) -> str:
    return _slug([one.log.source for one in some])


def _slug(sources: Sequence[str]) -> str:
    stem = Path(sources[0]).stem if sources[0] != "standard input" else "log"
    kept = "".join(c if c.isalnum() or c in "-_." else "-" for c in stem).strip("-_.")
    return f"{kept or 'log'}-guest"[:90]


__all__ = ["GuestFit", "Interval", "fit", "fit_logs", "is_idle", "rows_of"]
