"""``hostsim.whatif``: a migration of a fitted guest that has not taken place; its intervals hold the errors of the fit."""

from __future__ import annotations

import copy
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostsim.core.errors import InputError, Problem, UnitError
from hostsim.core.units import format_bandwidth, format_duration, parse_duration, parse_said_bandwidth
from hostsim.fitting.bottleneck import GIVEN
from hostsim.fitting.filling import KIB_PER_PAGE, least_filled, sooner_share, thin_out
from hostsim.fitting.fitted import GuestFit, fit
from hostsim.scenario.overrides import apply_overrides
from hostsim.scenario.schema import Scenario
from hostsim.study.predict.bench import Bench
from hostsim.study.predict.forecast import first_pass_s
from hostsim.study.predict.guest import give_up_ns, mode_overrides
from hostsim.study.predict.predict import predict_drawn
from hostsim.study.predict.prediction import Prediction
from hostsim.study.predict.replications import Wanted

UNSEEN = (1.25, 1.5, 2.0, 3.0)
"""Full speed over the clock's, of every second drawn guest, where no throttled round shows the pacing: a database whose
clients wait for disks and locks leaves its vCPUs idle for a part of the time, and a throttle takes that part first
(assumed).
"""
READS = (
    "Lower bound: a log shows the guest's writes, not its reads or its vCPUs; post-copy also fetches pages that are only "
    "read, so a real guest makes more requests and waits longer than the guests of the runs"
)
STOPPED = "stop-and-copy"
"""A mode of this question alone: the guest is stopped before its migration."""
RINGS = "dirty-limit"


@dataclass(frozen=True)
class Change:
    """The question: keys of the scenario, and shorthands for them.

    overrides: texts of --set. bandwidth: of the link, max-bandwidth lifted. mode: as in ``hostsim compare --modes``, or
    "stop-and-copy". load_ends: time after which the guest writes no more; "": it goes on.
    """

    overrides: tuple[str, ...] = ()
    bandwidth: str = ""
    mode: str = ""
    load_ends: str = ""

    def texts(self) -> list[str]:
        """Texts of --set. InputError."""
        found = [] if self.mode == STOPPED else list(mode_overrides(self.mode))
        if self.mode.partition("@")[0] == RINGS:
            found.append("vm.dirty_tracking=dirty-ring")
        if self.bandwidth:
            found += [f"link.bandwidth={_bandwidth(self.bandwidth)}", "migration.bandwidth=unlimited"]
        return [*found, *self.overrides]


def whatif(
    *paths: str | Path | GuestFit,
    change: Change | None = None,
    seed: int = 1,
    reps: int | None = None,
    workers: int | None = None,
    out: Path | None = None,
    **known: Any,
) -> Prediction:
    """A prediction for the guest of some logs, under a change.

    paths: as for ``hostsim.fit``, or a fit. change: None: the migration of the log itself. seed: of the drawn guests and the
    runs. reps: replications, each of a guest of its own; None: as ``hostsim.predict``. workers: processes; moves no result.
    out: folder of finished runs. known: as for ``hostsim.fit``.

    InputError; NotIdentifiedError; MissingExtraError without scipy; RunsFailedError.
    """
    fitted = paths[0] if len(paths) == 1 and isinstance(paths[0], GuestFit) else None
    if fitted is None:
        fitted = fit(*(path for path in paths if not isinstance(path, GuestFit)), seed=seed, **known)
    drawn = drawn_scenarios(fitted, change or Change(), seed)
    return predict_drawn(drawn, Wanted(reps, guests_differ=True), Bench(workers, out), fitted.name)


def drawn_scenarios(fitted: GuestFit, change: Change, seed: int = 1) -> Drawn:
    """The scenario of each replication of ``fitted`` under ``change``: number 0 is the fitted guest. InputError.

    The guests of the other numbers are drawn from the errors of the fit with ``seed``.
    """
    drawn = Drawn(fitted, change, seed)
    drawn(0)
    return drawn


