"""The floors of the package, and which third-party module belongs where."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from tests.tidy.source import Source

FLOORS: dict[str, int] = {
    "units": 0, "errors": 0, "finding": 0, "rng": 0, "jit": 0, "linked": 0, "by_reference": 0, "prefetch": 0, "version": 0,
    "trace": 0,
    "code_store": 0, "compiling": 0, "user_files": 0, "installed": 0,
    "mmu": 1, "guest": 1,
    "kernels": 2,
    "host": 3,
    "scenario": 4, "results": 4, "study": 4, "logs": 4, "simulation": 4, "warm_up": 4, "selftest": 4, "calibrate": 4,
    "verdict": 5, "report": 5, "validation": 5, "cli": 5, "__main__": 5,
}  # fmt: skip

HOMES: dict[str, tuple[tuple[str, ...], str]] = {
    "numba": (("jit", "linked", "by_reference", "prefetch", "rng", "code_store", "compiling"),
              "decorate with hostsim.jit.jit"),
    "simpy": (("host", "scenario", "simulation"), "floors 0-2 have no clock: return what happened, floor 3 waits"),
    "structlog": (("trace", "host", "scenario", "results", "simulation", "validation", "cli", "report", "logs"),
                  "return facts from floors 0-2, log them on floor 3"),
    "pydantic": (("scenario", "units"), "take the frozen model or plain dataclasses"),
    "typer": (("cli",), "a command is a thin wrapper in hostsim/cli"),
    "click": (("cli",), "a command is a thin wrapper in hostsim/cli"),
    "rich": (("cli", "report"), "return text or a table, let hostsim/report draw it"),
    "pyarrow": (("results", "report"), "hand a results.tables.Table to hostsim.results.store"),
    "matplotlib": (("report",), "plots are drawn in hostsim/report"),
    "scipy": (("study", "validation"), "use a closed form of hostsim.study"),
}  # fmt: skip

LAZY = {
    "pyarrow": "an extra: import it in the function that needs it, raise MissingExtraError without it",
    "matplotlib": "an extra: import it in the function that needs it, raise MissingExtraError without it",
    "scipy": "an extra: import it in the function that needs it, raise MissingExtraError without it",
}


@dataclass(frozen=True)
class Import:
    """One imported module; ``lazy``: inside a function or for type checkers only."""

    target: str
    line: int
    lazy: bool


def imports(source: Source) -> Iterator[Import]:
    """Every import of ``source``, relative ones made absolute."""
    at_top = set(_top_level(source.tree.body))
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for target in _targets(node, source):
                yield Import(target, node.lineno, node not in at_top)


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.Try):
            yield from _top_level(node.body)


def _targets(node: ast.Import | ast.ImportFrom, source: Source) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = _absolute(node, source)
    if base == "hostsim":
        return [f"hostsim.{alias.name}" for alias in node.names if alias.name != "__version__"]
    return [base]


def _absolute(node: ast.ImportFrom, source: Source) -> str:
    if node.level == 0:
        return node.module or ""
    parts = source.module.split(".")
    up = node.level - 1 if source.path.endswith("__init__.py") else node.level
    return ".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])])


def part_of(module: str) -> str:
    """``host`` of ``hostsim.host.link``; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


def floor_problems(source: Source) -> list[str]:
    """Imports of ``source`` that go up."""
    part = part_of(source.module)
    if not part:  # the facade stands above all floors
        return []
    if part not in FLOORS:
        return [f"{source.path}: hostsim.{part} has no floor; give it one in tests/tidy/floors.py"]
    inner = [i for i in imports(source) if i.target.startswith("hostsim.")]
    return [problem for i in inner if (problem := _upward(source, part, i))]


def _upward(source: Source, part: str, found: Import) -> str:
    target = part_of(found.target)
    where = f"{source.path}:{found.line}"
    if target not in FLOORS:
        return f"{where}: hostsim.{target} has no floor; import it from the module that defines it"
    if FLOORS[target] <= FLOORS[part]:
        return ""
    return (
        f"{where}: {part} (floor {FLOORS[part]}) imports {found.target} (floor {FLOORS[target]}). "
        f"Take what you need as an argument, or move the caller up to floor {FLOORS[target]}"
    )


def third_party_problems(source: Source) -> list[str]:
    """Third-party imports of ``source`` out of their home, or too early."""
    part, problems = part_of(source.module), []
    for found in imports(source):
        top = found.target.split(".")[0]
        homes, instead = HOMES.get(top, ((part,), ""))
        if part not in homes:
            problems.append(f"{source.path}:{found.line}: {top} belongs in {', '.join(homes)}: {instead}")
        if top in LAZY and not found.lazy:
            problems.append(f"{source.path}:{found.line}: {top} at the top of a module: {LAZY[top]}")
    return problems
