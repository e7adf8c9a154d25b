"""What a few lines of Python print: in plain Python and compiled. As a module: runs its argument, in a fork of
``tests.helpers.plain``.
"""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stdout
from typing import Any

from tests.helpers.plain import plain_output


def told_both_ways(code: str) -> tuple[str, str]:
    """Standard output of ``code`` in plain Python, and in this process, where loops are compiled."""
    out, names = io.StringIO(), {"__name__": "evaluated"}
    with redirect_stdout(out):
        _run(code, names)
    return plain_output("tests.helpers.evaluate", code), out.getvalue()


def _run(code: str, names: dict[str, Any]) -> None:
    exec(compile(code, "evaluated", "exec"), names)  # noqa: S102  written by a test


if __name__ == "__main__":
    _run(sys.argv[1], {"__name__": "evaluated"})
