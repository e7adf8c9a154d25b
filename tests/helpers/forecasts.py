"""Forecasts of synthetic guests: simulated, polled, fitted, forecast under another link and limit, and simulated there."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hostsim import run
from hostsim.core.constants import NS_PER_S
from hostsim.fitting.fitted import GuestFit, fit_logs
from hostsim.fitting.refusal import NotIdentifiedError
from hostsim.fitting.whatif import Change, drawn_scenarios
from hostsim.logs.sniff import parse_logs
from hostsim.scenario.schema import Scenario
from tests.helpers.polled import polled_log

PAGES_PER_MIB = 256
KINDS = ("uniform", "hotcold", "two", "sequential", "zipf")
POLLS_S = (0.05, 0.1, 0.2, 0.5)
PATIENCE_S = 60
GUESTS = 8
"""Drawn guests: two of each shape."""
WITHIN, WINDOW_S = 0.05, 0.1
"""The true guest's time may lie so far outside the drawn guests' times: a share, and a window of QEMU's loop."""
HOST = {"machine": "qemu-tcg-2core", "lateness": "drawn"}
Outcome = Literal["refused", "from below", "bracketed", "missed"]


@dataclass(frozen=True)
class Question:
    """A guest, the migration that is polled, and the one that is forecast.

    written: share of memory that it writes; speed: its writes over the pages that the link sends.
    waiting: pages that the downtime limit lets wait at a sync, as a share of those written.
    faster, longer: bandwidth and downtime limit of the forecast over those of the log.
    """

    kind: str
    memory_mib: int
    written: float
    speed: float
    mib_per_s: int
    waiting: float
    every_s: float
    qemu: str
    faster: float
    longer: float
    seed: int = 1

    @property
    def limit_ms(self) -> int:
        """Downtime limit of the log."""
        return max(5, round(1000 * self.waiting * self.memory_mib * self.written / self.mib_per_s))

    @property
    def polled(self) -> Scenario:
        """The migration of the log."""
        return self._scenario({"bandwidth": f"{self.mib_per_s}MiB/s", "downtime_limit": f"{self.limit_ms}ms"}, {}, self.seed)

    def true(self, seed: int) -> Scenario:
        """The migration that is forecast, of the true guest."""
        limits = {"bandwidth": "unlimited", "downtime_limit": self._limit}
        return self._scenario(limits, {"bandwidth": self._bandwidth, "latency": "0s"}, seed)

    @property
    def change(self) -> Change:
        """The change that a forecast asks about."""
        keys = (f"migration.downtime_limit={self._limit}", f"migration.qemu={self.qemu}", f"host.machine={HOST['machine']}")
        return Change(keys, bandwidth=self._bandwidth)

    @property
    def _bandwidth(self) -> str:
        return f"{round(self.mib_per_s * self.faster * (1 << 20))}B/s"

    @property
    def _limit(self) -> str:
        return f"{max(5, round(self.limit_ms * self.longer))}ms"

    def _scenario(self, migration: dict[str, Any], link: dict[str, Any], seed: int) -> Scenario:
        return Scenario.model_validate({
            "seed": seed, "duration": f"{PATIENCE_S + 1}s",
            "vm": {"memory": f"{self.memory_mib}MiB", "workload": list(self._loads())},
            "migration": {"qemu": self.qemu, "timeout": f"{PATIENCE_S}s", **migration}, "link": link, "host": HOST,
        })  # fmt: skip

    def _loads(self) -> Sequence[dict[str, Any]]:
        pages = round(self.memory_mib * PAGES_PER_MIB * self.written)
        rate = round(self.speed * self.mib_per_s * PAGES_PER_MIB)
        whole = {"pattern": self.kind, "size": f"{4 * pages}KiB", "write_rate": f"{rate}/s"}
        if self.kind == "hotcold":
            return [whole | {"hot_size": f"{4 * (pages // 10)}KiB", "hot_share": "80%"}]
        if self.kind == "two":
            half = {"name": "cold", "pattern": "uniform", "size": f"{4 * (pages // 2)}KiB", "write_rate": f"{rate // 5}/s"}
            hot = {"at": f"{4 * (pages // 2)}KiB", "size": f"{4 * (pages // 20)}KiB", "write_rate": f"{rate}/s"}
            return [half, {"name": "hot", "pattern": "uniform", **hot}]
        return [whole]


def outcome(question: Question) -> Outcome:
    """Whether the drawn guests of the fit hold the true guest's migration between them."""
    fitted, reasons = _fitted(question)
    if fitted is None:
        assert all("poll" in reason or "calc-dirty-rate" in reason or "cut the log" in reason for reason in reasons)
        return "refused"
    if fitted.found.from_below:
        return "from below"
    true_s = sorted(_total_s(question.true(1000 + seed)) for seed in range(3))[1]
    told = forecast_s(fitted, question)
    return "bracketed" if holds(told, true_s) else "missed"


def _fitted(question: Question) -> tuple[GuestFit | None, tuple[str, ...]]:
    """(fit, reasons of a refusal)."""
    try:
        return fit_logs(parse_logs(polled_log(question.polled, question.every_s)), draws=GUESTS), ()
    except NotIdentifiedError as error:
        return None, error.reasons


def forecast_s(fitted: GuestFit, question: Question) -> list[float]:
    """Total time [s] of the forecast for the fitted guest and each drawn one; inf: it does not complete."""
    drawn = drawn_scenarios(fitted, question.change)
    return [_total_s(drawn(number).model_copy(update={"duration": (PATIENCE_S + 1) * NS_PER_S})) for number in range(GUESTS)]


def holds(told: Sequence[float], true_s: float) -> bool:
    """Whether ``true_s`` lies between the least and the greatest of ``told``, within the stated bound."""
    low, high = min(told), max(told)
    return low * (1 - WITHIN) - WINDOW_S <= true_s <= high * (1 + WITHIN) + WINDOW_S


def _total_s(scenario: Scenario) -> float:
    one = run(copy.copy(scenario)).migrations[0]
    return one.total_time_ms / 1000 if one.status == "completed" else math.inf
