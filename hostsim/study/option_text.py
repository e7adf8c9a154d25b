"""Options of studies as text: lists, names, quantities, and their problems."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hostsim.core.errors import InputError, Problem, UnitError
from hostsim.core.units import UNLIMITED, parse_fraction, parse_rate
from hostsim.costs.cost_file import is_path
from hostsim.costs.costs import sheet_names
from hostsim.costs.era import read_era
from hostsim.scenario.problems import nearest

VCPUS_MAX, REPS_MAX = 256, 10_000
LOAD_WANTED = "uniform, or zipf:S with S from 0 to 3"


def listed(text: str) -> list[str]:
    """The parts of a list, each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",")))


def names(option: str, text: str, valid: Sequence[str]) -> Iterator[Problem]:
    """A problem of ``option`` for each name in the list ``text`` that is none of ``valid``."""
    for name in listed(text):
        if name not in valid:
            example = f"{option} {nearest(name, valid) or valid[0]}"
            yield Problem(option, "", repr(name), f"one of {', '.join(valid)}", example)


def era_problems(text: str) -> Iterator[Problem]:
    """A problem for each part that is neither an era nor a kernel."""
    for part in listed(text):
        try:
            read_era(part)
        except UnitError as error:
            yield Problem("--era", "", error.got, error.wanted, f"--era {error.example}")


def whole_numbers(option: str, text: str, least: int, most: int) -> Iterator[Problem]:
    """A problem for each part that is no whole number from ``least`` to ``most``."""
    for part in listed(text):
        if not (part.isascii() and part.isdigit() and least <= int(part[:20]) <= most):
            yield Problem(option, "", repr(part), f"a whole number from {least} to {most}", f"{option} {max(least, 2)}")


def quantity(option: str, text: str, parse: Callable[[object], Any], example: str) -> Iterator[Problem]:
    """A problem of ``option`` for each part of the list ``text`` that is 0 or that ``parse`` refuses with InputError.

    The word for no limit is valid. example: of a right value.
    """
    for part in listed(text):
        try:
            if parse(part) > 0 or part == UNLIMITED:
                continue
            yield Problem(option, "", repr(part), "more than 0", f"{option} {example}")
        except InputError as error:
            yield from (Problem(option, "", p.got, p.wanted, f"{option} {example}") for p in error.problems)


def load_of(text: str) -> float:
    """Exponent of the Zipf law of ``zipf:0.9``, 0 of ``uniform``. InputError for anything else."""
    kind, _, exponent = text.partition(":")
    if kind == "uniform" and not exponent:
        return 0.0
    try:
        value = float(exponent) if kind == "zipf" else -1.0
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 3.0:
        raise InputError([Problem("--load", "", repr(text), LOAD_WANTED, "--load zipf:0.9")])
    return value


def run_problems(n_cases: int, reps: int, most: int) -> Iterator[Problem]:
    """A problem if ``n_cases`` combinations with ``reps`` seeds are more than ``most`` runs."""
    if n_cases * reps > most:
        got = f"{n_cases} combinations with {reps} seeds each"
        yield Problem("--max-runs", "", got, f"at most {most} runs", f"--max-runs {n_cases * reps}")


def option_problems(era: str, sheet: str, vcpus: str, load: str, rate: tuple[str, str], reps: int) -> Iterator[Problem]:
    """Problems of the options that every study has, each as it was typed.

    era, sheet, vcpus, load: lists of names or numbers. rate: (text, example). reps: number of seeds.
    """
    yield from era_problems(era)
    yield from names("--sheet", sheet, (sheet,) if is_path(sheet) else sheet_names())
    yield from whole_numbers("--vcpus", vcpus, 1, VCPUS_MAX)
    yield from whole_numbers("--reps", str(reps), 1, REPS_MAX)
    yield from quantity("--rate", rate[0], parse_rate, rate[1])
    for part in listed(load):
        try:
            load_of(part)
        except InputError as error:
            yield from error.problems


def read_share(text: str) -> float | None:
    """The share of --until-ci; None without it. InputError."""
    if not text:
        return None
    try:
        share = parse_fraction(text)
    except UnitError as error:
        raise InputError([Problem("--until-ci", "", error.got, "a share above 0 and below 1", "--until-ci 5%")]) from None
    if not 0 < share < 1:
        raise InputError([Problem("--until-ci", "", repr(text), "a share above 0 and below 1", "--until-ci 5%")])
    return share
