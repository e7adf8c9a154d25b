"""The loops that a start has to compile, and the progress bar meanwhile."""

from __future__ import annotations

import ast
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hostsim import Scenario
from hostsim.compiled import code_store, compiling
from hostsim.compiled.compiling import KINDS, Loop, Standing, compiling_watched, loops_of, loops_to_compile
from hostsim.compiled.jit import jit
from hostsim.report import progress
from hostsim.report.progress import compile_bar, compiling_words
from hostsim.simulation import kinds_of
from hostsim.warm_up import SCENARIOS, warm_up
from tests.tidy.source import package_sources

EXPECTED = {"first": Loop(4.0, 0), "second": Loop(2.0, 3), "third": Loop(2.0, 0)}


def scenario(tracking: str, **more: object) -> Scenario:
    return Scenario.model_validate({"vm": {"memory": "16MiB", "dirty_tracking": tracking}, "migration": {}, **more})


@pytest.mark.parametrize(
    ("tracking", "more", "kinds"),
    [
        ("tcg", {}, ("migration",)),
        ("tcg", {"migration": {"postcopy_ram": True}}, ("migration", "postcopy")),
        ("clear-dirty-log", {}, ("migration", "kvm")),
        ("clear-dirty-log", {"ageing": {}}, ("migration", "kvm", "ageing")),
        ("get-dirty-log", {"host": {"memory": {"size": "12MiB", "swap": "nvme"}}}, ("migration", "kvm", "memory")),
    ],
)
def test_a_scenario_names_the_kinds_of_loops_it_needs(
    tracking: str, more: dict[str, object], kinds: tuple[str, ...]
) -> None:
    assert kinds_of(scenario(tracking, **more)) == kinds


def test_multifd_has_loops_of_its_own() -> None:
    assert kinds_of(scenario("tcg", migration={"multifd": True})) == ("migration", "multifd")


def test_every_kind_has_loops_that_exist_and_a_simulation_that_calls_them() -> None:
    functions = {node.name for one in package_sources() for node in ast.walk(one.tree) if isinstance(node, ast.FunctionDef)}
    assert set(SCENARIOS) == set(KINDS)
    for kind in KINDS:
        assert loops_of([kind])
        assert set(loops_of([kind])) <= functions
        assert all(Scenario.model_validate(table) for table in SCENARIOS[kind])


def test_warm_up_reclaims_and_leaves_no_loop_of_memory() -> None:
    warm_up(["memory"])
    assert loops_to_compile(["memory"]) == {}


def test_what_is_on_disk_is_not_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    monkeypatch.setattr(code_store, "cache_folder", lambda: tmp_path)
    assert "send_pages" in loops_to_compile(["migration"])
    (tmp_path / "hostsim.qemu.send.send_pages.0123.code").touch()
    assert "send_pages" not in loops_to_compile(["migration"])
    monkeypatch.setattr(code_store, "cache_folder", lambda: None)
    assert len(loops_to_compile(["migration"])) == len(loops_of(["migration"]))
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert loops_to_compile(["migration"]) == {}


def test_the_words_say_which_of_how_many_and_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(compiling.time, "monotonic", lambda: now_s)
    standing = Standing(EXPECTED)
    standing.begin("first")
    now_s += 12.0  # this machine takes three times as long
    standing.end()
    standing.begin("second")
    assert compiling_words(standing) == "compiling once, 2 of 3: second, about 12 s left"
    standing.parts = 2
    assert compiling_words(standing) == "compiling once, 2 of 3: second, about 9 s left"
    now_s += 1000.0
    assert standing.seconds_left() == pytest.approx((8 - 4 - 0.95 * 2) * 3)
    standing.end()
    standing.begin("a loop that was not expected")
    assert compiling_words(standing).startswith("compiling once, 3 of 4: a loop")
    assert standing.spent_s == 1012.0


def test_compiling_is_heard() -> None:
    told = []

    def twice(value: int) -> int:
        return 2 * value

    compiled: Any = jit(twice)
    compiled._cache.disable()
    with compiling_watched({}, lambda standing: told.append((standing.name, list(standing.done)))) as standing:
        assert compiled(21) == 42
    assert told == [("twice", []), ("", ["twice"])]
    assert standing.total == 1
    compiled(2.5)  # no listener is left
    assert len(told) == 2


@pytest.mark.parametrize(("is_terminal", "quiet"), [(True, False), (False, False), (True, True)])
def test_a_terminal_sees_what_is_compiled(monkeypatch: pytest.MonkeyPatch, is_terminal: bool, quiet: bool) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=is_terminal, width=80)
    monkeypatch.setattr(progress, "err_console", lambda: console)
    monkeypatch.setattr(progress, "err_console", lambda: console)

    def thrice(value: int) -> int:
        return 3 * value

    for shown in (lambda: compile_bar(EXPECTED, quiet=quiet), lambda: progress.run_progress(10**9, quiet=quiet)):
        compiled: Any = jit(thrice)
        compiled._cache.disable()
        with shown():
            assert compiled(14) == 42
    assert ("thrice" in screen.getvalue()) == (is_terminal and not quiet)
