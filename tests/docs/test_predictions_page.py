"""The page of predictions holds what its data holds."""

from __future__ import annotations

import json
import statistics
from types import ModuleType

import pytest

from tests.helpers.docs_tools import docs_tool


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return docs_tool("write_predictions")


def test_the_page_is_current(tool: ModuleType) -> None:
    assert tool.main(["--check"]) == 0, "run python docs/tools/write_predictions.py"


def test_predictions_of_guests_from_real_logs_are_near(tool: ModuleType) -> None:
    assert statistics.median(abs(row["error"]) for row in tool.pairs()) < 0.05


def test_the_database_is_predicted_within_a_tenth(tool: ModuleType) -> None:
    rows = [row for row in json.loads(tool.DATA.read_text(encoding="utf-8"))["postgres"] if "guest" in row]
    assert rows
    for row in rows:
        for name in ("total_s", "bytes"):
            told = row["figures"][name]
            assert told["mean"] == pytest.approx(told["real"], rel=0.10)
