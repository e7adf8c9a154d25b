"""Suite ``fit``: guests fitted to the logs of real migrations, and other real migrations of these guests, forecast."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hostsim.validation.rows import Row, selected

KINDS = {"qemu": "Q", "postgres": "PG"}
"""Kinds of predictions, and the first part of the ids of their rows."""


def rows(
    only: Sequence[str] | None = None, jobs: int = 1, progress: Callable[[str, int, int], None] | None = None
) -> list[Row]:
    """Rows whose ids are in ``only`` (None: all); a minute of CPU time.

    jobs: worker processes. progress: called with (name, done, all) after each guest.
    """
    from hostsim.validation.fit.predicted import predictions
    from hostsim.validation.fit.score import scored

    wanted = [kind for kind, prefix in KINDS.items() if only is None or any(one.split("/")[0] == prefix for one in only)]
    return selected(scored(predictions(jobs, progress, wanted)), only)
