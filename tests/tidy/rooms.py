"""The rooms of the package in the order of their imports, and which third-party module belongs in which room."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.tidy.source import Source

ROOMS = (
    "compiled", "core", "plugins", "costs", "guest", "theory", "spte_index", "kvm", "qemu", "memory", "machine", "logs",
    "scenario", "results", "simulation", "study", "warm_up", "measure", "verdict", "fitting", "validation", "report", "api",
    "cli", "__main__",
)  # fmt: skip
"""A room imports itself and rooms before it."""

HOMES: dict[str, tuple[tuple[str, ...], str]] = {
    "numba": (("compiled", "core"), "decorate with hostsim.compiled.jit.jit"),
    "simpy": (("core", "guest", "kvm", "qemu", "memory", "machine", "measure", "study", "scenario", "simulation", "plugins"),
              "only processes of host and guest know the clock"),
    "structlog": (("core", "qemu", "memory", "machine", "scenario", "results", "simulation", "validation", "cli", "report",
                   "logs"), "return facts, and log them where the clock is"),
    "pydantic": (("scenario", "core"), "take the frozen model or plain dataclasses"),
    "typer": (("cli",), "a command is a thin wrapper in hostsim/cli"),
    "click": (("cli",), "a command is a thin wrapper in hostsim/cli"),
    "rich": (("cli", "report"), "return text or a table, let hostsim/report draw it"),
    "pyarrow": (("results", "report"), "hand a results.tables.Table to hostsim.results.store"),
    "matplotlib": (("report",), "plots are drawn in hostsim/report"),
    "qemu": (("measure",), "ask a monitor by hostsim.measure.qemu.qmp"),
    "jinja2": (("report",), "pages are rendered in hostsim/report/html"),
    "markupsafe": (("report",), "pages are rendered in hostsim/report/html"),
    "scipy": (("theory", "study", "validation"), "use a closed form of hostsim.theory"),
    "perfetto": (("report",), "record slices on the clock's timeline"),
    "distributed": (("study",), "hand runs to hostsim.study.compare.cluster"),
    "cloudpickle": (("study",), "hand runs to hostsim.study.compare.cluster"),
    "pandas": (("results",), "hand a results.tables.Table to hostsim.results.frames"),
    "polars": (("results",), "hand a results.tables.Table to hostsim.results.frames"),
}  # fmt: skip

LAZY = {
    "qemu": "an extra: import it in the function that needs it, raise MissingExtraError without it",
    "jinja2": "an extra: import it in the function that needs it, raise MissingExtraError without it",
    "pyarrow": "an extra: import it in the function that needs it, raise MissingExtraError without it",
    "matplotlib": "an extra: import it in the function that needs it, raise MissingExtraError without it",
    "scipy": "an extra: import it in the function that needs it, raise MissingExtraError without it",
    "perfetto": "an extra: import it in the function that needs it, raise MissingExtraError without it",
    "distributed": "an extra: import it in the function that needs it, raise MissingExtraError without it",
    "cloudpickle": "an extra: import it in the function that needs it, raise MissingExtraError without it",
    "pandas": "an extra: import it in the function that needs it, raise MissingExtraError without it",
    "polars": "an extra: import it in the function that needs it, raise MissingExtraError without it",
}

DRAWING = ("hostsim/report/drawing.py", "hostsim/report/charts/pictures.py")
"""Modules that draw with matplotlib."""
JIT = "hostsim.compiled.jit"
NOT_BESIDE_LOOPS = ("simpy", "structlog", "pydantic")
"""A file of compiled loops knows no clock and no Python objects: it returns facts, and processes of the host wait."""


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


def room_of(module: str) -> str:
    """``qemu`` of ``hostsim.qemu.link``; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


def room_problems(source: Source) -> list[str]:
    """Imports of ``source`` from rooms after its own."""
    room = room_of(source.module)
    if not room:  # the facade stands above all rooms
        return []
    if room not in ROOMS:
        return [f"{source.path}: hostsim.{room} is no room; give it a place in tests/tidy/rooms.py"]
    inner = [i for i in imports(source) if i.target.startswith("hostsim.")]
    return [problem for i in inner if (problem := _upward(source, room, i))]


def _upward(source: Source, room: str, found: Import) -> str:
    target = room_of(found.target)
    where = f"{source.path}:{found.line}"
    if target not in ROOMS:
        return f"{where}: hostsim.{target} is no room; import it from the module that defines it"
    if ROOMS.index(target) <= ROOMS.index(room):
        return ""
    return (
        f"{where}: {room} imports {found.target}, a room after it. Take what you need as an argument, or move the caller "
        f"to {target}"
    )


