"""Write the tables of docs/background/how-well-does-it-predict.md from predictions.json beside it.

``--measure`` fits all logs, runs all predictions (minutes) and writes predictions.json anew; ``--check`` only compares.
A table stands between ``<!-- table: name -->`` and ``<!-- end -->``; the words around it are written by hand.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from hostsim import Scenario, run  # noqa: E402  the tests know how the real logs are read
from hostsim.fitting.fitted import GuestFit, fit  # noqa: E402
from hostsim.fitting.observed import observe  # noqa: E402
from hostsim.fitting.refusal import NotIdentifiedError  # noqa: E402
from hostsim.fitting.whatif import Change, drawn_scenarios  # noqa: E402
from hostsim.logs import read_logs  # noqa: E402
from tests.helpers.real_logs import cases, postgres_log, qemu_log  # noqa: E402

PAGE = ROOT / "docs" / "background" / "how-well-does-it-predict.md"
DATA = PAGE.parent / "predictions.json"
TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
SEEDS = (1, 2, 3)
GUESTS = 8
LOAD_ENDS_BEFORE_S = 0.35
"""The load of the 16 threads ends so long before the completion (assumed): two rounds and a stop are left."""
Row = dict[str, Any]


def guest_key(inputs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Cases of one guest have equal keys: memory, its fill, and the writer."""
    names = ("mem_mib", "ws_pages", "pattern", "hot_pages", "hot_prob", "write_rate_pages_s", "pace", "spin")
    return (*(inputs[name] for name in names), inputs["nonzero_pages"] // 100)


def qemu_rows(folder: Path) -> Iterator[Row]:
    """A row for each pair of cases with one guest: fitted to the first, predicted for the second."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name, case in cases().items():
        if case.inputs["write_rate_pages_s"]:
            groups.setdefault(guest_key(case.inputs), []).append(name)
    for names in groups.values():
        for source in names if len(names) > 1 else ():
            try:
                fitted = fit(qemu_log(source, folder), draws=0)
            except NotIdentifiedError as error:
                yield {"source": source, "refused": str(error).partition(": ")[2].partition(": ")[2]}
                continue
            yield from (qemu_row(fitted, source, target) for target in names if target != source)


def qemu_row(fitted: GuestFit, source: str, target: str) -> Row:
    """The prediction of ``target``, and its real outcome."""
    case = cases()[target]
    table = under(fitted.table(), case.inputs)
    runs = [run(Scenario.model_validate(table | {"seed": seed})).migrations[0] for seed in SEEDS]
    times = [one.total_time_ms for one in runs if one.status == "completed"]
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
        "bandwidth": rate(inputs["max_bandwidth_Bps"]), "downtime_limit": f"{inputs['downtime_limit_ms']}ms",
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
        **({"avail_switchover_bandwidth": rate(switchover)} if switchover else {}),
        **({"max_postcopy_bandwidth": rate(limited)} if limited else {}),
    }  # fmt: skip
    link = {"bandwidth": rate(inputs["link_relay_Bps"]), "latency": "0s", "socket_buffer": "212992B"}
    return {**table, "migration": migration, "link": link, "host": {"machine": "qemu-tcg-2core", "lateness": "drawn"}}


def rate(bytes_per_s: int | None) -> str:
    """A bandwidth as a scenario has it."""
    return f"{bytes_per_s}B/s" if bytes_per_s else "unlimited"


def postgres_rows(folder: Path) -> Iterator[Row]:
    """The guest of 4 and of 16 threads, each fitted to two runs, and predicted for the others."""
    counts = {"Precopy_Convergent": 5, "Precopy_Nonconvergent_16T": 3, "Stop_Copy_4T": 3}
    names = [f"{kind}_{i}" for kind, n in counts.items() for i in range(1, n + 1)]
    logs = {name: postgres_log(name, folder) for name in names}
    four = fit(*(logs[f"Precopy_Convergent_{i}"] for i in (1, 2)), draws=GUESTS)
    sixteen = fit(*(logs[f"Precopy_Nonconvergent_16T_{i}"] for i in (1, 2)), draws=GUESTS)
    yield {"fit": "16 threads", "ends_by_itself": sixteen.ends_by_itself, "floor_bytes": floor_bytes(sixteen),
           "threshold_bytes": 4096 * (sixteen.threshold_pages or 0)}  # fmt: skip
    for i in (3, 4, 5):
        yield postgres_row(four, Change(), "4 threads", logs[f"Precopy_Convergent_{i}"])
    real = observe(read_logs(str(logs["Precopy_Nonconvergent_16T_3"]))[0]).evidence
    ends = f"{(real.total_time_ms or 0) / 1000 - LOAD_ENDS_BEFORE_S:.2f}s"
    yield postgres_row(sixteen, Change(load_ends=ends), "16 threads, its load ends", logs["Precopy_Nonconvergent_16T_3"])
    for i in (1, 2, 3):
        yield postgres_row(four, Change(mode="stop-and-copy"), "4 threads, stopped before", logs[f"Stop_Copy_4T_{i}"])


def floor_bytes(fitted: GuestFit) -> list[float]:
    """Least, greatest of the floor over the drawn guests."""
    floor = fitted.figures["floor_pages"]
    return [4096 * (floor.value if bound is None else bound) for bound in (floor.low, floor.high)]


def postgres_row(fitted: GuestFit, change: Change, name: str, log: Path) -> Row:
    """Total time, bytes and syncs over the drawn guests, and as measured; remaining after the syncs of the first rounds."""
    drawn = drawn_scenarios(fitted, change)
    runs = [run(drawn(number)).migrations[0] for number in range(GUESTS)]
    real = observe(read_logs(str(log))[0])
    figures: dict[str, Callable[[Any], float]] = {
        "total_s": lambda one: one.total_time_ms / 1000, "bytes": lambda one: one.query["ram"]["transferred"],
        "syncs": lambda one: one.query["ram"]["dirty-sync-count"],
    }  # fmt: skip
    measured = {"total_s": (real.evidence.total_time_ms or 0) / 1000, "bytes": real.evidence.sent_bytes,
                "syncs": float(np.nanmax(real.log.dirty_sync_count))}  # fmt: skip
    told = {key: {"mean": statistics.mean(values := [of(one) for one in runs]), "low": min(values), "high": max(values),
                  "real": measured[key]} for key, of in figures.items()}  # fmt: skip
    return {"guest": name, "log": log.stem, "statuses": sorted({one.status for one in runs}), "figures": told,
            "remaining": remaining(runs, real)}  # fmt: skip


ROUNDS = 6


def remaining(runs: Sequence[Any], real: Any) -> list[dict[str, float]]:
    """Bytes remaining after each of the first syncs: over the runs, and as measured."""
    found = []
    for i in range(min(ROUNDS, len(real.rounds) - 1)):
        values = [float(one.rounds.columns["remaining_start_bytes"][i + 1]) for one in runs if len(one.rounds) > i + 1]
        if values:
            measured = 4096 * (real.rounds[i].newly_dirty_pages / real.whole_share + real.rounds[i].pending_pages)
            found.append({"mean": statistics.mean(values), "real": measured})
    return found


def measure() -> None:
    """Fit and predict everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content = {"qemu": list(qemu_rows(folder)), "postgres": list(postgres_rows(folder))}
    lines = [f'"{key}": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]" for key, rows in content.items()]
    DATA.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def pairs() -> list[Row]:
    """Pairs with an error of the total time."""
    return [row for row in json.loads(DATA.read_text(encoding="utf-8"))["qemu"] if row.get("error") is not None]


def share(value: float) -> str:
    """A signed share in percent."""
    return f"{100 * value:+.1f} %"


def summary_table() -> Iterator[str]:
    """Errors by the kind of the source's log."""
    rows = pairs()
    yield "| predicted from | pairs | median error | nine of ten within | within 5 % |"
    yield "|---|---|---|---|---|"
    kinds: dict[str, Callable[[Row], bool]] = {
        "any log that was not refused": bool,
        "logs of plain pre-copy": lambda row: not re.search(r"ac_|xbzrle|postcopy|multifd", row["source"]),
        "logs with auto-converge": lambda row: "ac_" in row["source"],
        "logs of post-copy, or with XBZRLE": lambda row: bool(re.search(r"xbzrle|postcopy", row["source"])),
    }
    for name, takes in kinds.items():
        errors = sorted(abs(row["error"]) for row in rows if takes(row))
        if errors:
            near = sum(error <= 0.05 for error in errors) / len(errors)
            tail = errors[min(len(errors) - 1, int(0.9 * len(errors)))]
            typical = f"{100 * statistics.median(errors):.1f} %"
            yield f"| {name} | {len(errors)} | {typical} | {100 * tail:.1f} % | {100 * near:.0f} % |"


def worst_table() -> Iterator[str]:
    """The source logs whose predictions are worst, and the outcomes that are wrong."""
    rows = pairs()
    yield "| fitted to | pairs | median error | worst prediction |"
    yield "|---|---|---|---|"
    sources = {row["source"] for row in rows}
    by = {name: [row for row in rows if row["source"] == name] for name in sources}
    ranked = sorted(by, key=lambda name: -max(abs(row["error"]) for row in by[name]))
    for name in ranked[:8]:
        worst = max(by[name], key=lambda row: abs(row["error"]))
        typical = statistics.median(abs(row["error"]) for row in by[name])
        yield f"| `{name}` | {len(by[name])} | {100 * typical:.1f} % | `{worst['target']}` {share(worst['error'])} |"


def outcome_table() -> Iterator[str]:
    """Outcomes, right and wrong."""
    rows = [row for row in json.loads(DATA.read_text(encoding="utf-8"))["qemu"] if "target" in row and not row["split"]]
    yield "| the real migration | pairs | predicted right |"
    yield "|---|---|---|"
    for name, really in (("completes", True), ("does not complete within 60 s", False)):
        some = [row for row in rows if row["really_completes"] is really]
        yield f"| {name} | {len(some)} | {sum(row['completes'] is really for row in some)} |"


def refused_table() -> Iterator[str]:
    """Logs that do not identify their guest."""
    yield "| log | reason |"
    yield "|---|---|"
    for row in json.loads(DATA.read_text(encoding="utf-8"))["qemu"]:
        if "refused" in row:
            yield f"| `{row['source']}` | {row['refused'].partition(';')[0]} |"


def postgres_table() -> Iterator[str]:
    """Predictions of the PostgreSQL guest."""
    yield "| guest | run not seen by the fit | total time | bytes | syncs |"
    yield "|---|---|---|---|---|"
    for row in json.loads(DATA.read_text(encoding="utf-8"))["postgres"]:
        if "guest" in row:
            told = row["figures"]
            cells = [cell(told["total_s"], 1, "s"), cell(told["bytes"], 1e9, "GB"), cell(told["syncs"], 1, "")]
            yield f"| {row['guest']} | `{row['log']}` | {' | '.join(cells)} |"


def cell(told: Mapping[str, float], scale: float, unit: str) -> str:
    """``17.4 s (16.9 to 17.8), real 17.2 s: +1.2 %``."""
    mean, low, high, real = (told[key] / scale for key in ("mean", "low", "high", "real"))
    unit = f" {unit}" if unit else ""
    return f"{mean:.4g}{unit} ({low:.4g} to {high:.4g}), real {real:.4g}{unit}: {share(mean / real - 1)}"


def remaining_table() -> Iterator[str]:
    """Remaining after the first syncs."""
    yield "| guest | run | remaining after the first syncs: predicted over measured, less 1 |"
    yield "|---|---|---|"
    for row in json.loads(DATA.read_text(encoding="utf-8"))["postgres"]:
        if row.get("remaining"):
            told = ", ".join(share(one["mean"] / one["real"] - 1) for one in row["remaining"])
            yield f"| {row['guest']} | `{row['log']}` | {told} |"


TABLES = {
    "summary": summary_table, "worst": worst_table, "outcomes": outcome_table, "refused": refused_table,
    "postgres": postgres_table, "remaining": remaining_table,
}  # fmt: skip


def page(text: str) -> str:
    """``text`` with its tables written anew."""
    return TABLE.sub(lambda found: found.group(1) + "\n".join(TABLES[found.group(2)]()) + "\n" + found.group(3), text)


def main(arguments: Sequence[str]) -> int:
    """Write the page, or with ``--check`` return 1 if it is out of date."""
    if "--measure" in arguments:
        measure()
    text = PAGE.read_text(encoding="utf-8")
    if "--check" in arguments:
        return 0 if page(text) == text else 1
    PAGE.write_text(page(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
