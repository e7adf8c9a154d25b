"""Compiling ahead: the smallest simulation of each kind calls the loops that larger ones need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hostsim.compiled.code_store import is_kept
from hostsim.compiled.compiling import KINDS, loops_to_compile
from hostsim.scenario.mechanism import mechanisms

_UNIFORM = {"pattern": "uniform", "write_rate": "1000/s", "size": "1MiB"}
_LOADS = [
    {**_UNIFORM, "name": "paced"},
    {**_UNIFORM, "name": "drawn", "arrivals": "poisson"},
    {"pattern": "sequential", "write_rate": "1000/s", "size": "1MiB"},
    {"pattern": "zipf", "write_rate": "1000/s", "read_rate": "1000/s", "size": "1MiB"},
]
_SCANNED: dict[str, Any] = {"dirty_tracking": "clear-dirty-log"}
_SHORT: dict[str, Any] = {**_SCANNED, "workload": [*_LOADS, {**_UNIFORM, "name": "everything", "size": "14MiB"}]}
"""The guest touches pages that the host has swapped out, so that the host reclaims others."""


def _scenario(vm: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"duration": "3s", "vm": {"memory": "16MiB", "vcpus": 2, "workload": _LOADS, **vm}, **more}


SCENARIOS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "migration": (_scenario({}, migration={}),),
    **{one.name: (_scenario({}, migration=one.warm_up),) for one in mechanisms() if one.warm_up is not None},
    "kvm": tuple(
        _scenario({"dirty_tracking": tracking}, migration={})
        for tracking in ("clear-dirty-log", "get-dirty-log", "dirty-ring")
    ),
    "ageing": (_scenario(_SCANNED, ageing={"period": "500ms"}),),
    "memory": tuple(
        _scenario(_SHORT, host={"memory": {"size": "12MiB", "swap": "nvme", "policy": policy}})
        for policy in ("two-list", "mglru")
    ),
}  # fmt: skip


def warm_up(kinds: Iterable[str] = KINDS) -> list[str]:
    """Compile the loops that simulations of ``kinds`` need and the disk does not have; return those loops."""
    missing = []
    for kind in kinds:
        found = loops_to_compile([kind])
        if found:
            missing += list(found)
            _run(kind)
    return missing


def warm_up_late() -> list[str]:
    """Compile what the machine code on disk may call and no simulation has called yet; return those functions."""
    from hostsim.compiled.late import compile_call, kept_calls

    missing: list[str] = []
    done: set[object] = set()
    while more := [call for call in kept_calls() if call not in done]:  # what is compiled makes late calls, too
        for call in dict.fromkeys(more):
            module, name, _types = call
            if not is_kept(f"{module}.{name}"):
                missing.append(name)
            compile_call(call)
            done.add(call)
    return missing


def _run(kind: str) -> None:
    from hostsim.scenario import Scenario
    from hostsim.simulation import run

    for table in SCENARIOS[kind]:
        run(Scenario.model_validate(table))
