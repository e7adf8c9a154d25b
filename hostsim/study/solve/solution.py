"""The answer to "what do I have to change": typed, frozen, as data for ``--json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hostsim.results.tables import plain
from hostsim.study.compare.figures import Figures
from hostsim.study.compare.identity import versions
from hostsim.study.predict.prediction import Estimate
from hostsim.study.solve.target import Target
from hostsim.study.statistics import CONFIDENCE, Share

FORMAT = "hostsim-solve/1"


@dataclass(frozen=True)
class Change:
    """One change, and the outcome of its runs.

    kind: bandwidth, downtime-limit, throttle or mode; value: in the unit of the kind, a name for a mode.
    today: the value now; settings: keys of the scenario with the change. reached: in the confirming runs, None where none
    ran; seeds: of these, all other than those of the search.
    obstacle: why this kind of change does not reach the target; "" if it does. factor: value over today's, 1 for a mode.
    wanted: share of the runs that has to reach it. note: what was not run although it might reach it, too.
    """

    kind: str
    today: float | str | None
    value: float | str | None = None
    settings: Mapping[str, str] | None = None
    reached: Share | None = None
    estimates: Mapping[str, Estimate] | None = None
    seeds: tuple[int, ...] = ()
    obstacle: str = ""
    factor: float = 1.0
    wanted: float = 1.0
    note: str = ""

    @property
    def helps(self) -> bool:
        """Whether the change reached the target in the wanted share of the confirming runs."""
        return not self.obstacle and self.reached is not None and self.reached.share >= self.wanted

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        figures = {name: one.to_dict() for name, one in (self.estimates or {}).items()}
        same = {key: value for key, value in vars(self).items() if key not in ("estimates", "reached")}
        reached = None if self.reached is None else asdict(self.reached)
        return same | {"reached": reached, "figures": figures, "helps": self.helps}


@dataclass(frozen=True)
class Cell:
    """A pair of bandwidth and downtime limit. computed: whether it reaches the target, by computation; total_s: computed.

    corner: the cheapest of its row and column, by computation. runs, reached: of the runs of this pair, 0 where none ran;
    low, high: Wilson interval of P from them. confirmed: these are other runs than those by which the pair was found.
    settings: keys of the scenario with this pair.
    """

    bandwidth_bytes_per_s: float
    downtime_limit_ms: float
    computed: bool
    total_s: float | None
    corner: bool = False
    runs: int = 0
    reached: int = 0
    low: float = 0.0
    high: float = 1.0
    confirmed: bool = False
    settings: Mapping[str, str] | None = None

    @property
    def share(self) -> float:
        """P that the pair reaches the target: of its runs, else 1 or 0 by computation."""
        return self.reached / self.runs if self.runs else float(self.computed)


@dataclass(frozen=True)
class Solution:
    """Changes that reach the target, and obstacles of those that do not.

    today: share of runs that reach the target unchanged; figures: of these runs; changes: one of each kind that was asked.
    frontier: pairs of bandwidth and downtime limit, () where they were not varied.
    """

    name: str
    scenario: Mapping[str, Any]
    target: Target
    today: Share
    seeds: tuple[int, ...]
    figures: tuple[Figures, ...]
    changes: tuple[Change, ...]
    frontier: tuple[Cell, ...] = ()
    computed: Mapping[str, float] | None = None
    """Of the present scenario: floor and threshold [bytes], bandwidth; None where it cannot be computed."""
    warnings: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    command: str = "hostsim run SCENARIO.toml"
    """The command that runs the scenario unchanged, without options that a change would repeat."""

    @property
    def is_met(self) -> bool:
        """Whether the scenario reaches the target as it is."""
        return self.today.share >= self.target.converge

    @property
    def best(self) -> Change | None:
        """The change to make: a setting before a faster link, the smaller before the larger."""
        order = {"downtime-limit": 0, "throttle": 1, "mode": 2, "bandwidth": 3}
        helping = [change for change in self.changes if change.helps]
        return min(helping, key=lambda change: (order[change.kind], change.factor), default=None)

    def to_dict(self) -> dict[str, Any]:
        """The content of ``--json``."""
        best = self.best
        content = {
            "format": FORMAT, "name": self.name, "version": versions()["hostsim"], "confidence": CONFIDENCE,
            "target": asdict(self.target), "is_met": self.is_met, "today": asdict(self.today), "seeds": self.seeds,
            "best": None if best is None else best.to_dict(), "changes": [change.to_dict() for change in self.changes],
            "frontier": [asdict(cell) for cell in self.frontier], "computed": self.computed, "runs": self.figures,
            "warnings": self.warnings, "assumptions": self.assumptions, "command": self.command,
            "scenario": self.scenario,
        }  # fmt: skip
        told: dict[str, Any] = plain(content)
        return told
