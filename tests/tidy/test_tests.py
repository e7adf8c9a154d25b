"""Tests can fail, and none is skipped but those that need what a machine may not have."""

from __future__ import annotations

import ast

import pytest

from tests.tidy.source import Source, dotted, functions, report, source_of, sources

SKIPS = {f"pytest.{name}" for name in ("skip", "xfail", "importorskip")}
SKIPS |= {f"pytest.mark.{name}" for name in ("skip", "skipif", "xfail")}
MAY_SKIP = ("tests/helpers/needs.py",)
"""The one place that skips, each time with its reason: /dev/kvm, QEMU and nasm are not on every machine."""
CHECKING_PREFIXES = ("assert_", "check_", "expect_", "report")


def skip_problems(source: Source) -> list[str]:
    if source.path in MAY_SKIP:
        return []
    used = [n for n in ast.walk(source.tree) if isinstance(n, ast.Attribute) and dotted(n) in SKIPS]
    return [f"{source.path}:{n.lineno}: {dotted(n)}: make it run, or remove it" for n in used]


def toothless_problems(source: Source) -> list[str]:
    tests = [f for f in functions(source.tree) if f.name.startswith("test_")]
    return [
        f"{source.path}:{f.lineno}: {f.name} cannot fail: assert something" for f in tests if not _can_fail(f)
    ]


def _can_fail(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(_is_check(node) for node in ast.walk(function))


def _is_check(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert):
        return not isinstance(node.test, ast.Constant)
    if isinstance(node, ast.Call):
        name = dotted(node.func).split(".")[-1]
        return name == "raises" or name.startswith(CHECKING_PREFIXES)
    return isinstance(node, ast.Try)  # a fuzz test that lets one error pass, and no other


def test_no_test_is_skipped() -> None:
    report([problem for source in sources() for problem in skip_problems(source)])


def test_every_test_can_fail() -> None:
    of_tests = [source for source in sources() if source.path.startswith("tests/")]
    report([problem for source in of_tests for problem in toothless_problems(source)])


@pytest.mark.parametrize("text", ["def test_x():\n    run()", "def test_x():\n    assert True"])
def test_a_test_that_cannot_fail_is_found(text: str) -> None:
    assert len(toothless_problems(source_of(text, "tests/unit/test_x.py"))) == 1


def test_only_the_list_of_needs_may_skip() -> None:
    text = "import pytest\nneeds_kvm = pytest.mark.skipif(True, reason='no /dev/kvm')"
    assert [len(skip_problems(source_of(text, path))) for path in (*MAY_SKIP, "tests/unit/test_x.py")] == [0, 1]


def test_a_skip_is_found() -> None:
    text = "import pytest\n@pytest.mark.skip\ndef test_x():\n    assert 1 + 1 == 2"
    assert len(skip_problems(source_of(text))) == 1
