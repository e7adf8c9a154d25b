"""Readers of metrics: KubeVirt's and libvirt's exporters, as Prometheus prints them, and as its API answers.

Names: pkg/monitoring/metrics/virt-handler/migrationdomainstats (KubeVirt), libvirt-exporter's ``libvirt_domain_job_info``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hostsim.logs.figures import sane
from hostsim.logs.items import Item
from hostsim.logs.model import Sample
from hostsim.logs.named import Named, figure_named
from hostsim.logs.reader import Reader
from hostsim.logs.stamps import epoch_s

SERIES = re.compile(
    r"(?P<name>(?:kubevirt_vmi|kubevirt_migrate_vmi|libvirt_domain)[a-z_]*)(?:\{(?P<labels>[^}]*)\})?\s+(?:=>\s*)?"
    r"(?P<value>[-+]?[\d.]+(?:[eE][-+]?\d+)?)(?:\s+@?\[?(?P<at>\d{10,19}(?:\.\d+)?)\]?)?(?=\s|$)"
)
"""A sample as an exporter, ``promtool query`` and federation print it."""
LABEL = re.compile(r'(\w+)="([^"]*)"')
NAMES = ("name", "vmi", "vm", "domain", "exported_domain")
"""Labels that name the guest."""
MIGRATION = ("migrat", "job")
ENDS = {"succeeded": "completed", "failed": "cancelled"}
FAILED = "KubeVirt's metric counts a migration that its time-out aborts as failed, too"
NEEDED = "remaining_bytes"
PAIR = 2


@dataclass
class Metrics(Reader):
    """Reader of the metrics whose names begin with ``prefix``.

    points: figures by guest and time; shown: of a scrape without times, figures by guest so far.
    """

    prefix: ClassVar[tuple[str, ...]] = ()
    points: dict[str, dict[float, tuple[int, dict[str, float]]]] = field(default_factory=dict)
    shown: dict[str, Sample] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)

    def take(self, item: Item) -> None:
        """A line of an exporter, or an answer of Prometheus' API."""
        if isinstance(item.value, dict):
            for metric, at, value in _answers(item.value):
                self._point(item, str(metric.get("__name__", "")), metric, value, at)
        elif item.value is None and any(prefix in item.text for prefix in self.prefix):
            found = SERIES.search(item.text)
            if found:
                labels = dict(LABEL.findall(found["labels"] or ""))
                at = epoch_s(found["at"]) if found["at"] else None
                self._point(item, found["name"], labels, _value(found["value"]), at)

    def finish(self) -> None:
        """The samples of each guest in the order of their times; those without what remains are of no migration."""
        for tag, points in self.points.items():
            for at in sorted(points):
                line, figures = points[at]
                self.samples.append(Sample(line, "active", tag, figures={**figures, "stamp_s": at}))
        self.samples = [s for s in self.samples if NEEDED in s.figures]
        with_ends(self.samples)
        for tag, status in self.ended.items():
            last = self.last(tag)
            if last is not None:
                last.status = status
                last.remark = FAILED if status == "cancelled" else ""

    def _point(self, item: Item, name: str, labels: Mapping[str, Any], value: float, at: float | None) -> None:
        if not name.startswith(self.prefix) or not any(word in name for word in MIGRATION):
            return
        tag = str(next((labels[key] for key in NAMES if labels.get(key)), ""))
        word = name.rsplit("_", 1)[-1]
        if word in ENDS and value == 1:
            self.ended[tag] = ENDS[word]
        named = figure_named(name)
        if named is None or math.isnan(value):
            return
        if at is None:
            self._show(item, tag, named, value)
        else:
            _, figures = self.points.setdefault(tag, {}).setdefault(at, (item.line, {}))
            keep_named(figures, named, value)

    def _show(self, item: Item, tag: str, named: Named, value: float) -> None:
        """A figure of a scrape without times: the next scrape begins where a figure comes again."""
        sample = self.shown.get(tag)
        if sample is None or named.column in sample.figures:
            sample = self.shown[tag] = self.add(item, "active", tag)
        keep_named(sample.figures, named, value)


class KubevirtMetrics(Metrics):
    """Metrics of KubeVirt."""

    prefix = ("kubevirt_",)


class LibvirtMetrics(Metrics):
    """Metrics of an exporter of libvirt."""

    prefix = ("libvirt_",)


def keep_named(figures: dict[str, float], named: Named, value: float) -> None:
    """Keep ``value`` of the figure ``named``, in place; one of the whole job only where the log has none of memory."""
    if named.is_whole:
        figures.setdefault(named.column, value * named.factor)
    else:
        figures[named.column] = value * named.factor


def with_ends(samples: list[Sample]) -> None:
    """Statuses of samples without one. In place.

    An exporter shows zeros where no job runs; nothing left of bytes sent is the end.
    """
    for sample in samples:
        sent, total, left = (sample.figures.get(name) for name in ("transferred_bytes", "total_bytes", "remaining_bytes"))
        if sample.status == "active" and left == 0 and not sent and not total:
            sample.status, sample.figures = "none", {k: v for k, v in sample.figures.items() if k == "stamp_s"}
        elif sample.status == "active" and left == 0 and sent:
            sample.status = "completed"


def _answers(answer: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], float | None, float]]:
    """(labels, time, value) of each point of an answer of query or query_range."""
    data = answer.get("data", answer)
    result = data.get("result") if isinstance(data, dict) else None
    for series in result if isinstance(result, list) else [answer]:
        if not isinstance(series, dict) or not isinstance(series.get("metric"), dict):
            continue
        values = series.get("values", [series.get("value")])
        for pair in values if isinstance(values, list) else []:
            if isinstance(pair, list) and len(pair) == PAIR and isinstance(pair[0], int | float):
                yield series["metric"], float(pair[0]), _value(pair[1])


def _value(told: Any) -> float:
    """Prometheus writes values as text."""
    try:
        return sane(float(told))
    except (TypeError, ValueError):
        return sane(None)
