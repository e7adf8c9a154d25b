"""Drawn migrations that switch to post-copy, in the engine and in the twin."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from fractions import Fraction
from random import Random

import numpy as np

from hostsim.core.errors import InvariantError
from hostsim.core.knobs import Knobs
from hostsim.core.rng import stream_key
from hostsim.costs.postcopy_sheet import PostcopyCosts
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.link import Outage
from tests.twins.compare import first_difference, record_windows
from tests.twins.configs import DROPS, MS, RANDOM, SWEPT, drawn_knobs, drawn_spec
from tests.twins.machine import Facts, TwinMachine


def drawn_postcopy(seed: int, patterns: tuple[str, ...] = SWEPT) -> MachineSpec:
    """Machine number ``seed``, whose migration switches to post-copy early; touches come faster than pages."""
    spec, rng = drawn_spec(seed, patterns), Random(seed ^ 0x9057)
    by_time = rng.random() < 0.3
    fails = rng.random() < 0.25
    loads = tuple(
        replace(
            load, write_rate_per_s=load.write_rate_per_s * rng.choice((1, 1, 10)),
            read_rate_per_s=Fraction(rng.choice((0, 60, 3000))),
        )
        for load in spec.workloads
    )
    migration = replace(
        spec.migration, postcopy_ram=True, postcopy_preempt=rng.random() < 0.4, timeout_ns=0, auto_converge=False,
        downtime_limit_ms=rng.choice((0, 1, 1, 20)), postcopy_after_rounds=-1 if by_time else rng.choice((0, 1, 1, 2)),
        postcopy_after_ns=rng.choice((0, 50, 300)) * MS if by_time else -1,
        max_postcopy_bandwidth=rng.choice((0, 0, 410_400, 4_104_000)), host_page_bytes=rng.choice((4096, 4096, 4096, 16384)),
        postcopy_link_fails_ns=rng.choice((20, 100, 333)) * MS if fails else 0,
        postcopy_recover_after_ns=rng.choice((0, 1, 200)) * MS if fails else 0,
    )  # fmt: skip
    return replace(spec, workloads=loads, migration=migration, inputs={"postcopy": _costs(rng)}, duration_ns=8_000 * MS)


def drawn_faulty(seed: int, patterns: tuple[str, ...] = SWEPT) -> MachineSpec:
    """Machine number ``seed``, on a link with outages or losses; its round trip is long, as the twin passes each tick."""
    spec, rng = drawn_postcopy(seed, patterns), Random(f"faults {seed}")
    starts = sorted(rng.sample(range(1, 40), rng.choice((1, 2, 3, 4))))
    outages = tuple(
        Outage(rng.choice((20, 50, 100)) * MS + start * 100 * MS + 7, rng.choice((1, 20, 90)) * MS, rng.choice(DROPS))
        for start in starts
    )
    if rng.random() < 0.5:
        start_ns, length_ns = rng.choice((1_100, 4_500)) * MS + 7, rng.choice((300, 700)) * MS
        outages = (*outages[:1], replace(outages[0], start_ns=start_ns, length_ns=length_ns))
    link = replace(
        spec.link, latency_ns=rng.choice((MS, 5 * MS, 20 * MS, 20 * MS)), outages=outages, wake_bytes=0,
        bandwidth_bytes_per_s=rng.choice((410_400, 1_000_000, 4_104_000, 16_416_000)),
        loss=rng.choice((0.0, 0.0, 0.001, 0.01, 0.05)), loss_key=stream_key(seed, "link.loss"),
    )  # fmt: skip
    migration = replace(spec.migration, switchover_ack=False, return_path=False)  # their answers have no twin over faults
    return replace(spec, link=link, migration=migration)


def _costs(rng: Random) -> PostcopyCosts:
    def pick(*values: int) -> int:
        return rng.choice(values)

    return PostcopyCosts(
        send_page_ns=pick(0, 0, 700, 40_000),
        place_page_ns=pick(1_000, 50_000, 300_000, MS), place_zero_ns=pick(1, 100, 50_000), fault_ns=pick(1, 1_000, 100_000),
        request_ns=pick(1, 1_000, 100_000), wake_ns=pick(1, 1_000, 50_000), busy_wake_ns=pick(0, 0, 300_000),
        turn_block_ns=0, turn_place_ns=0, turn_fault_ns=0, turn_fault_spread_ns=0,
        device_load_ns=pick(1, MS, 20 * MS), recover_ns=pick(1, MS), discard_range_ns=pick(0, 1, 3_000, MS),
    )  # fmt: skip


def twin_facts(spec: MachineSpec) -> Facts:
    twin = TwinMachine(spec)
    twin.run()
    m = twin.migration
    found = {
        "end_ns": twin.env.now, "windows": m.windows, "counters": m.query(), "switched": m.phase is not None,
        "marks": sorted(m.marks, key=lambda mark: mark[0]),  # the phase hands its own over at its end
    }  # fmt: skip
    return found | ({} if m.phase is None else m.phase.figures())


def _counts(machine: Machine) -> Facts:
    """Time-outs, bytes sent again and losses, on a link that has them."""
    link = machine.migration.link
    return {"counts": list(link.counts())} if link.spec.has_faults else {}


def engine_facts(spec: MachineSpec, knobs: Knobs | None = None) -> Facts:
    machine = Machine(spec, knobs)
    windows = record_windows(machine)
    machine.run()
    m, there = machine.migration, machine.migration.destination
    found = {
        "end_ns": machine.env.now_ns, "marks": m.recorder.marks, "windows": windows, "counters": asdict(m.counters()),
        "switched": there is not None,
    }  # fmt: skip
    if there is None:
        return found
    blocktime = there.phase.vcpus
    stalls = there.phase.latencies[0]
    return found | _counts(machine) | {
        "requests": there.requests, "faults": there.faults, "stalled_ns": there.stalled_ns, "lost": m.state.pages_lost,
        "blocked_ns": blocktime[:, 6].tolist(), "all_blocked_ns": int(there.phase.p[26]),
        "latencies": (int(stalls[3:].sum()), int(stalls[0])), "left": np.flatnonzero(there.phase.missing).tolist(),
    }  # fmt: skip


def disagreement(seed: int, spec: MachineSpec | None = None) -> str:
    """Empty if machine ``seed``, or ``spec``, gives the same facts in the twin and, with any speed knobs, in the engine."""
    spec = spec or drawn_postcopy(seed)
    expected = twin_facts(spec)
    if expected["end_ns"] == spec.duration_ns:  # the twin's phase has no cap on simulated time
        return ""
    if "latencies" in expected:
        expected["latencies"] = (len(expected["latencies"]), sum(expected["latencies"]))
    for knobs in (Knobs(), drawn_knobs(seed)):
        try:
            got = engine_facts(spec, knobs)
        except InvariantError as error:
            return f"{seed}: {error}"
        if difference := first_difference(expected, got):
            return f"python -m tests.twins.postcopy_compare {seed}: {knobs}: {difference[:1000]}"
    return ""


def moved_by_knobs(seed: int, drawn: Callable[[int, tuple[str, ...]], MachineSpec] = drawn_postcopy) -> str:
    """Empty if speed knobs move nothing on machine ``seed`` with drawn workloads."""
    spec = drawn(seed, RANDOM)
    difference = first_difference(engine_facts(spec), engine_facts(spec, drawn_knobs(seed)))
    return f"{seed}: {drawn_knobs(seed)}: {difference[:1000]}" if difference else ""


if __name__ == "__main__":
    found = [text for seed in map(int, sys.argv[1:]) if (text := disagreement(seed))]
    sys.stdout.write("".join(f"{text}\n" for text in found) or "equal\n")
    raise SystemExit(len(found) > 0)
