"""Twin and engine on drawn cases: where they part."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tests.twins.compare import first_difference
from tests.twins.kvm_case import Case
from tests.twins.kvm_configs import drawn_case, drawn_cuts
from tests.twins.kvm_engine import EngineRun
from tests.twins.kvm_run import certain_run


def difference(seed: int, drawn: Callable[[int], Case] = drawn_case) -> str:
    """Empty if case ``seed`` of ``drawn`` is the same in twin and engine, as far as the order of host threads is certain."""
    case = drawn(seed)
    twin = certain_run(case)
    for cuts_ns in ([], drawn_cuts(seed, case)):
        engine = EngineRun(case, twin.end_ns, cuts_ns)
        if found := first_difference(twin.facts(), engine.facts()):
            return f"{replay_command(seed)} ({drawn.__name__}): until {twin.end_ns}, cut at {cuts_ns}: {found[:1000]}"
    return ""


def replay_command(seed: int) -> str:
    return f"python -m tests.twins.kvm_compare {seed}"


def main(seeds: list[int]) -> int:
    found = [text for seed in seeds if (text := difference(seed))]
    sys.stdout.write("".join(f"{text}\n" for text in found) or "equal\n")
    return len(found) > 0


if __name__ == "__main__":
    raise SystemExit(main([int(arg) for arg in sys.argv[1:]]))
