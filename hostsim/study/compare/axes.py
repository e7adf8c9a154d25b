"""``--vary KEY=VALUE,VALUE...``: one key of the scenario and the values it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from hostsim.core.errors import InputError, Problem
from hostsim.core.units import shown
from hostsim.scenario.overrides import apply_overrides

SOURCE = "--vary"
EXAMPLE = "--vary link.bandwidth=1Gbit/s,10Gbit/s"
QUOTING = """--vary 'vm.workload.0.vcpus="0-3,8",all'"""
WANTED = "KEY=VALUE,VALUE..., a value with a comma in quotes or brackets"
_CLOSING = {"[": "]", "{": "}"}


@dataclass(frozen=True)
class Axis:
    """A dotted key and its values as ``--set`` reads them; ``labels``: the values as they are shown."""

    key: str
    values: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def overrides(self) -> tuple[str, ...]:
        """``KEY=VALUE`` of each value."""
        return tuple(f"{self.key}={value}" for value in self.values)


def read_axes(texts: Sequence[str], overrides: Sequence[str] = ()) -> tuple[Axis, ...]:
    """The axes of ``texts``; ``overrides``: texts of ``--set``, whose keys cannot vary. InputError with all problems."""
    problems: list[Problem] = []
    axes: list[Axis] = []
    for text in texts:
        found = _read(text)
        axes.extend([found] if isinstance(found, Axis) else [])
        problems.extend([] if isinstance(found, Axis) else found)
    problems += key_problems(axes, overrides)
    if problems:
        raise InputError(problems)
    return tuple(axes)


def key_problems(axes: Sequence[Axis], overrides: Sequence[str], source: str = SOURCE) -> list[Problem]:
    """A problem for each key of ``axes`` that cannot be varied, stands twice, or is in ``overrides`` as well.

    source: file or option that the problems name.
    """
    set_keys = {key for text in overrides if (key := canonical_key(text.partition("=")[0]))}
    counts = Counter(axis.key for axis in axes)
    problems = [Problem(source, key, "the key twice", "each key once", EXAMPLE) for key, n in counts.items() if n > 1]
    for key in counts:
        if key in set_keys:
            problems.append(Problem(source, key, "a key that --set has too", "either --set or --vary"))
        if key == "seed":
            problems.append(Problem(source, key, "the seed", "--seeds K: the same seeds for all combinations", "--seeds 5"))
    return problems


def canonical_key(key: str) -> str:
    """``vm.workload[0].size`` of ``vm.workload.0.size``; "" if it is no key."""
    keys, _ = apply_overrides({}, [f"{key}=0"])
    return next(iter(keys), "")


def _read(text: str) -> Axis | list[Problem]:
    key, equals, rest = text.partition("=")
    name = canonical_key(key)
    if not name or not equals:
        return [Problem(SOURCE, "", shown(text), WANTED, EXAMPLE)]
    values = split_values(rest)
    if values is None:
        return [Problem(SOURCE, name, shown(rest), "every quote and bracket closed", QUOTING)]
    problems = [replace(problem, key=name) for problem in _value_problems(values)]
    return problems or Axis(name, tuple(values), tuple(values))


def _value_problems(values: Sequence[str]) -> Iterator[Problem]:
    if not all(values):
        yield Problem(SOURCE, "", "an empty value", WANTED, EXAMPLE)
    for value, count in Counter(values).items():
        if value and count > 1:
            yield Problem(SOURCE, "", f"{shown(value)} {count} times", "each value once", EXAMPLE)


def split_values(text: str) -> list[str] | None:
    """The values between commas that stand in no quotes or brackets; None if one of those is not closed."""
    parts: list[str] = []
    part, closing, quote, escaped = "", "", "", False
    for char in text:
        if quote:
            quote, escaped = _in_quotes(char, quote, escaped=escaped)
        elif char in "\"'" and (closing or not part.strip()):
            quote = char
        elif closing and char == closing[-1]:
            closing = closing[:-1]
        elif char in _CLOSING:
            closing += _CLOSING[char]
        elif char == "," and not closing:
            parts, part = [*parts, part.strip()], ""
            continue
        part += char
    return None if quote or closing else [*parts, part.strip()]


def _in_quotes(char: str, quote: str, *, escaped: bool) -> tuple[str, bool]:
    """(quote still open, whether the next character is escaped); only double quotes know escapes, as in TOML."""
    if escaped:
        return quote, False
    if char == quote:
        return "", False
    return quote, char == "\\" and quote == '"'
