"""The page of predictions holds what its data holds."""

from __future__ import annotations

import importlib.util
import json
import statistics
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = ROOT / "docs" / "tools" / "write_predictions.py"
    spec = importlib.util.spec_from_file_location("write_predictions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
