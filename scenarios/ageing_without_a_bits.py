"""What does page ageing take from a guest of 64 MiB, with accessed bits and without?

Shape of the answer: with accessed bits nothing but the IPIs of its flushes. Without them every page that the guest uses
between two passes costs it one exit: w(P) exits a pass, the working set of the period P, so a shorter period costs more a
second, up to one exit for each first access. Before E2 such a page is unmapped and faulted in again, which costs more.
"""

from __future__ import annotations

from fractions import Fraction

from hostsim.core.clock import Clock
from hostsim.core.memory import lay_out, make_memory
from hostsim.guest.workload import Workload, build_guest
from hostsim.kvm.build import live_vm
from hostsim.kvm.notifier_plan import notifier_of
from hostsim.kvm.spec import MmuSpec
from hostsim.memory.ageing_daemon import AgeingDaemon

PAGES, READS_PER_S = 16_384, 200_000
RUN_NS, PERIODS_MS = 1_000_000_000, (10, 50, 250)
KERNELS = (("with A bits", MmuSpec(era="E4")), ("without, E4", MmuSpec(era="E4", a_bits=False)),
           ("without, E0", MmuSpec(era="E0", a_bits=False)))  # fmt: skip
CALL_PAGES = 512


def main() -> None:
    """One second for each period and kernel."""
    print(f"{'period':>6}  {'kernel':<12} {'young a pass':>12} {'exits/s':>8} {'guest time lost':>15} {'a pass [us]':>11}")
    for period_ms in PERIODS_MS:
        for name, mmu in KERNELS:
            print(f"{period_ms:>4}ms  {name:<12} {told(period_ms * 1_000_000, mmu)}")


def told(period_ns: int, mmu: MmuSpec) -> str:
    """What a run gave, the first pass left out: it finds everything young."""
    load = Workload("reader", "zipf", (0,), 0, PAGES, read_rate_per_s=Fraction(READS_PER_S), exponent=0.8)
    memory = make_memory(lay_out([("pc.ram", PAGES, [(0, PAGES)])]))
    env = Clock()
    vm = live_vm(env, memory, build_guest([load], 1), 1, 0, mmu, "get-dirty-log")
    daemon = AgeingDaemon(vm, notifier_of(vm, mmu), period_ns, call_pages=CALL_PAGES, flushes=True)
    env.run(until=RUN_NS)
    passes, tally = daemon.passes[1:], vm.tally()
    young = sum(done.young for done in passes) / len(passes)
    took_us = sum(done.took_ns for done in passes) / len(passes) / 1000
    return f"{young:12.0f} {tally.faults:8d} {tally.stall_ns / RUN_NS:15.2%} {took_us:11.0f}"


if __name__ == "__main__":
    main()
