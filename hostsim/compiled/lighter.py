"""Seven steps that numba repeats while it compiles a first run, done faster. The answers are equal.

numba lists the variables of an instruction by looking through all its attributes. It makes two events of each call of LLVM
for timers that hostsim never reads. It reads the options of the compiler one by one through properties. It computes the
lifetimes of variables after eight passes of each function, where the last pass alone reads them. And ten times a function it
loads new entries of its registries, of which there are mostly none. It has LLVM read a module for each size of a type, and
reads the signature of each generator of code at each call.
"""

from __future__ import annotations

from functools import cache
from typing import Any

LOCK_EVENT = "numba:llvm_lock"


@cache
def lighten() -> None:
    """Put the faster ones into numba, before the first function is compiled."""
    from numba.core import base, event, ir, postproc, targetconfig

    _list_variables(ir)
    _leave_out_lock_events(event)
    _read_options_at_once(targetconfig)
    _look_for_lives_once(postproc)
    _load_what_is_new(base)
    _measure_types_once(base)
    _read_signatures_once(base)


def _list_variables(numba_ir: Any) -> None:
    variable, instruction, whole = numba_ir.Var, numba_ir.Inst, numba_ir.Inst._rec_list_vars  # noqa: SLF001  # private
    leaves = frozenset({str, int, float, bool, type(None), numba_ir.Loc, numba_ir.Const, numba_ir.Global, numba_ir.FreeVar})

    def listed(self: Any, value: Any) -> list[Any]:
        kind = type(value)
        if kind is variable:
            return [value]
        if kind in leaves:
            return []
        if kind is not dict and kind is not tuple and kind is not list:
            return whole(self, value)  # type: ignore[no-any-return]
        found: list[Any] = []
        for part in value.values() if kind is dict else value:
            kind = type(part)
            if kind is variable:
                found.append(part)
            elif kind not in leaves:
                found += part.list_vars() if isinstance(part, instruction) else listed(self, part)
        return found

    instruction._rec_list_vars = listed  # noqa: SLF001


def _leave_out_lock_events(event: Any) -> None:
    for name in ("start_event", "end_event"):
        setattr(event, name, _but_for_locks(getattr(event, name)))


def _but_for_locks(tell: Any) -> Any:
    def but_locks(kind: str, *rest: Any, **more: Any) -> None:
        if kind != LOCK_EVENT:
            tell(kind, *rest, **more)

    return but_locks


def _read_options_at_once(targetconfig: Any) -> None:
    defaults: dict[Any, dict[str, Any]] = {}

    def values(self: Any) -> dict[str, Any]:
        kind = type(self)
        if kind not in defaults:
            defaults[kind] = {name: option.default for name, option in kind.options.items()}
        return {**defaults[kind], **self._values}

    targetconfig.TargetConfig.values = values


def _look_for_lives_once(postproc: Any) -> None:
    whole, lifetime, canonical = postproc.PostProcessor.run, postproc.VariableLifetime, postproc.transforms.canonicalize_cfg

    def run(self: Any, emit_dels: bool = False, extend_lifetimes: bool = False) -> None:  # numba's own signature
        if emit_dels or self.func_ir.is_generator:
            whole(self, emit_dels, extend_lifetimes)
            return
        self.func_ir.blocks = canonical(self.func_ir.blocks)
        self.func_ir.variable_lifetime = lifetime(self.func_ir.blocks)  # its parts are computed when they are read
        self.func_ir.generator_info = None

    postproc.PostProcessor.run = run


def _load_what_is_new(base: Any) -> None:
    whole = base.BaseContext.refresh

    def refresh(self: Any) -> None:
        registered = _registered(self)  # read before: entries that are registered meanwhile are loaded the next time
        if getattr(self, "hostsim_registered", None) != registered:
            whole(self)
            self.hostsim_registered = registered

    base.BaseContext.refresh = refresh


def _registered(context: Any) -> int:
    """Number of entries in all registries of a target context and of its typing context."""
    registries = (*context._registries, *context.typing_context._registries)  # noqa: SLF001  # private
    return sum(len(entries) for one in registries for entries in vars(one).values() if isinstance(entries, list))


def _measure_types_once(base: Any) -> None:
    whole = base.BaseContext.get_abi_sizeof
    sizes: dict[tuple[Any, str], int] = {}

    def get_abi_sizeof(self: Any, ty: Any) -> int:
        key = self, str(ty)
        if key not in sizes:
            sizes[key] = whole(self, ty)
        return sizes[key]

    base.BaseContext.get_abi_sizeof = get_abi_sizeof


def _read_signatures_once(base: Any) -> None:
    base._has_loc = cache(base._has_loc)  # noqa: SLF001  # private
