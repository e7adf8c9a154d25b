"""Calls whose target is compiled when the call is first made, and not with the function that makes it.

numba compiles a function together with all that it may call. What a guest with 4 KiB pages, or a link without faults, never
reaches is then typed, optimised and emitted all the same, and once more in each of its callers. The call of a late function
reads an address from a word beside it. The word is 0 until the first call, which compiles the function, or reads it from
disk. Measured: an address costs a call 1 to 2 ns, so functions of each exit are not late.
"""

from __future__ import annotations

import _thread
import ctypes
import hashlib
import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
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
_WORD = ir.IntType(64)
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

    plain: type of an argument to the type that the function is compiled for. The annotation of the result has to be int, bool,
    float or None: callers are typed by it.
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
    """The late calls in all machine code on disk."""
    for path in code_files():
        with suppress(OSError):  # another process has just replaced it
            content = path.read_bytes()
            for piece in content.split(_MARK)[1:]:
                length = int.from_bytes(piece[:_LENGTH_BYTES], "little")
                yield pickle.loads(piece[_LENGTH_BYTES : _LENGTH_BYTES + length])  # noqa: S301  # the user's own folder


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
    """What numba calls to generate a call of the function in ``packed``."""

    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        convention, types = context.call_conv, signature.args
        kind = convention.get_function_type(signature.return_type, types)
        function = builder.inttoptr(_address(context, builder, packed), kind.as_pointer())
        status, result = convention.call_function(builder, function, signature.return_type, types, arguments)
        with _cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return result

    return generated


def _address(context: Any, builder: Any, packed: bytes) -> Any:
    """The word beside the call, bound if it is 0; the caller raises RuntimeError if it cannot be bound."""
    module = builder.module
    name = f"hostsim.late.{hashlib.sha256(packed).hexdigest()[:16]}"
    slot = module.globals.get(name)
    if slot is None:
        slot = ir.GlobalVariable(module, _WORD, name)
        slot.linkage, slot.initializer = "internal", ir.Constant(_WORD, 0)
    with _cgutils.if_unlikely(builder, _cgutils.is_null(builder, builder.load(slot))):
        words = context.insert_const_bytes(module, packed, name)
        kind = ir.FunctionType(ir.VoidType(), [_WORD.as_pointer(), _BYTES])
        builder.call(_cgutils.get_or_insert_function(module, kind, _BIND), [slot, words])
        with _cgutils.if_unlikely(builder, _cgutils.is_null(builder, builder.load(slot))):
            context.call_conv.return_user_exc(builder, RuntimeError, ("a loop could not be compiled",))
    return builder.load(slot)


@ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
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


llvmlite.binding.add_symbol(_BIND, ctypes.cast(_bind, ctypes.c_void_p).value)
