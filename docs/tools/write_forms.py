"""Write the table of forms in docs/howto/read-a-log.md; `--check` only compares.

The table stands between ``<!-- forms -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from written import write_or_compare  # noqa: E402  beside this tool

from hostsim.logs.forms import forms_table  # noqa: E402  the package of this checkout

PAGE = ROOT / "docs" / "howto" / "read-a-log.md"
TABLE = re.compile(r"(<!-- forms -->\n).*?(<!-- end -->)", re.DOTALL)


def page(text: str) -> str:
    """``text`` with the table as the forms are today."""
    return TABLE.sub(lambda match: match.group(1) + "\n".join(forms_table()) + "\n" + match.group(2), text)


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` return 1 if it is out of date."""
    return write_or_compare(PAGE, page(PAGE.read_text(encoding="utf-8")), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
