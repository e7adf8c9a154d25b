"""Small pieces: files one reads at a sitting, functions one sees at a glance."""

from __future__ import annotations

import ast
from statistics import median

import pytest

from tests.tidy.source import Source, functions, package_sources, report, source_of, sources

FILE_LINES_MAX = 500
BODY_LINES_MAX = 65
BODY_LINES_MEDIAN_MAX = 5


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the first statement after the docstring to the last."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def size_problems(source: Source) -> list[str]:
    lines = len(source.text.splitlines())
    problems = [f"{source.path}: {lines} lines, at most {FILE_LINES_MAX}: split it by concept"]
    problems = problems if lines > FILE_LINES_MAX else []
    advice = f"at most {BODY_LINES_MAX}: name its parts"
    long = [f for f in functions(source.tree) if body_lines(f) > BODY_LINES_MAX]
    return problems + [
        f"{source.path}:{f.lineno}: {f.name} has {body_lines(f)} lines, {advice}" for f in long
    ]


def test_files_and_functions_are_small() -> None:
    report([problem for source in sources() for problem in size_problems(source)])


def test_the_median_function_is_a_few_lines() -> None:
    sizes = [body_lines(f) for source in package_sources() for f in functions(source.tree)]
    assert median(sizes) <= BODY_LINES_MEDIAN_MAX


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x = 1\n" * 501, 1),
        ("x = 1\n" * 500, 0),
        ("def f():\n" + "    x = 1\n" * 66, 1),
        ('def f():\n    """Doc."""\n' + "    x = 1\n" * 65, 0),
    ],
)
def test_a_large_piece_is_found(text: str, found: int) -> None:
    assert len(size_problems(source_of(text))) == found
