"""The errors that leave the package; the command line prints them without a traceback."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

LISTED_PROBLEMS_MAX = 50
"""Problems in a list; a message counts further problems without listing them."""
PART_MAX = 300
"""Characters of a file name, a key or a value in a message."""


def printable(text: str) -> str:
    """``text`` with an escape for each character that a terminal would act on."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@dataclass(frozen=True)
class Problem:
    """One problem of the input.

    file, key: the place of the problem.
    got: the value found there.
    wanted: the values that are accepted.
    example: a value that is accepted.
    """

    file: str
    key: str
    got: str
    wanted: str
    example: str = ""

    def __str__(self) -> str:
        """One readable line; line ends and control characters of the input are escaped."""
        place = ": ".join(_short(part) for part in (self.file, self.key) if part)
        example = f"; example: {_short(self.example)}" if self.example else ""
        line = f"{place}: got {_short(self.got)}, wanted {self.wanted}{example}"
        return printable(line)


def _short(text: str) -> str:
    """``text``, with its middle left out if it is longer than PART_MAX; its two ends identify it."""
    return text if len(text) <= PART_MAX else f"{text[: PART_MAX // 2]}...{text[-PART_MAX // 4 :]}"


class HostsimError(Exception):
    """Base of the errors that hostsim raises on purpose; ``exit_code``: exit status of the command."""

    exit_code = 2


class InputError(HostsimError):
    """Bad scenario, trace, log or option; ``problems`` holds all of them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: list[Problem] = list(problems)
        super().__init__(str(self))

    def __str__(self) -> str:
        """One line a problem."""
        lines = [str(problem) for problem in self.problems[:LISTED_PROBLEMS_MAX]]
        more = len(self.problems) - len(lines)
        return "\n".join([*lines, f"and {more:,} more"] if more else lines)


class UnitError(InputError):
    """A text that is not a quantity of the wanted kind."""

    def __init__(self, got: str, wanted: str, example: str) -> None:
        self.got, self.wanted, self.example = got, wanted, example
        super().__init__([Problem("", "", got, wanted, example)])


class OutputError(HostsimError):
    """Results cannot be written: no such folder, no permission, or no space left."""


class MissingExtraError(HostsimError):
    """A package of an optional extra is not installed."""

    def __init__(self, package: str, extra: str, command: str = "") -> None:
        from hostsim.core.installed import extra_command

        self.package, self.extra = package, extra
        self.command = command or extra_command(extra, package)
        super().__init__(f"{package} is not installed (extra '{extra}'): {self.command}")


class InvariantError(HostsimError):
    """A law of the model broke: a defect of hostsim, never of the input."""

    exit_code = 3


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
