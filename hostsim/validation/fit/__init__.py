"""Suite ``fit``: guests fitted to the logs of real migrations, and other real migrations of these guests, forecast."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hostsim.validation.rows import Row, selected


def rows(
    only: Sequence[str] | None = None, jobs: int = 1, progress: Callable[[str, int, int], None] | None = None
) -> list[Row]:
    """Rows whose ids are in ``only`` (None: all); a minute of CPU time."""
    from hostsim.validation.fit.predicted import predictions
    from hostsim.validation.fit.score import scored

    return selected(scored(predictions(jobs, progress)), only)
