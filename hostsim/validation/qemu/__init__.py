"""Suite ``qemu``: real migrations, predicted from their inputs alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hostsim.validation.rows import Row

if TYPE_CHECKING:
    from hostsim.validation.qemu.cases import Case


def rows(
    only: Sequence[str] | None = None,
    jobs: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
    cases: Path | None = None,
) -> list[Row]:
    """Rows of the cases ``only`` (None: all); ``cases``: another file of cases in the same format."""
    from hostsim.validation.qemu import score
    from hostsim.validation.qemu.cases import fourth_cases, load_cases, second_cases

    later = () if cases else (*second_cases(), *fourth_cases())
    wanted = [case for case in (*load_cases(cases), *filter(_is_tcg, later)) if not only or case.id in only]
    return score.rows(wanted, jobs, progress)


def _is_tcg(case: Case) -> bool:
    return str(case.inputs["accel"]).startswith("tcg")
