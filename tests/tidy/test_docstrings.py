"""Every public name has a docstring."""

from __future__ import annotations

import ast

import pytest

from tests.tidy.source import Source, package_sources, report, source_of


def docstring_problems(source: Source) -> list[str]:
    named = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    public = [n for n in source.tree.body if isinstance(n, named) and not n.name.startswith("_")]
    problems = [
        f"{source.path}:{n.lineno}: {n.name} has no docstring: one line, then units, errors, source"
        for n in public
        if not ast.get_docstring(n)
    ]
    if source.tree.body and not ast.get_docstring(source.tree):
        problems.append(f"{source.path}: no module docstring: one line, the concept this file holds")
    return problems


def test_public_names_have_docstrings() -> None:
    report([problem for source in package_sources() for problem in docstring_problems(source)])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('"""Doc."""\ndef f():\n    return 1', 1),
        ('"""Doc."""\nclass C:\n    x = 1', 1),
        ("x = 1", 1),
        ('"""Doc."""\ndef _f():\n    return 1', 0),
        ('"""Doc."""\ndef f():\n    """Doc."""', 0),
        ("", 0),
    ],
)
def test_a_missing_docstring_is_found(text: str, found: int) -> None:
    assert len(docstring_problems(source_of(text))) == found
