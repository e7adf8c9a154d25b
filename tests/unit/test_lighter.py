"""The steps of numba that hostsim does faster give numba's own answers."""

from __future__ import annotations

import operator
from typing import Any

import numba
import numba.extending
import pytest
from numba.core import base, compiler, event, ir, postproc, targetconfig
from numba.core.registry import cpu_target

from hostsim.compiled.lighter import LOCK_EVENT, lighten

_ir: Any = ir
_event: Any = event
_compiler: Any = compiler
_postproc: Any = postproc
_context: Any = cpu_target.target_context
_extending: Any = numba.extending
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


def halves(n: int) -> int:
    """A loop whose variables die in it and after it."""
    found = 0
    while n > 1:
        rest = n % 2
        n = n // 2 + rest
        found += 1
    return found


def odd(n: int) -> Any:
    """A generator."""
    for i in range(n):
        yield 2 * i + 1


def test_the_lives_of_variables_are_there_when_they_are_read() -> None:
    lighten()
    code = _compiler.run_frontend(halves)
    _postproc.PostProcessor(code).run()
    between = code.variable_lifetime.livemap
    assert code.generator_info is None
    _postproc.PostProcessor(code).run(emit_dels=True)
    assert between == code.variable_lifetime.livemap
    assert set(code.blocks.values()) <= set(code.block_entry_vars)
    assert any(isinstance(one, _ir.Del) for block in code.blocks.values() for one in block.body)


def test_a_generator_knows_its_state() -> None:
    lighten()
    code = _compiler.run_frontend(odd)
    _postproc.PostProcessor(code).run()
    assert len(code.generator_info.yield_points) == 1


def test_what_registers_itself_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lighten()
    loaded: list[str] = []
    whole = type(_context).load_additional_registries
    monkeypatch.setattr(type(_context), "load_additional_registries", lambda self: (loaded.append(""), whole(self)))
    for _ in range(3):
        _context.refresh()
    settled = len(loaded)
    _context.refresh()
    assert len(loaded) == settled

    def made_up() -> None:
        """Has a lowering from now on."""

    _extending.lower_builtin(made_up)(lambda *_: None)
    _context.refresh()
    assert len(loaded) == settled + 1
    assert made_up in _context._defns
    assert base.BaseContext.refresh.__module__ == lighten.__module__


@pytest.mark.parametrize(("kind", "size"), [("int64", 8), ("uint16", 2), ("boolean", 1), ("complex128", 16)])
def test_the_size_of_a_type_is_asked_for_once(kind: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lighten()
    stored = _context.get_data_type(getattr(numba.types, kind))
    assert _context.get_abi_sizeof(stored) == size
    monkeypatch.setattr(type(stored), "get_abi_size", None)
    assert _context.get_abi_sizeof(stored) == size


def test_a_generator_is_asked_once_whether_it_takes_a_place() -> None:
    lighten()
    has_place: Any = base
    assert has_place._has_loc(lambda builder, loc=None: (builder, loc))
    assert not has_place._has_loc(lambda builder: builder)
