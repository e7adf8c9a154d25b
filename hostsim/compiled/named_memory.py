"""Loads and stores that name the memory they touch, as a compiler of C names it by types.

numba names none, so that LLVM takes every store for one that may change each value read before, and reads it again. A name
is that of a field of a record, or of the type of an array's elements, and no memory has two. A load or store of an ordinary
array has none: LLVM assumes that it may touch all memory. Measured: a walk under KVM takes 0.96 of the time.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]

_ROOT = "hostsim"


def load(context: Any, builder: Any, typ: Any, place: Any, name: str) -> Any:
    """The value of type ``typ`` at ``place``, memory of ``name``."""
    loaded = builder.load(place)
    loaded.set_metadata("tbaa", _tag(builder.module, name))
    return context.data_model_manager[typ].from_data(builder, loaded)


def store(context: Any, builder: Any, typ: Any, value: Any, place: Any, name: str) -> None:
    """Put ``value`` of type ``typ`` at ``place``, memory of ``name``."""
    stored = builder.store(context.data_model_manager[typ].as_data(builder, value), place)
    stored.set_metadata("tbaa", _tag(builder.module, name))


def _tag(module: Any, name: str) -> Any:
    start = ir.Constant(ir.IntType(64), 0)
    kind = module.add_metadata([name, module.add_metadata([_ROOT]), start])
    return module.add_metadata([kind, kind, start])
