"""What hostsim does faster in numba gives numba's own answers."""

from __future__ import annotations

import operator
from typing import Any

import pytest
from numba.core import event, ir, targetconfig

from hostsim.compiled.lighter import LOCK_EVENT, lighten

_ir: Any = ir
_event: Any = event
WHERE = _ir.Loc("here.py", 1)


def variable(name: str) -> Any:
    return _ir.Var(None, name, WHERE)


A, B, C = variable("a"), variable("b"), variable("c")
STATEMENTS = {
    "sum": _ir.Assign(_ir.Expr.binop(operator.add, A, B, WHERE), C, WHERE),
    "call": _ir.Assign(_ir.Expr.call(A, (B, C), (("k", A),), WHERE), C, WHERE),
    "tuple": _ir.Assign(_ir.Expr.build_tuple([A, B], WHERE), C, WHERE),
    "constant": _ir.Assign(_ir.Const(3, WHERE), C, WHERE),
    "branch": _ir.Branch(A, 1, 2, WHERE),
    "store": _ir.SetItem(A, B, C, WHERE),
}
EXPECTED = {"sum": "cab", "call": "cabca", "tuple": "cab", "constant": "c", "branch": "a", "store": "abc"}


@pytest.mark.parametrize("name", STATEMENTS)
def test_the_variables_of_a_statement_are_those_that_numba_lists(name: str) -> None:
    lighten()
    assert sorted(one.name for one in STATEMENTS[name].list_vars()) == sorted(EXPECTED[name])


def test_options_that_are_not_set_have_their_defaults() -> None:
    class Config(targetconfig.TargetConfig):  # type: ignore[misc]
        speed = targetconfig.Option(type=int, default=3, doc="")
        name = targetconfig.Option(type=str, default="none", doc="")

    lighten()
    config = Config()
    config.speed = 4
    assert config.values() == {"speed": 4, "name": "none"}
    assert config == config.copy()
    assert config != Config()


def test_calls_of_llvm_make_no_events_and_compiling_does() -> None:
    lighten()
    with _event.install_recorder(LOCK_EVENT) as locks, _event.install_recorder("numba:compile") as compiles:
        for kind in (LOCK_EVENT, "numba:compile"):
            _event.start_event(kind)
            _event.end_event(kind)
    assert (len(locks.buffer), len(compiles.buffer)) == (0, 2)
