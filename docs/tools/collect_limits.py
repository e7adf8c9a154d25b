"""Write docs/background/model-limits.md from the `# Model limit:` comments; `--check` only compares."""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from written import write_or_compare

from hostsim.scenario.unmodelled import limit_lines

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "background" / "model-limits.md"
MARK = "# Model limit:"
UNMODELLED = """
## Mechanisms that are not modelled yet

What QEMU can do and a scenario cannot ask for; a key of that name is refused.
"""
HEADER = """\
# Model limits

This page lists where hostsim differs from QEMU and KVM: first mechanisms that it does not model, then deviations of those
that it does, by the part of the model. The file behind a deviation holds it as a `# Model limit:` comment. `make docs`
writes this page from those comments and from `hostsim/scenario/unmodelled.py`.
"""
PARTS = {
    "qemu": "Migration: QEMU", "kvm": "The shadow MMU, the dirty log and the TLB: KVM", "spte_index": "Indexes of sptes",
    "memory": "Memory of the host: reclaim, swap, ageing", "machine": "Hosts put together", "guest": "Guests",
    "costs": "Costs of exits, locks and flushes", "theory": "Closed forms", "study": "Studies and forecasts",
    "scenario": "Scenarios", "results": "Results", "fitting": "Guests fitted to logs", "verdict": "Verdicts",
    "measure": "Measurements", "validation": "Validation",
}  # fmt: skip
"""Headings by the room of the package, in the order of the page; a room without one comes last, by its name."""


@dataclass(frozen=True)
class Limit:
    """One deviation: its place in the code, and its text."""

    place: str
    text: str


def limits_of(path: Path, root: Path = ROOT) -> Iterator[Limit]:
    """Limits of one file, in order, from comments and docstrings; each goes on over the next lines."""
    source = path.read_text(encoding="utf-8")
    if MARK not in source:
        return
    scopes = _scopes(ast.parse(source))
    name = path.relative_to(root).as_posix()
    lines = [line.strip() for line in source.splitlines()]
    comments = _comment_lines(source)
    for number in (n for n, line in enumerate(lines) if line.startswith(MARK)):
        goes_on = _comment_goes_on if number in comments else _docstring_goes_on
        words = [lines[number].removeprefix(MARK), *takewhile(goes_on, lines[number + 1 :])]
        text = " ".join(word.removeprefix("#").removesuffix('"""').strip() for word in words)
        scope = _scope_at(scopes, number + 1)
        yield Limit(f"{name}::{scope}" if scope else name, text.strip())


def _comment_lines(source: str) -> set[int]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0] - 1 for t in tokens if t.type == tokenize.COMMENT}


def _comment_goes_on(line: str) -> bool:
    return line.startswith("#") and not line.startswith(MARK)


def _docstring_goes_on(line: str) -> bool:
    return line not in {"", '"""'} and not line.startswith(MARK)


def _scopes(tree: ast.Module) -> list[tuple[int, int, str]]:
    named = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [(n.lineno, n.end_lineno or n.lineno, n.name) for n in ast.walk(tree) if isinstance(n, named)]


def _scope_at(scopes: list[tuple[int, int, str]], line: int) -> str:
    around = sorted(scope for scope in scopes if scope[0] <= line <= scope[1])
    return ".".join(name for _, _, name in around)


def page(package: Path = ROOT / "hostsim", root: Path = ROOT) -> str:
    """Return the whole page."""
    by_part: dict[str, list[str]] = {heading: [] for heading in PARTS.values()}
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parts[0]
        for limit in limits_of(path, root):
            by_part.setdefault(PARTS.get(room, room), []).append(f"- {limit.text}\n  (`{limit.place}`)")
    parts = ["\n".join([f"## {heading}", "", *entries]) for heading, entries in by_part.items() if entries]
    return "\n\n".join([HEADER + "\n".join([UNMODELLED, *limit_lines()]), *parts]) + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` return 1 if it is out of date."""
    return write_or_compare(PAGE, page(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
