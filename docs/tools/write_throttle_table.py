"""Print the table of docs/background/throttle-timer.md: the auto-converge cases over the plausible lateness of the timer.

``python docs/tools/write_throttle_table.py`` takes one to two minutes; copy its output into the page.
"""

from __future__ import annotations

import sys

from hostsim.validation.qemu.cases import Case, load_cases
from hostsim.validation.qemu.score import case_rows

LATE_US = (0, 50, 100, 150, 200, 250, 300)


def table() -> str:
    """A row a case: error of total time, of bytes for a case that is cancelled; the share that completes if it varies."""
    head = ["case", *map(str, LATE_US)]
    rows = [[f"`{case.id}`", *(_cell(case, late) for late in LATE_US)] for case in load_cases() if case.throttles]
    lines = [head, ["---", *["---:"] * len(LATE_US)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(case: Case, late_us: int) -> str:
    rows = {row.quantity: row for row in case_rows(case, late_us * 1000)}
    if "completes, share" in rows:
        return f"{rows['completes, share'].got:.2f}"
    error = rows.get("total_time_ms", rows["transferred_bytes"]).error or 0.0
    return f"{error:+.1%}".replace("%", " %") if error else "in"


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
