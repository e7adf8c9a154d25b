"""Suite ``qemu``: real migrations, predicted from their inputs alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hostsim.validation.rows import Row


def rows(
    only: Sequence[str] | None = None,
    jobs: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
    cases: Path | None = None,
) -> list[Row]:
    """Rows of the cases ``only`` (None: all); ``cases``: another file of cases in the same format."""
    from hostsim.validation.qemu import score
    from hostsim.validation.qemu.cases import load_cases, second_cases

    second = [] if cases else [case for case in second_cases() if str(case.inputs["accel"]).startswith("tcg")]
    wanted = [case for case in (*load_cases(cases), *second) if not only or case.id in only]
    return score.rows(wanted, jobs, progress)
