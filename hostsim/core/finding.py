"""Problems of several keys, with the keys that they depend on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hostsim.core.errors import Problem


@dataclass(frozen=True)
class Finding:
    """A problem of several keys; ``uses``: the keys besides ``key`` on which it depends."""

    key: str
    got: str
    wanted: str
    example: str = ""
    uses: tuple[str, ...] = ()

    def problem(self, file: str) -> Problem:
        """As a Problem of ``file``."""
        return Problem(file, self.key, self.got, self.wanted, self.example)

    def rests_on(self, broken: frozenset[str]) -> bool:
        """Whether a key on which the finding depends is in ``broken``, or lies in a table of ``broken``."""
        return any(key == bad or key.startswith((f"{bad}.", f"{bad}[")) for key in (self.key, *self.uses) for bad in broken)


def moved(finding: Finding, owner: str, place: str) -> Finding:
    """``finding`` with the table ``owner`` renamed to ``place``, a table with equal keys."""

    def at(text: str) -> str:
        return re.sub(rf"(?<![\w.]){owner}(?=[.\[])", place, text)

    return Finding(at(finding.key), at(finding.got), at(finding.wanted), finding.example, tuple(map(at, finding.uses)))
