"""One run from Python, and its result as a notebook shows it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from hostsim import simulation
from hostsim.results.tables import RunResult

if TYPE_CHECKING:
    from hostsim.core.knobs import Knobs
    from hostsim.machine.machine import Progress
    from hostsim.machine.recording import Recording
    from hostsim.scenario import Scenario


@dataclass(frozen=True, repr=False)
class Result(RunResult):
    """The result of ``hostsim.run``: tables, the verdict, and what a notebook shows."""

    @property
    def verdict(self) -> str:
        """The verdict on each migration and on the host's memory, as ``hostsim run --no-confirm`` prints it."""
        from hostsim.report.verdict_texts import verdict_texts

        return "\n\n".join(text.strip("\n") for text in verdict_texts(self, "text"))

    def __repr__(self) -> str:
        """The verdict; the fields of a run fill pages."""
        return self.verdict or f"{self.name}: no migration"

    def _repr_html_(self) -> str:
        from hostsim.report.notebook import run_html

        return run_html(self, self.verdict)


def run(
    scenario: Scenario, progress: Progress | None = None, knobs: Knobs | None = None, recording: Recording | None = None
) -> Result:
    """Simulate ``scenario``.

    progress: called with (simulated time [ns], the counters by name).
    knobs: sizes of the pieces into which work is cut; they change no result.
    recording: gets slices and counters of the run, for ``hostsim.report.perfetto``; it changes no result.
    InputError if a trace cannot be read, InvariantError if an invariant breaks.
    """
    found = simulation.run(scenario, progress, knobs, recording)
    return Result(**{one.name: getattr(found, one.name) for one in fields(found)})
