"""What is wrong between keys, and which keys it was read from."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hostsim.core.errors import Problem


@dataclass(frozen=True)
class Finding:
    """A problem of several keys; ``uses``: the keys besides ``key`` it rests on."""

    key: str
    got: str
    wanted: str
    example: str = ""
    uses: tuple[str, ...] = ()

    def problem(self, file: str) -> Problem:
        """As a Problem of ``file``."""
        return Problem(file, self.key, self.got, self.wanted, self.example)

    def rests_on(self, broken: frozenset[str]) -> bool:
        """Whether any key it was read from is in ``broken``, or lies in a table that is."""
        return any(key == bad or key.startswith((f"{bad}.", f"{bad}[")) for key in (self.key, *self.uses) for bad in broken)


def moved(finding: Finding, owner: str, place: str) -> Finding:
    """``finding`` on a table named ``owner`` as one on the table at ``place``, which has the same keys."""

    def at(text: str) -> str:
        return re.sub(rf"(?<![\w.]){owner}(?=[.\[])", place, text)

    return Finding(at(finding.key), at(finding.got), at(finding.wanted), finding.example, tuple(map(at, finding.uses)))
