"""The tree as the tidy tests see it: parsed modules, and the text files that belong to the project."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE_FOLDERS = ("hostsim", "tests", "benchmarks", "docs", "scenarios")
TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".cfg", ".yml", ".json", ".csv", ""}
TOP_FILES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "Makefile", "pyproject.toml", ".ci/run")


@dataclass(frozen=True)
class Source:
    """One Python file: its path below the root, its text, its tree."""

    path: str
    text: str
    tree: ast.Module

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All of the tree."""
        return tuple(ast.walk(self.tree))

    @property
    def module(self) -> str:
        """Dotted name, packages without ``__init__``."""
        parts = Path(self.path).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def in_package(self) -> bool:
        return self.path.startswith("hostsim/")


def source_of(text: str, path: str = "hostsim/host/sample.py") -> Source:
    """A source from text alone: how the checks are themselves checked."""
    return Source(path, text, ast.parse(text))


@cache
def sources() -> tuple[Source, ...]:
    """Every Python file of the project."""
    return tuple(sorted((s for folder in CODE_FOLDERS for s in _sources_in(folder)), key=lambda s: Path(s.path)))


def package_sources() -> tuple[Source, ...]:
    return _sources_in("hostsim")


@cache
def _sources_in(folder: str) -> tuple[Source, ...]:
    found = sorted((ROOT / folder).rglob("*.py"))
    return tuple(source_of(p.read_text(), str(p.relative_to(ROOT))) for p in found)


@cache
def texts() -> tuple[tuple[str, str], ...]:
    """(path, text) of every text file of the project, code, docs and data alike."""
    below = [p for folder in CODE_FOLDERS for p in sorted((ROOT / folder).rglob("*"))]
    files = [p for p in [*below, *(ROOT / name for name in TOP_FILES)] if _is_text(p)]
    return tuple((str(p.relative_to(ROOT)), p.read_text()) for p in files)


def _is_text(path: Path) -> bool:
    if not path.is_file() or "__pycache__" in path.parts or path.suffix not in TEXT_SUFFIXES:
        return False
    return b"\0" not in path.read_bytes() and _decodes(path)


def _decodes(path: Path) -> bool:
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:  # a malformed input kept as test data
        return False
    return True


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def dotted(node: ast.expr) -> str:
    """``a.b.c`` of a name or attribute chain, empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := dotted(node.value)):
        return f"{base}.{node.attr}"
    return ""


def report(problems: list[str]) -> None:
    """Fail with all problems, one a line."""
    assert not problems, "\n" + "\n".join(problems)
