"""Calls whose target is compiled when the call is first made, and not with the function that makes it.

numba compiles a function together with all functions that it may call. A function that a guest with 4 KiB pages, or a link
without faults, never reaches would be typed, optimised and emitted all the same, and once more in each of its callers. The
call of a late function reads an address from a word beside the call. At first that is the address of a stub, which compiles
the function, or reads it from disk, and sets the word. Functions that each exit calls are not late: a late call takes 1 to
2 ns, and nothing is inlined.
"""

from __future__ import annotations

import _thread
import ctypes
import hashlib
import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import llvmlite.binding  # type: ignore[import-untyped]
import numba
import numba.core.cgutils
import numba.core.typing
import numba.extending
from llvmlite import ir

from hostsim.compiled.code_store import code_files

_numba: Any = numba
_types: Any = _numba.types
_cgutils: Any = _numba.core.cgutils
_typing: Any = _numba.core.typing
_BYTES = ir.IntType(8).as_pointer()
_BIND = "hostsim_bind_late"
"""Symbol of ``_bind`` in machine code."""
_MARK = b"hostsim late call "
"""Begins the words from which ``_bind`` learns the function, so that they are found in files of machine code, too."""
_LENGTH_BYTES = 4
_RETURNED = {"int": _types.int64, "bool": _types.boolean, "float": _types.float64, "None": _types.none}

Call = tuple[str, str, tuple[Any, ...]]
"""Module and name of a function, and numba's types of its arguments."""


def make_late(compiled: Any, plain: Callable[[Any], Any]) -> None:
    """Let compiled functions call dispatcher ``compiled`` late.

    plain: type of an argument to the type that the function is compiled for. KeyError if the annotation of the result is not
    int, bool, float or None, by which callers are typed.
    """
    function = compiled.py_func
    result = _RETURNED[function.__annotations__["return"]]

    def get_call_template(args: Any, kws: Any) -> Any:
        pysig, folded = compiled.fold_argument_types(args, kws)
        signature = _typing.signature(result, *map(plain, folded))
        return _typing.make_concrete_template(function.__name__, function.__name__, [signature]), pysig, folded, {}

    def get_overload(signature: Any) -> Any:
        return _caller(_packed((function.__module__, function.__name__, tuple(signature))), tuple(signature))

    callers: dict[bytes, Any] = {}

    def _caller(packed: bytes, types: tuple[Any, ...]) -> Any:
        if packed not in callers:
            callers[packed] = _lowered(packed)
            _numba.extending.lower_builtin(callers[packed], *types)(callers[packed])
        return callers[packed]

    compiled.get_call_template, compiled.get_overload = get_call_template, get_overload


def kept_calls() -> Iterator[Call]:
    """The late calls in all machine code on disk; those of modules that are here no more are left out."""
    for path in code_files():
        with suppress(OSError):  # another process has just replaced it
            content = path.read_bytes()
            for piece in content.split(_MARK)[1:]:
                length = int.from_bytes(piece[:_LENGTH_BYTES], "little")
                call: Call = pickle.loads(piece[_LENGTH_BYTES : _LENGTH_BYTES + length])  # noqa: S301  # the user's own folder
                if find_spec(call[0]) is not None:
                    yield call


def compile_call(call: Call) -> int:
    """Address of the machine code that ``call`` reaches, compiled now unless it has been. TypeError: a wrong annotation."""
    module, name, types = call
    compiled: Any = getattr(import_module(module), name)
    compiled.compile(types)
    found = compiled.overloads[types]
    wanted = _RETURNED[compiled.py_func.__annotations__["return"]]
    if found.signature.return_type != wanted:
        message = f"{module}.{name} returns {found.signature.return_type}, its annotation says {wanted}"
        raise TypeError(message)
    return int(found.library.get_pointer_to_function(found.fndesc.llvm_func_name))


