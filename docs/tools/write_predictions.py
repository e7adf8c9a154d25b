"""Write the tables of docs/background/how-well-does-it-predict.md from predictions.json beside it.

``--measure`` fits all logs, runs all predictions (minutes) and writes predictions.json anew; ``--check`` only compares.
A table stands between ``<!-- table: name -->`` and ``<!-- end -->``; the words around it are written by hand.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from written import write_or_compare  # noqa: E402  beside this tool

from hostsim.validation.fit.predicted import SWITCHED, predictions  # noqa: E402  the checkout's, not an installed one

PAGE = ROOT / "docs" / "background" / "how-well-does-it-predict.md"
DATA = PAGE.parent / "predictions.json"
TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
Row = dict[str, Any]


def measure() -> None:
    """Fit and forecast everything, as `hostsim validate --suite fit` does."""
    keep(predictions(jobs=2))


def keep(content: Mapping[str, Sequence[Row]]) -> None:
    """Write predictions.json."""
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
        if "guest" in row and row["guest"] != SWITCHED:
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


def postcopy_table() -> Iterator[str]:
    """Forecasts of post-copy from the logs of pre-copy."""
    yield "| run | total time | bytes | requests |"
    yield "|---|---|---|---|"
    for row in json.loads(DATA.read_text(encoding="utf-8"))["postgres"]:
        if row.get("guest") == SWITCHED:
            told = row["figures"]
            cells = [cell(told["total_s"], 1, "s"), cell(told["bytes"], 1e9, "GB"), bounds(told["requests"])]
            yield f"| `{row['log']}` | {' | '.join(cells)} |"


def bounds(told: Mapping[str, float]) -> str:
    """``5 to 417, real 2592``: a lower bound has no error."""
    return f"{told['low']:.0f} to {told['high']:.0f} by its writes, real {told['real']:.0f}"


TABLES = {
    "summary": summary_table, "worst": worst_table, "outcomes": outcome_table, "refused": refused_table,
    "postgres": postgres_table, "remaining": remaining_table, "postcopy": postcopy_table,
}  # fmt: skip


def page(text: str) -> str:
    """``text`` with its tables written anew."""
    return TABLE.sub(lambda found: found.group(1) + "\n".join(TABLES[found.group(2)]()) + "\n" + found.group(3), text)


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` return 1 if it is out of date."""
    if "--measure" in arguments:
        measure()
    remedy = "python docs/tools/write_predictions.py"
    return write_or_compare(PAGE, page(PAGE.read_text(encoding="utf-8")), arguments, remedy)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
