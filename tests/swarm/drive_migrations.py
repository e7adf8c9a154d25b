"""Runs a drawn migration, and says what must hold at its end."""

from __future__ import annotations

import hostsim
from hostsim.results.tables import RunResult
from hostsim.verdict.confirm import unconfirmed
from tests.swarm.migrations import drawn_migration

ENDED = {"completed", "cancelled", "failed", "postcopy-paused", "protected", "failed over", "out of memory"}
UNSAID = {"undecided", "cannot tell"}
"""Outcomes that give no reason."""


def check_migration(seed: int) -> str:
    """Run the migration of ``seed``, whose content is verified at its end; return how it ended.

    AssertionError and InvariantError name the seed.
    """
    scenario = drawn_migration(seed)
    try:
        return _checked(hostsim.run(scenario))
    except BaseException as error:
        error.add_note(f"seed {seed}: python -m tests.swarm.replay --migration {seed}")
        raise


def _checked(result: RunResult) -> str:
    for index, migration in enumerate(result.migrations):
        if migration.status not in ENDED:
            verdict = unconfirmed(result, index)
            assert verdict.outcome not in UNSAID, f"{migration.status}: {verdict.headline}"
            assert not verdict.converged, "a migration that goes on has not converged"
    return str(result.migrations[-1].status)
