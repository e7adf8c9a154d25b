"""What is wrong between keys, and which keys it was read from."""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.errors import Problem


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
