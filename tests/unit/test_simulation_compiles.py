"""Whether a start has to compile first: what is in the cache of machine code tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostsim import Scenario, simulation

pytestmark = pytest.mark.quick


def scenario(tracking: str, **more: object) -> Scenario:
    return Scenario.model_validate({"vm": {"memory": "16MiB", "dirty_tracking": tracking}, "migration": {}, **more})


@pytest.mark.parametrize(
    ("tracking", "more", "loop"),
    [
        ("tcg", {}, "send_pages"),
        ("clear-dirty-log", {}, "run_vcpus"),
        ("clear-dirty-log", {"ageing": {}}, "run_with_walkers"),
        ("get-dirty-log", {"host": {"memory": {"size": "12MiB", "swap": "nvme"}}}, "run_with_walkers"),
    ],
)
def test_the_cache_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracking: str, more: dict[str, object], loop: str
) -> None:
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    monkeypatch.setattr(simulation, "cache_folder", lambda: tmp_path)
    assert simulation.compiles_first(scenario(tracking, **more))
    (tmp_path / "kernels_1").mkdir()
    (tmp_path / "kernels_1" / f"run.{loop}-24.py311.nbi").touch()
    assert not simulation.compiles_first(scenario(tracking, **more))


def test_without_a_cache_every_start_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    monkeypatch.setattr(simulation, "cache_folder", lambda: None)
    assert simulation.compiles_first(scenario("tcg"))


def test_plain_python_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert not simulation.compiles_first(scenario("tcg"))
