"""The answer to "will it migrate, and how long does that take": typed, frozen, as data for ``--json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hostsim.results.mechanism import is_converged
from hostsim.results.tables import plain
from hostsim.scenario.assumed import assumptions_of
from hostsim.scenario.plausible import warnings_of
from hostsim.study.compare.figures import OUTCOMES, Figures, figure_names
from hostsim.study.compare.identity import versions
from hostsim.study.predict.close_call import CloseCall, close_call
from hostsim.study.predict.margins import Margin
from hostsim.study.predict.replications import Replications, Rule
from hostsim.study.statistics import CONFIDENCE, Median, Share, Spread, median_of, percentile_of, share_of, spread_of

FORMAT = "hostsim-predict/1"


@dataclass(frozen=True)
class Estimate:
    """A figure over the runs that have it.

    name: with its unit; spread: mean and its t interval; median: with a distribution-free interval; p95: the value that 95 %
    of the runs do not exceed.
    """

    name: str
    spread: Spread
    median: Median
    p95: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self.spread), "median": self.median.median, "median_low": self.median.low,
                "median_high": self.median.high, "p95": self.p95}  # fmt: skip


@dataclass(frozen=True)
class Prediction:
    """Answers from ``n`` replications.

    scenario: of the first, as resolved; seeds, statuses: of each replication; converges: the share that completed, with its
    Wilson interval; estimates: by figure, of the completed migrations where a figure is an outcome of one.
    equal: whether all runs gave equal figures; rule: the rule that set their number; runs: figures of each.
    margins: values at which the answer flips; () where the command ran without margins.
    logged: estimates of the same guest under KVM's dirty logging, where the runs count no cost of logging; {} without.
    unlogged_work: of a run under KVM's dirty logging [pages], where it was too much; else 0.
    close_call: computed times of the first guest where they hang on 1 % of its writes; else None.
    """

    name: str
    scenario: Mapping[str, Any]
    seeds: tuple[int, ...]
    statuses: tuple[str, ...]
    converges: Share
    estimates: Mapping[str, Estimate]
    rule: Rule
    runs: tuple[Figures, ...]
    warnings: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    margins: tuple[Margin, ...] = ()
    logged: Mapping[str, Estimate] = field(default_factory=dict)
    unlogged_work: float = 0.0
    close_call: CloseCall | None = None
    computed: Mapping[str, float] | None = None
    """Bandwidth, floor of remaining and threshold by the dirty curve; None where they cannot be computed."""

    @property
    def n(self) -> int:
        """Number of replications."""
        return len(self.seeds)

    @property
    def is_likely(self) -> bool:
        """Whether more than half of the runs completed."""
        return self.converges.share > 0.5

    @property
    def equal(self) -> bool:
        """Whether all runs gave equal figures: nothing that is drawn moved them."""
        return len(self.runs) > 1 and all(figures == self.runs[0] for figures in self.runs)

    def mean(self, name: str) -> float | None:
        """The mean of figure ``name``; None if no run has it."""
        found = self.estimates.get(name)
        return None if found is None else found.spread.mean

    def to_dict(self) -> dict[str, Any]:
        """The content of ``--json``."""
        content = {
            "format": FORMAT, "name": self.name, "version": versions()["hostsim"], "n": self.n, "seeds": self.seeds,
            "confidence": CONFIDENCE, "converges": {**asdict(self.converges), "share": self.converges.share},
            "statuses": self.statuses, "rule": asdict(self.rule), "all_runs_equal": self.equal,
            "figures": {name: one.to_dict() for name, one in self.estimates.items()},
            "logged": {name: one.to_dict() for name, one in self.logged.items()}, "unlogged_work": self.unlogged_work,
            "computed": self.computed, "close_call": asdict(self.close_call) if self.close_call else None,
            "margins": [margin.to_dict() for margin in self.margins],
            "warnings": self.warnings, "assumptions": self.assumptions, "runs": self.runs, "scenario": self.scenario,
        }  # fmt: skip
        told: dict[str, Any] = plain(content)
        return told


def prediction_of(found: Replications, name: str = "") -> Prediction:
    """The prediction from the replications ``found``; ``name``: of it, "": the scenario's."""
    first = found.scenarios[0]
    statuses = tuple(str(figures["status"]) for figures in found.figures)
    completed = sum(is_converged(status) for status in statuses)
    return Prediction(
        name or first.name or "predict", first.resolved(), tuple(one.seed for one in found.scenarios), statuses,
        share_of(completed, len(statuses)), estimates_of(found.figures), found.rule, found.figures,
        _each_once(map(warnings_of, found.scenarios)), _each_once(map(assumptions_of, found.scenarios)),
        close_call=close_call(first),
    )  # fmt: skip


def estimates_of(runs: Sequence[Figures]) -> dict[str, Estimate]:
    """The estimate of each figure that any run has."""
    found = {name: estimate_of(name, _values(runs, name)) for name in figure_names(runs)}
    return {name: one for name, one in found.items() if one is not None}


def estimate_of(name: str, values: Sequence[float]) -> Estimate | None:
    """The estimate of a figure; None without values. MissingExtraError without scipy."""
    spread, median, p95 = spread_of(values), median_of(values), percentile_of(values, 95)
    return None if spread is None or median is None or p95 is None else Estimate(name, spread, median, p95)


def _values(runs: Sequence[Figures], name: str) -> list[float]:
    counted = [run for run in runs if name not in OUTCOMES or is_converged(run["status"])]
    values = [run.get(name) for run in counted]
    return [float(value) for value in values if isinstance(value, int | float)]


def _each_once(texts: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for some in texts for text in some))
