"""Guests fitted to real logs, and the migrations that are forecast for them, each beside the real one.

QEMU: each case's polled series is fitted, and every other case of its guest is forecast with its own settings. PostgreSQL:
the guests of 4 and of 16 threads, each fitted to two runs and forecast for the others.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from typing import Any

import numpy as np

from hostsim.core.constants import PAGE_BYTES
from hostsim.costs.postcopy_sheet import load_postcopy
from hostsim.fitting.fitted import GuestFit, fit_logs
from hostsim.fitting.observed import Observed, observe
from hostsim.fitting.refusal import NotIdentifiedError
from hostsim.fitting.whatif import Change, drawn_scenarios
from hostsim.results.tables import MigrationResult
from hostsim.scenario.schema import Scenario
from hostsim.simulation import run
from hostsim.validation.fit.logs import cases, log_of, postgres_text, qemu_text

Prediction = dict[str, Any]
SEEDS = (1, 2, 3)
GUESTS = 8
ROUNDS = 6
"""Syncs of a PostgreSQL guest whose remaining is compared."""
LOAD_ENDS_BEFORE_S = 0.35
"""The load of the 16 threads ends so long before the completion (assumed): two rounds and a stop are left."""
FOUR, SIXTEEN = "4 threads", "16 threads, its load ends"
STOPPED, SWITCHED = "4 threads, stopped before", "4 threads, post-copy"
POSTCOPY = (
    "migration.postcopy_ram=true", "migration.postcopy_after=250ms",
    f"host.page_send_ns={load_postcopy('generic').place_page_ns}",
)  # fmt: skip
"""Post-copy after 250 ms on the host of the runs: its sender is at least as fast as run 1 shows, where the slower of sender
and destination sets the rate (hostsim/data/postcopy/generic.toml). No log of pre-copy shows it, since they were limited.
"""
"""The real runs of post-copy switch with the fourth window, at 0.3 s: at 0.2 s they are active, and have sent three windows
(precopy-bytes).
"""


def predictions(
    jobs: int = 1, progress: Callable[[str, int, int], None] | None = None, kinds: Sequence[str] = ("qemu", "postgres")
) -> dict[str, list[Prediction]]:
    """Predictions by kind, of other ``kinds`` none; ``jobs`` worker processes."""
    groups = [*(_groups() if "qemu" in kinds else ()), *([()] if "postgres" in kinds else [])]
    found: dict[str, list[Prediction]] = {"qemu": [], "postgres": []}
    with ProcessPoolExecutor(jobs) if jobs > 1 else nullcontext() as pool:
        for i, some in enumerate((pool.map if pool else map)(_of_group, groups)):
            found["qemu" if groups[i] else "postgres"] += some
            if progress is not None:
                progress(f"fit {groups[i][0] if groups[i] else 'PostgreSQL'}", i + 1, len(groups))
    return found


def _of_group(names: Sequence[str]) -> list[Prediction]:
    return list(qemu_pairs(names) if names else postgres_predictions())


def _groups() -> Iterator[tuple[str, ...]]:
    """Cases of one guest: equal memory, fill and writer."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name, case in cases().items():
        if case.inputs["write_rate_pages_s"]:
            groups.setdefault(_guest_key(case.inputs), []).append(name)
    yield from (tuple(names) for names in groups.values() if len(names) > 1)


