"""Names that do not occur in the package, each with what to use instead."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.tidy.source import Source, dotted

CALLS = {
    "print": "a rich Console in hostsim/cli or hostsim/report, structlog elsewhere",
    "time.time": "simulated time: env.now; progress reads time.monotonic in hostsim/report",
    "time.time_ns": "simulated time: env.now",
    "datetime.now": "no wall time in results: the same scenario and seed give the same bytes",
    "datetime.datetime.now": "no wall time in results: the same scenario and seed give the same bytes",
    "datetime.utcnow": "no wall time in results: the same scenario and seed give the same bytes",
}

RAISES = {
    "NotImplementedError": "a Protocol for what others implement, a literal of the schema for what exists",
    "ValueError": "errors.InputError for input, an assertion for a programmer's mistake",
    "Exception": "an error of hostsim.core.errors",
    "RuntimeError": "errors.InvariantError for a broken law, an assertion for a programmer's mistake",
}

# pydantic validators report by ValueError; scenario/load.py turns every one into a Problem.
VALUE_ERROR_HOMES = ("hostsim/scenario/",)

WALL_CLOCK_HOMES = ("hostsim/measure/live/",)
"""A line about a live QEMU has its time, which is no result of a simulation."""

NUMPY_RANDOM_FINE = {"Generator", "SeedSequence", "PCG64", "Philox", "default_rng", "BitGenerator"}
RANDOM_INSTEAD = "the keyed draws of hostsim.core.rng: no global state, no stream to shift"


SAID_ONCE = {"NS_PER_MS", "NS_PER_S", "PAGE_SIZE", "PAGE_BYTES", "PAGE_WIRE_BYTES", "ZERO_PAGE_BYTES"}
SAID_IN = "hostsim/core/constants.py"


def banned_problems(source: Source) -> list[str]:
    """Banned names of a package file."""
    found = [*_calls(source), *_raises(source), *_random(source), *_assert_false(source), *_said_again(source)]
    return [f"{source.path}:{line}: {what}; use instead: {instead}" for line, what, instead in found]


def _calls(source: Source) -> Iterator[tuple[int, str, str]]:
    for node in source.nodes:
        if isinstance(node, ast.Call) and (name := dotted(node.func)) in CALLS:
            if name == "time.time" and source.path.startswith(WALL_CLOCK_HOMES):
                continue
            yield node.lineno, f"{name}()", CALLS[name]


def _raises(source: Source) -> Iterator[tuple[int, str, str]]:
    for node in source.nodes:
        if isinstance(node, ast.Raise) and (name := _raised(node)) in RAISES:
            if name == "ValueError" and source.path.startswith(VALUE_ERROR_HOMES):
                continue
            yield node.lineno, f"raise {name}", RAISES[name]


def _raised(node: ast.Raise) -> str:
    raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return dotted(raised) if raised else ""


def _random(source: Source) -> Iterator[tuple[int, str, str]]:
    for node in source.nodes:
        if isinstance(node, ast.Import) and any(alias.name == "random" for alias in node.names):
            yield node.lineno, "import random", RANDOM_INSTEAD
        if isinstance(node, ast.ImportFrom) and node.module == "random":
            yield node.lineno, "from random import", RANDOM_INSTEAD
        if isinstance(node, ast.Attribute) and _global_numpy_draw(dotted(node)):
            yield node.lineno, dotted(node), RANDOM_INSTEAD


def _global_numpy_draw(name: str) -> bool:
    parts = name.split(".")
    is_numpy = len(parts) == 3 and parts[0] in {"np", "numpy"} and parts[1] == "random"
    return is_numpy and parts[2] not in NUMPY_RANDOM_FINE


def _assert_false(source: Source) -> Iterator[tuple[int, str, str]]:
    for node in source.nodes:
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Constant) and not node.test.value:
            yield node.lineno, "assert False", "an assertion that states what must hold"


def _said_again(source: Source) -> Iterator[tuple[int, str, str]]:
    for node in source.tree.body:
        if isinstance(node, ast.Assign) and source.path != SAID_IN:
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id in SAID_ONCE:
                    yield node.lineno, f"{target.id} =", "the constant of hostsim.core.constants"
