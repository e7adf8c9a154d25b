"""A loop of atomic additions. Compiled loops of hostsim have no atomics, so this one is built by llvmlite itself."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

NAME = "add_atomically"


def atomic_adder() -> Callable[[int], object] | None:
    """``run(n)``: n atomic additions to one word. None where it cannot be built: then its cost is assumed."""
    try:
        from llvmlite import binding, ir  # type: ignore[import-untyped]

        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        machine = binding.Target.from_default_triple().create_target_machine(opt=2)
        module = binding.parse_assembly(_text(ir))
        engine = binding.create_mcjit_compiler(module, machine)
        engine.finalize_object()
        address = engine.get_function_address(NAME)
    except Exception:  # noqa: BLE001  whatever another version of llvmlite raises, there is just no such loop
        return None
    word = ctypes.c_int64(0)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address)

    def run(n: int) -> object:
        call(ctypes.addressof(word), n)
        return engine  # the machine code lives as long as the engine

    return run


def _text(ir: Any) -> str:
    """LLVM's text of: do { atomic *word += 1 } while (++i < n)."""
    word, nothing = ir.IntType(64), ir.VoidType()
    module = ir.Module(NAME)
    function = ir.Function(module, ir.FunctionType(nothing, [word.as_pointer(), word]), NAME)
    entry, loop, end = (function.append_basic_block(name) for name in ("entry", "loop", "end"))
    ir.IRBuilder(entry).branch(loop)
    builder = ir.IRBuilder(loop)
    at = builder.phi(word)
    builder.atomic_rmw("add", function.args[0], ir.Constant(word, 1), "seq_cst")
    after = builder.add(at, ir.Constant(word, 1))
    at.add_incoming(ir.Constant(word, 0), entry)
    at.add_incoming(after, loop)
    builder.cbranch(builder.icmp_signed("<", after, function.args[1]), loop, end)
    ir.IRBuilder(end).ret_void()
    return str(module)
