"""The best combination for a figure, and the others that are as good."""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.study.compare.figures import JUDGED
from hostsim.study.compare.summary import Difference, Row, Summary


@dataclass(frozen=True)
class Best:
    """For figure ``name`` the combination ``row`` (an index of ``Summary.rows``) has the least mean.

    equal, as_good: indexes of the others that equal it, and of those that lie within noise.
    judged: number of combinations compared.
    tells: whether the seeds suffice to separate an effect from chance.
    from_first: difference of ``row`` from the baseline of the figure.
    """

    name: str
    row: int
    mean: float
    equal: tuple[int, ...]
    as_good: tuple[int, ...]
    judged: int
    tells: bool
    from_first: Difference | None

    @property
    def all_equal(self) -> bool:
        """Whether all combinations compared are equal."""
        return len(self.equal) + 1 == self.judged

    @property
    def all_as_good(self) -> bool:
        """Whether chance may explain every difference."""
        return len(self.equal) + len(self.as_good) + 1 == self.judged


def all_best(summary: Summary) -> tuple[Best, ...]:
    """The best for each figure that is judged and that more than one combination has."""
    found = (best_for(summary, name) for name in JUDGED)
    return tuple(best for best in found if best is not None)


def best_for(summary: Summary, name: str) -> Best | None:
    """The best combination of ``summary`` by figure ``name``; None if fewer than two can be compared.

    Of the combinations that converge with every seed; if none does, of all that have the figure.
    """
    having = [i for i, row in enumerate(summary.rows) if row.spread(name) is not None]
    judged = [i for i in having if summary.rows[i].converges] or having
    if len(judged) < 2:
        return None
    means = {i: _mean(summary.rows[i], name) for i in judged}
    best = min(judged, key=lambda i: (means[i], i))
    effects = {i: summary.rows[i].against(summary.rows[best], name) for i in judged if i != best}
    return Best(
        name, best, means[best],
        equal=tuple(i for i, d in effects.items() if d is not None and d.effect == "same"),
        as_good=tuple(i for i, d in effects.items() if d is not None and d.effect == "within noise"),
        judged=len(judged),
        tells=all(d is not None and d.effect != "not known" for d in effects.values()),
        from_first=summary.against_baseline(summary.rows[best], name),
    )  # fmt: skip


def _mean(row: Row, name: str) -> float:
    spread = row.spread(name)
    assert spread is not None
    return spread.mean
