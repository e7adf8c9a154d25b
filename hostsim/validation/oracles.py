"""Suite ``oracles``: closed forms against vectors computed independently, plain draws, and the engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hostsim.validation.oracles_ageing import ageing_rows, working_set_rows
from hostsim.validation.oracles_checkpoints import checkpoint_rows
from hostsim.validation.oracles_forms import drawn_rows, form_rows
from hostsim.validation.oracles_index import index_rows
from hostsim.validation.oracles_kvm import kvm_rows
from hostsim.validation.oracles_lock import lock_rows
from hostsim.validation.oracles_precopy import precopy_rows
from hostsim.validation.oracles_replacement import replacement_rows
from hostsim.validation.oracles_run import run_rows
from hostsim.validation.oracles_swap import fault_rows, swap_rows
from hostsim.validation.rows import Row, selected

if TYPE_CHECKING:
    from hostsim.validation import Progress


def rows(cases: Sequence[str] | None = None, _jobs: int = 1, progress: Progress | None = None) -> list[Row]:
    """All rows whose ids are in ``cases`` or below one of these (None: all), in one process: seconds of work.

    progress: called once, with ("oracles", n, n), at the end.
    """
    found = selected(_all_rows(), cases)
    if progress:
        progress("oracles", len(found), len(found))
    return found


def _all_rows() -> Iterator[Row]:
    yield from form_rows()
    yield from precopy_rows()
    yield from drawn_rows()
    yield from run_rows()
    yield from replacement_rows()
    yield from working_set_rows()
    yield from ageing_rows()
    yield from swap_rows()
    yield from fault_rows()
    yield from index_rows()
    yield from lock_rows()
    yield from kvm_rows()
    yield from checkpoint_rows()
