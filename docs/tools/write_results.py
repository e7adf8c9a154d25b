"""Write the tables of docs/reference/results.md from the columns of results; `--check` only compares.

A table stands between ``<!-- columns: NAME -->`` and ``<!-- end -->``; the text around it is written by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from written import write_or_compare

from hostsim.results.columns import Columns
from hostsim.results.registry import IN_RUN_JSON, OF_HOST, OF_MIGRATIONS, UNDER_KVM, WITH_MECHANISMS

PAGE = Path(__file__).resolve().parents[1] / "reference" / "results.md"
TABLE = re.compile(r"(<!-- columns: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
TABLES: dict[str, Columns[Any]] = {
    **OF_MIGRATIONS, **{f"kvm.{name}": columns for name, columns in UNDER_KVM.items()},
    **WITH_MECHANISMS, **OF_HOST, **IN_RUN_JSON,
}  # fmt: skip
"""By the name between the marks."""


def page(text: str) -> str:
    """``text`` with its tables as the columns are today; KeyError for a name that no table has."""
    missing = set(TABLES) - {match.group(2) for match in TABLE.finditer(text)}
    assert not missing, f"results.md has no table of {', '.join(sorted(missing))}"
    return TABLE.sub(lambda match: match.group(1) + "\n".join(_lines(match.group(2))) + "\n" + match.group(3), text)


def _lines(name: str) -> Iterator[str]:
    kind = "key" if name in IN_RUN_JSON else "column"
    yield f"\n| {kind} | unit | meaning |\n|---|---|---|"
    for column in TABLES[name]:
        yield f"| `{column.name}` | {column.unit} | {column.words} |"
    yield ""


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` return 1 if it is out of date."""
    return write_or_compare(PAGE, page(PAGE.read_text(encoding="utf-8")), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
