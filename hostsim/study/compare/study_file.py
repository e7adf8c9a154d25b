"""A study as a TOML file: a scenario, the keys that are varied, how many seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hostsim.core.errors import LISTED_PROBLEMS_MAX, InputError, Problem
from hostsim.core.units import shown
from hostsim.core.user_files import STUDY, read_toml
from hostsim.scenario.problems import wanted_name
from hostsim.scenario.toml_text import toml_text
from hostsim.study.compare.axes import Axis, canonical_key, key_problems
from hostsim.study.compare.plan import RUNS_MAX, Request

KEYS: Mapping[str, tuple[type, str, str]] = {
    "scenario": (str, "a scenario file, relative to this one", 'scenario = "precopy_convergence.toml"'),
    "vary": (dict, "a table of keys, each with an array of values", '[vary]\n"link.bandwidth" = ["10Gbit/s"]'),
    "question": (str, "a text", 'question = "Which limit?"'),
    "replications": (int, "a whole number of seeds, at least 1", "replications = 5"),
    "seed": (int, "a whole number", "seed = 1"),
    "set": (dict, "a table of keys and values", '[set]\n"vm.vcpus" = 4'),
}
"""Key of a study: type, meaning, example."""
REQUIRED = ("scenario", "vary")
ARRAY = ("an array of at least one value", 'link.bandwidth = ["10Gbit/s", "25Gbit/s"]')


def load_study(path: Path, max_runs: int = RUNS_MAX) -> Request:
    """The request of the study at ``path``. InputError with all problems of the study itself."""
    table = read_toml(path, STUDY)
    problems = [*_shape_problems(table, str(path))]
    axes, found = read_vary(table.get("vary"), str(path), "vary.")
    overrides, more = overrides_of(table.get("set"), str(path), "set.")
    problems += [*found, *more, *key_problems(axes, overrides, str(path))]
    if problems:
        raise InputError(problems)
    file, n_seeds = path.parent / table["scenario"], table.get("replications", 1)
    return Request(
        file, axes, overrides, table.get("seed"), n_seeds, max_runs, path.stem, str(path), str(path),
        by_work="replications" not in table,
    )  # fmt: skip


def _shape_problems(table: Mapping[str, Any], file: str) -> Iterator[Problem]:
    for i, key in enumerate(key for key in table if key not in KEYS):
        wanted = wanted_name(key, KEYS) if i < LISTED_PROBLEMS_MAX else "a key of a study"
        yield Problem(file, key[:200], "an unknown key", wanted)
    for key, (kind, wanted, example) in KEYS.items():
        line = example.replace("\n", " ")
        if key not in table:
            if key in REQUIRED:
                yield Problem(file, key, "nothing", wanted, line)
        elif type(table[key]) is not kind or (key == "replications" and table[key] < 1):
            yield Problem(file, key, shown(table[key]), wanted, line)


def read_vary(table: Any, file: str, place: str = "") -> tuple[tuple[Axis, ...], list[Problem]]:
    """The axes of a table of keys, each with its values, and what is wrong with them.

    file, place: named in problems, ``place`` before the key.
    """
    axes, problems = [], []
    leaves = dict(_leaves(table)) if isinstance(table, dict) else {}
    if isinstance(table, dict) and not leaves:
        problems.append(Problem(file, "vary", "no key", "at least one key with an array of values", ARRAY[1]))
    for key, values in leaves.items():
        texts = tuple(map(toml_text, values)) if isinstance(values, list) else ()
        name = canonical_key(key)
        if not texts:
            problems.append(Problem(file, f"{place}{key}", shown(values), *ARRAY))
        elif not name:
            problems.append(Problem(file, f"{place}{key}", shown(key), "a dotted key of the scenario", ARRAY[1]))
        elif max(Counter(texts).values()) > 1:
            problems.append(Problem(file, f"{place}{key}", shown(values), "each value once", ARRAY[1]))
        else:
            labels = (value if isinstance(value, str) else text for value, text in zip(values, texts, strict=True))
            axes.append(Axis(name, texts, tuple(labels)))
    return tuple(axes), problems


def overrides_of(table: Any, file: str, place: str = "") -> tuple[tuple[str, ...], list[Problem]]:
    """(texts of ``--set`` for ``table``, its problems); ``file`` and ``place`` as in ``read_vary``."""
    leaves = dict(_leaves(table)) if isinstance(table, dict) else {}
    bad = [key for key in leaves if not canonical_key(key)]
    wanted = "a dotted key of the scenario"
    problems = [Problem(file, f"{place}{key}", shown(key), wanted, '"vm.vcpus" = 4') for key in bad]
    return tuple(f"{key}={toml_text(value)}" for key, value in leaves.items()), problems


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of each leaf: ``link.bandwidth = []`` and ``"link.bandwidth" = []`` give equal keys."""
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