def _packed(call: Call) -> bytes:
    content = pickle.dumps(call)
    return _MARK + len(content).to_bytes(_LENGTH_BYTES, "little") + content


def _lowered(packed: bytes) -> Any:
    """The generator that numba runs for a call of the function in ``packed``."""

    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        convention = context.call_conv
        door = _door(context, builder.module, convention.get_function_type(signature.return_type, signature.args), packed)
        result, error = (_room(builder, place.type.pointee) for place in door.args[:2])
        given = context.get_arg_packer(signature.args).as_arguments(builder, arguments)
        code = builder.call(door, [result, error, *given])
        status = convention._get_return_status(builder, code, builder.load(error))  # noqa: SLF001  # as of ``call_function``
        with _cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return context.get_returned_value(builder, signature.return_type, builder.load(result))

    return generated


def _room(builder: Any, kind: Any) -> Any:
    """A word on the stack that the call fills: numba's own are filled with zeros in every exit, called or not."""
    with builder.goto_entry_block():
        return builder.alloca(kind)


def _door(context: Any, module: Any, kind: Any, packed: bytes) -> Any:
    """The function of ``module`` through which its late calls go.

    It is cold, so that LLVM takes the way around a call for the usual one, and moves values to the stack on the other.
    """
    name = f"hostsim.late.{hashlib.sha256(packed).hexdigest()[:16]}"
    if f"{name}.door" in module.globals:
        return module.globals[f"{name}.door"]
    door = ir.Function(module, kind, f"{name}.door")
    door.linkage = "internal"
    door.attributes.add("noinline")
    door.attributes.add("cold")
    builder = ir.IRBuilder(door.append_basic_block())
    slot = _slot(context, module, kind, packed, name)
    builder.ret(builder.call(builder.load(slot), door.args, tail=True))
    return door


def _slot(context: Any, module: Any, kind: Any, packed: bytes, name: str) -> Any:
    """The word beside the door: until it is bound, the address of a stub that binds it."""
    slot = ir.GlobalVariable(module, kind.as_pointer(), name)
    slot.linkage, slot.initializer = "internal", _stub(context, module, kind, packed, slot)
    return slot


def _stub(context: Any, module: Any, kind: Any, packed: bytes, slot: Any) -> Any:
    """A function that binds ``slot`` and makes the call. RuntimeError if the function cannot be compiled."""
    stub = ir.Function(module, kind, f"{slot.name}.stub")
    stub.linkage = "internal"
    stub.attributes.add("noinline")
    builder = ir.IRBuilder(stub.append_basic_block())
    words = context.insert_const_bytes(module, packed, slot.name)
    bind = _cgutils.get_or_insert_function(module, ir.FunctionType(ir.VoidType(), [_BYTES, _BYTES]), _BIND)
    builder.call(bind, [builder.bitcast(slot, _BYTES), words])
    bound = builder.load(slot)
    with _cgutils.if_unlikely(builder, builder.icmp_unsigned("==", bound, stub)):
        context.call_conv.return_user_exc(builder, RuntimeError, ("a loop could not be compiled",))
    builder.ret(builder.call(bound, stub.args))
    return stub


def _bind(slot: int, words: int) -> None:
    """Set the word at ``slot`` to the address of the function that is described at ``words``."""
    begin = words + len(_MARK)
    length = int.from_bytes(ctypes.string_at(begin, _LENGTH_BYTES), "little")
    try:
        call = pickle.loads(ctypes.string_at(begin + _LENGTH_BYTES, length))  # noqa: S301  # written by ``_packed``
        ctypes.c_int64.from_address(slot).value = compile_call(call)
    except KeyboardInterrupt:
        # No error passes through machine code: the caller raises RuntimeError, and Python this one before it goes on.
        _thread.interrupt_main()


_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(_bind)
llvmlite.binding.add_symbol(_BIND, ctypes.cast(_CALLBACK, ctypes.c_void_p).value)