def circles(package: tuple[Source, ...]) -> list[str]:
    """Modules that import each other, directly or by way of others, when they are loaded: one line a circle."""
    known = {source.module for source in package}
    graph = {source.module: loaded(source, known) for source in package}
    order: list[str] = []
    while graph:
        free = [module for module, targets in graph.items() if not targets & graph.keys()]
        if not free:
            return [f"{module} <- {', '.join(sorted(targets & graph.keys()))}" for module, targets in sorted(graph.items())]
        order += free
        graph = {module: targets for module, targets in graph.items() if module not in free}
    return []


def loaded(source: Source, known: set[str]) -> set[str]:
    """Modules of the package that loading ``source`` loads, as far as its own text says."""
    return _named(_top_level(source.tree.body), source, known)


def _named(body: Iterable[ast.stmt], source: Source, known: set[str]) -> set[str]:
    """Modules of ``known`` that imports among ``body`` name."""
    names = {name for i in _dotted_names(body) for name in (i, i.rpartition(".")[0]) if name in known}
    return {name for name in names if name != source.module and not source.module.startswith(f"{name}.")}


def _dotted_names(body: Iterable[ast.stmt]) -> Iterator[str]:
    """``a.b.c`` for ``from a.b import c`` and ``import a.b.c``."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


TYPED_CIRCLES = frozenset({
    "kvm.vcpu_times", "machine.plugged", "memory.fault_in", "qemu.mechanism",
    "qemu.mechanisms.auto_converge", "qemu.mechanisms.dirty_limit", "qemu.mechanisms.multifd", "qemu.mechanisms.postcopy",
    "qemu.parameters", "results.mechanism", "results.tables", "scenario.checkpoint_schema", "scenario.checks",
    "scenario.complete", "scenario.dirty_rate_schema", "scenario.host_schema", "scenario.mechanism",
    "scenario.mechanisms.dirty_limit", "scenario.mechanisms.multifd", "scenario.mechanisms.postcopy",
    "scenario.memory_checks", "scenario.plugged", "verdict.mechanism",
})  # fmt: skip
"""Modules of hostsim with an import for types that closes a circle, with its reason at the import. The list only shrinks."""
TYPED_REASON = "# Circle of types: "


def typed_circles(package: tuple[Source, ...]) -> list[str]:
    """Modules with an import under ``if TYPE_CHECKING`` of a module that imports them, directly or by way of others."""
    known = {source.module for source in package}
    typed = {source.module: _named(_for_types(source), source, known) for source in package}
    graph = {source.module: loaded(source, known) | typed[source.module] for source in package}
    return sorted(module for module in graph if any(module in _reached(graph, target) for target in typed[module]))


def _for_types(source: Source) -> Iterator[ast.stmt]:
    for node in source.tree.body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield from node.body


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    """``start``, and modules that it imports, directly or by way of others."""
    found: set[str] = set()
    todo = [start]
    while todo:
        module = todo.pop()
        if module not in found:
            found.add(module)
            todo += graph[module]
    return found


def loop_problems(source: Source) -> list[str]:
    """Third-party modules that do not belong beside compiled loops."""
    found = list(imports(source))
    if not any(i.target == JIT for i in found):
        return []
    return [
        f"{source.path}:{i.line}: {i.target} beside compiled loops: return facts, and wait or report in another file"
        for i in found
        if i.target.split(".")[0] in NOT_BESIDE_LOOPS
    ]


def drawing_problems(source: Source) -> list[str]:
    """Imports of matplotlib out of the modules that draw: each chart is described once, for the page and the picture."""
    if source.path in DRAWING:
        return []
    return [
        f"{source.path}:{found.line}: matplotlib beside {', '.join(DRAWING)}: describe a chart in hostsim/report/charts"
        for found in imports(source) if found.target.split(".")[0] == "matplotlib"
    ]  # fmt: skip


def third_party_problems(source: Source) -> list[str]:
    """Third-party imports of ``source`` out of their home, or too early."""
    room, problems = room_of(source.module), []
    for found in imports(source):
        top = found.target.split(".")[0]
        homes, instead = HOMES.get(top, ((room,), ""))
        if room not in homes:
            problems.append(f"{source.path}:{found.line}: {top} belongs in {', '.join(homes)}: {instead}")
        if top in LAZY and not found.lazy:
            problems.append(f"{source.path}:{found.line}: {top} at the top of a module: {LAZY[top]}")
    return problems
