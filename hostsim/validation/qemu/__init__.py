"""Suite ``qemu``: real migrations, predicted from their inputs alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hostsim.validation.rows import Row


def rows(
    cases: Path | None = None, jobs: int = 1, progress: Callable[[str], None] | None = None
) -> list[Row]:
    """All rows of the suite; ``cases``: another file of cases in the same format."""
    from hostsim.validation.qemu import score
    from hostsim.validation.qemu.cases import load_cases

    return score.rows(load_cases(cases), jobs, progress)