def _guest_key(inputs: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("mem_mib", "ws_pages", "pattern", "hot_pages", "hot_prob", "write_rate_pages_s", "pace", "spin")
    return (*(inputs[name] for name in names), inputs["nonzero_pages"] // 100)


def qemu_pairs(names: Sequence[str]) -> Iterator[Prediction]:
    """A prediction for each pair of cases with one guest: fitted to the first, forecast for the second."""
    for source in names:
        try:
            fitted = fit_logs([log_of(qemu_text(source), source)], draws=0)
        except NotIdentifiedError as error:
            yield {"source": source, "refused": str(error).partition(": ")[2].partition(": ")[2]}
            continue
        yield from (qemu_prediction(fitted, source, target) for target in names if target != source)


def qemu_prediction(fitted: GuestFit, source: str, target: str) -> Prediction:
    """The prediction of ``target`` by a guest fitted to another case, and the real outcome of ``target``.

    fitted: the guest; it is run with each of SEEDS under the inputs of ``target``.
    source: id of the case that it was fitted to. target: id of the case that is predicted.
    A case completes if more than half of its repeats do; times are medians over those [ms].
    """
    case = cases()[target]
    table = under(fitted.table(), case.inputs)
    runs = [run(Scenario.model_validate(table | {"seed": seed})).migrations[0] for seed in SEEDS]
    times = [one.total_time_ms or 0 for one in runs if one.status == "completed"]
    done = len(times) > len(SEEDS) / 2
    real = case.status.count("completed") / len(case.status)
    measured = case.measured.get("total_time_ms", {})
    both = done and real > 0.5 and measured.get("n")
    found = statistics.median(times) if times else None
    return {
        "source": source, "target": target, "completes": done, "really_completes": real > 0.5, "split": 0 < real < 1,
        "total_ms": found, "real_ms": measured.get("median"), "real_low_ms": measured.get("min"),
        "real_high_ms": measured.get("max"), "error": found / measured["median"] - 1 if both and found else None,
    }  # fmt: skip


def under(table: dict[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """``table`` with the migration, the link and the host of another case."""
    capabilities, throttle = inputs["capabilities"], inputs["throttle"]
    after, switchover = inputs.get("postcopy_after_syncs"), inputs.get("avail_switchover_bandwidth_Bps")
    limited = inputs.get("max_postcopy_bandwidth_Bps")
    migration: dict[str, Any] = {
        "qemu": "10.0" if str(inputs["qemu_version"]).startswith("10") else "7.2",
        "bandwidth": _rate(inputs["max_bandwidth_Bps"]), "downtime_limit": f"{inputs['downtime_limit_ms']}ms",
        "timeout": f"{inputs['cancel_after_s']}s", "auto_converge": "auto-converge" in capabilities,
        "throttle_trigger_threshold": throttle["throttle-trigger-threshold"],
        "cpu_throttle_initial": throttle["cpu-throttle-initial"],
        "cpu_throttle_increment": throttle["cpu-throttle-increment"],
        "cpu_throttle_tailslow": throttle["cpu-throttle-tailslow"], "max_cpu_throttle": throttle["max-cpu-throttle"],
        "xbzrle": "xbzrle" in capabilities, "multifd": "multifd" in capabilities,
        "return_path": "return-path" in capabilities, "postcopy_ram": "postcopy-ram" in capabilities,
        "postcopy_preempt": "postcopy-preempt" in capabilities,
        "xbzrle_cache_size": f"{inputs['xbzrle_cache_size']}B",
        **({} if after is None else {"postcopy_after_rounds": after}),
        **({"avail_switchover_bandwidth": _rate(switchover)} if switchover else {}),
        **({"max_postcopy_bandwidth": _rate(limited)} if limited else {}),
    }  # fmt: skip
    link = {"bandwidth": _rate(inputs["link_relay_Bps"]), "latency": "0s", "socket_buffer": "212992B"}
    return {**table, "migration": migration, "link": link, "host": {**table["host"], "machine": "qemu-tcg-2core"}}


def _rate(bytes_per_s: int | None) -> str:
    return f"{bytes_per_s}B/s" if bytes_per_s else "unlimited"


def postgres_predictions() -> Iterator[Prediction]:
    """The guest of 4 and of 16 threads, each fitted to two runs, and forecast for the others."""
    four, sixteen = (_two_runs(name) for name in ("Precopy_Convergent", "Precopy_Nonconvergent_16T"))
    yield {"fit": "16 threads", "ends_by_itself": sixteen.ends_by_itself, "floor_bytes": _floor_bytes(sixteen),
           "threshold_bytes": PAGE_BYTES * (sixteen.threshold_pages or 0)}  # fmt: skip
    yield from _postgres(four, Change(), FOUR, [f"Precopy_Convergent_{i}" for i in (3, 4, 5)])
    name = "Precopy_Nonconvergent_16T_3"
    ends = f"{(_observed(name).evidence.total_time_ms or 0) / 1000 - LOAD_ENDS_BEFORE_S:.2f}s"
    yield from _postgres(sixteen, Change(load_ends=ends), SIXTEEN, [name])
    yield from _postgres(four, Change(mode="stop-and-copy"), STOPPED, [f"Stop_Copy_4T_{i}" for i in (1, 2, 3)])
    yield from _postgres(four, Change(overrides=POSTCOPY), SWITCHED, [f"Postcopy_4T_{i}" for i in (1, 2, 3, 4, 5)])


def _two_runs(name: str) -> GuestFit:
    runs = (f"{name}_{i}" for i in (1, 2))
    return fit_logs([log_of(postgres_text(one), one) for one in runs], draws=GUESTS)


def _observed(name: str) -> Observed:
    return observe(log_of(postgres_text(name), name))


def _floor_bytes(fitted: GuestFit) -> list[float]:
    """Least, greatest of the floor over the drawn guests."""
    floor = fitted.figures["floor_pages"]
    return [PAGE_BYTES * (floor.value if bound is None else bound) for bound in (floor.low, floor.high)]


FIGURES: dict[str, Callable[[MigrationResult], float]] = {
    "total_s": lambda one: (one.total_time_ms or 0) / 1000, "bytes": lambda one: float(one.query["ram"]["transferred"]),
    "syncs": lambda one: float(one.query["ram"]["dirty-sync-count"]),
    "requests": lambda one: float(one.query["ram"]["postcopy-requests"]),
}  # fmt: skip


def _postgres(fitted: GuestFit, change: Change, guest: str, names: Sequence[str]) -> Iterator[Prediction]:
    """For each real run: figures over the drawn guests, and as measured; remaining after the syncs of the first rounds."""
    drawn = drawn_scenarios(fitted, change)
    runs = [run(drawn(number)).migrations[0] for number in range(GUESTS)]
    for name in names:
        real = _observed(name)
        told = {key: _spread([of(one) for one in runs]) | {"real": value}
                for (key, of), value in zip(FIGURES.items(), _measured(real), strict=True)}  # fmt: skip
        yield {"guest": guest, "log": name, "statuses": sorted({one.status for one in runs}), "figures": told,
               "remaining": _remaining(runs, real)}  # fmt: skip


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": statistics.mean(values), "low": min(values), "high": max(values)}


def _measured(real: Observed) -> list[float]:
    """FIGURES of a real run."""
    log = real.log
    counted = (log.transferred_bytes, log.dirty_sync_count, log.postcopy_requests)
    return [(real.evidence.total_time_ms or 0) / 1000, *(float(np.nanmax(column)) for column in counted)]


def _remaining(runs: Sequence[MigrationResult], real: Observed) -> list[dict[str, float]]:
    """Bytes remaining after each of the first syncs: over the runs, and as measured."""
    found = []
    for i in range(min(ROUNDS, len(real.rounds) - 1)):
        values = [float(one.rounds.columns["remaining_start_bytes"][i + 1]) for one in runs if len(one.rounds) > i + 1]
        if values:
            pages = real.rounds[i].newly_dirty_pages / real.whole_share + real.rounds[i].pending_pages
            found.append({"mean": statistics.mean(values), "real": PAGE_BYTES * pages})
    return found
