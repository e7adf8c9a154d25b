"""Breaks one line of the engine and looks for a drawn machine that shows it.

``NUMBA_DISABLE_JIT=1 python -m tests.twins.mutate NAME SEEDS [FIRST]`` prints a seed at which twin and broken engine part:
FIRST if they do, else the first of them.
"""

from __future__ import annotations
import __future__ as future_features

import inspect
import sys
from importlib import import_module
from typing import NamedTuple

from tests.twins.compare import engine_facts, first_difference, twin_facts
from tests.twins.configs import drawn_spec


class Mutation(NamedTuple):
    """``old`` in the source of ``module.function`` becomes ``new``."""

    module: str
    function: str
    old: str
    new: str


MUTATIONS = {
    "none": Mutation("hostsim.qemu.harvest", "harvest", "touched", "touched"),
    "harvest sees its own instant": Mutation(
        "hostsim.qemu.harvest", "harvest", "touched >= now_work_ns", "touched > now_work_ns"
    ),
    "after is exclusive": Mutation(
        "hostsim.qemu.harvest", "harvest", "page, now_work_ns)", "page, now_work_ns + 1)"
    ),
    "arming is exclusive": Mutation("hostsim.qemu.harvest", "arm", "page, after_ns)", "page, after_ns + 1)"),
    "a page harvested by two classes counts twice": Mutation(
        "hostsim.qemu.harvest", "_record", "pages.due[gfn] == RECORDED", "pages.due[gfn] == -1"
    ),
    "a copy sees its own instant": Mutation(
        "hostsim.qemu.harvest", "is_written", "+ page] < now", "+ page] <= now"
    ),
    "a page goes out before the host's event of its instant": Mutation(
        "hostsim.qemu.send", "send_pages", "t >= limits.horizon_ns", "t > limits.horizon_ns"
    ),
    "the clock is one nanosecond ahead": Mutation(
        "hostsim.guest.pacing", "_closed_work", "W0] + on_ns(row, t_ns)", "W0] + on_ns(row, t_ns) + 1"
    ),
    "rate doubled": Mutation(
        "hostsim.guest.touch", "_poisson_next", "after_ns) * mean_ns", "after_ns) * mean_ns / 2.0"
    ),
}  # fmt: skip


DRAWN_ONLY = "rate doubled"
"""No run parts from its twin by it, only the mean of many."""


def apply(mutation: Mutation) -> None:
    """Put the broken function in the place of the right one, in every module that has its name."""
    home = import_module(mutation.module)
    right = getattr(home, mutation.function)
    source = inspect.getsource(right)
    assert mutation.old in source, f"{mutation.function} no longer says {mutation.old!r}: state the mutation anew"
    changed = source.replace(mutation.old, mutation.new)
    flags = future_features.annotations.compiler_flag
    exec(compile(changed, mutation.function, "exec", flags), vars(home))  # noqa: S102
    broken = getattr(home, mutation.function)
    for module in list(sys.modules.values()):
        if getattr(module, mutation.function, None) is right:
            setattr(module, mutation.function, broken)


def caught_at(n_seeds: int, first: int) -> int:
    """A seed whose twin differs from the engine, or -1."""
    for seed in (first, *range(n_seeds)):
        spec = drawn_spec(seed)
        if first_difference(twin_facts(spec), engine_facts(spec)):
            return seed
    return -1


if __name__ == "__main__":
    apply(MUTATIONS[sys.argv[1]])
    sys.stdout.write(f"{caught_at(*map(int, [*sys.argv[2:], '0'][:2]))}\n")
