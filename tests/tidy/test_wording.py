"""Wording: see wording.py."""

from __future__ import annotations

import pytest

from tests.tidy.source import report, texts
from tests.tidy.wording import OWN_FILES, wording_problems


def test_the_text_speaks_of_the_program_alone() -> None:
    checked = [(path, text) for path, text in texts() if path not in OWN_FILES]
    report([problem for path, text in checked for problem in wording_problems(path, text)])


@pytest.mark.parametrize(
    "line",
    [
        "# TODO later",
        "x = open('/home/someone/trace.csv')",
        "see ../shared/facts",
        "added as requested",
        "implements issue 12",
        "a lock for which nobody waits",
    ],
)
def test_a_line_that_breaks_a_rule_is_found(line: str) -> None:
    assert len(wording_problems("sample.py", line)) == 1


@pytest.mark.parametrize(
    "line", ["the migration thread sends promptly", "QEMU issue 1200 of its tracker", "out/run.json"]
)
def test_plain_text_is_fine(line: str) -> None:
    assert wording_problems("sample.md", line) == []
