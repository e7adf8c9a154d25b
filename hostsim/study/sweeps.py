"""Sweeps that have a name: which keys vary, by which options, and the sentence that each has to answer.

``hostsim sweep NAME --vm FILE`` runs one; a study file is a sweep of the user's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Varied:
    """An option of a sweep: the key that it varies, its values by default, its help."""

    key: str
    values: str
    text: str


@dataclass(frozen=True)
class NamedSweep:
    """A sweep.

    question: the one it answers; varies: option to key, the last varies fastest.
    sets: keys of all its runs; baseline: keys of the run with which all are compared.
    """

    question: str
    varies: Mapping[str, Varied]
    sets: Mapping[str, str]
    baseline: Mapping[str, str]


SWEEPS: Mapping[str, NamedSweep] = MappingProxyType(
    {
        "auto-converge": NamedSweep(
            "How should auto-converge be tuned for this guest?",
            {
                "max": Varied("migration.max_cpu_throttle", "80,99", "max-cpu-throttle: largest throttles [percent]."),
                "initial": Varied("migration.cpu_throttle_initial", "10,20,40", "cpu-throttle-initial: first throttles."),
                "increment": Varied("migration.cpu_throttle_increment", "5,10,20", "cpu-throttle-increment: steps."),
            },
            {"migration.auto_converge": "true"},
            {"migration.auto_converge": "false"},
        ),
    }
)
"""The sweeps by name; ``hostsim.report.sweep_reports`` has the words and the picture of each."""