@dataclass(frozen=True)
class Drawn:
    """Scenarios by the number of a replication."""

    fitted: GuestFit
    change: Change
    seed: int

    def __call__(self, number: int) -> Scenario:
        """The scenario of replication ``number``. InputError with the problems of the change."""
        table = copy.deepcopy(self.fitted.drawn_table(number))
        if number % 2 and not self.fitted.found.pace.is_seen:
            _idle_in_part(table, UNSEEN[number // 2 % len(UNSEEN)])
        _end_load(table, self.change.load_ends)
        _place_sweeps(table, number)
        keys, problems = apply_overrides(table, self.change.texts())
        if problems:
            raise InputError(problems)
        table["seed"] = self.seed + number
        scenario = _checked(table, keys)
        if not self.fitted.observed and not {"duration", "migration.timeout"} & set(keys):
            scenario = _give_up(table, scenario, self.change.mode)
        share = self.filled_share(scenario, number)
        if share == 1.0 and not self.is_stopped:
            return scenario
        thin_out(table, share)
        if self.is_stopped:
            table["vm"].pop("workload", None)
        return _checked(table, keys)

    @property
    def is_stopped(self) -> bool:
        """Whether the guest is stopped before its migration."""
        return self.change.mode == STOPPED

    def filled_share(self, scenario: Scenario, number: int) -> float:
        """Share of the filled pages that are filled at the start of replication ``number``: evenly between the bounds."""
        sooner = sooner_share(self.fitted, None if self.is_stopped else scenario)
        return 1.0 - (1.0 - least_filled(self.fitted)) * sooner * _spread(number) if sooner else 1.0


def _checked(table: dict[str, Any], keys: Container[str]) -> Scenario:
    """The scenario. InputError, of the change where it has the key."""
    try:
        return Scenario.model_validate(table)
    except InputError as error:
        raise InputError(
            [Problem("--set", p.key, p.got, p.wanted, p.example) if p.key in keys else p for p in error.problems]
        ) from None


def _give_up(table: dict[str, Any], scenario: Scenario, mode: str) -> Scenario:
    """``scenario`` and its ``table``, in place, with the patience of ``hostsim predict``: no log shows how long is long."""
    end_ns = give_up_ns(first_pass_s(scenario), mode)
    table["migration"]["timeout"] = table["duration"] = format_duration(end_ns)
    return _checked(table, ())


def _end_load(table: dict[str, Any], ends: str) -> None:
    """The guest's workloads stop ``ends`` after the start. In place."""
    if not ends:
        return
    try:
        parse_duration(ends)
    except UnitError as error:
        raise InputError([Problem("--load-ends", "", error.got, error.wanted, "--load-ends 109.5s")]) from None
    for load in table["vm"].get("workload", []):
        load["active"] = {"length": ends}


def _idle_in_part(table: dict[str, Any], catch_up: float) -> None:
    """The guest leaves its vCPUs idle for a part of the time. In place."""
    for load in table["vm"].get("workload", []):
        load["pacing"], load["catch_up"] = "open", catch_up


def _place_sweeps(table: dict[str, Any], number: int) -> None:
    """Move the sweeps of replication ``number``, in place: no log shows where the writer stands at the start."""
    for load in table["vm"].get("workload", []):
        if load["pattern"] == "sequential" and number:
            load["start_page"] = int(_spread(number) * _kib(load["size"]) / KIB_PER_PAGE)


def _kib(size: str) -> int:
    return int(size.removesuffix("KiB"))


def _spread(number: int) -> float:
    """Place 0 .. 1 of replication ``number``: any first few of them lie evenly (van der Corput's sequence)."""
    place, base, left = 0.0, 0.5, number
    while left:
        place, base, left = place + base * (left & 1), base / 2, left >> 1
    return place


def _bandwidth(text: str) -> str:
    try:
        return format_bandwidth(parse_said_bandwidth(text))
    except UnitError as error:
        raise InputError([Problem("--bandwidth", "", error.got, error.wanted, f"--bandwidth {error.example}")]) from None


def _link_taken(fitted: GuestFit, change: Change) -> Iterator[str]:
    """A larger max-bandwidth changes nothing where the log's speed is taken for that of the link."""
    bottleneck, texts = fitted.setting.bottleneck, change.texts()
    is_raised = any(text.startswith("migration.bandwidth=") for text in texts)
    if not is_raised or any(text.startswith("link.bandwidth=") for text in texts):
        return
    if bottleneck is None or bottleneck.kind != "link" or bottleneck.source == GIVEN:
        return
    asked = Drawn(fitted, change, seed=1)(0).migration
    if asked is not None and (asked.bandwidth == 0 or asked.bandwidth > bottleneck.bytes_per_s):
        yield (
            f"Assumption: the log's bandwidth, {bottleneck.bytes_per_s / 1e6:.3g} MB/s, is taken for that of the "
            "link, so a larger max-bandwidth changes nothing. If max-bandwidth held that migration back, name it with "
            "--log-bandwidth; for a faster link use --bandwidth"
        )


def assumptions_of_whatif(fitted: GuestFit, change: Change) -> list[str]:
    """Sentences about values that neither the log nor the change has."""
    found = [*_link_taken(fitted, change)]
    texts = " ".join(change.texts())
    if not fitted.found.pace.is_seen and ("auto_converge=true" in texts or "dirty_limit=true" in texts):
        found.append(
            "Assumption: the log has no throttled round, so it does not show how far a throttle slows the guest; "
            "half of the runs "
            "take a guest bound to the CPU, the others one that is idle for 20 to 67 % of the time"
        )
    if "postcopy_ram=true" in texts and "max_postcopy_bandwidth" not in texts:
        found.append(
            "Assumption: the log does not show how fast the two hosts send and place a page without a limit, so "
            "the sheet of host "
            "'generic' is taken; --set migration.max_postcopy_bandwidth=... limits it"
        )
    if "postcopy_ram=true" in texts:
        found.append(READS)
    if fitted.classes.sweep and change.mode != STOPPED:
        found.append(
            "Range: no log shows where the guest's sweep stands as the migration begins; each run but the first starts it "
            "elsewhere"
        )
    drawn = Drawn(fitted, change, seed=1)
    if drawn.filled_share(drawn(0), 1) < 1.0:
        found.append(
            "Range: memory is copied earlier than in the log, which does not show how many of the pages that the guest "
            "wrote during the log's first pass were zero before; the runs take from none of them to all"
        )
    return found
