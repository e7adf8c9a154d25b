"""The rates at which vCPUs resolve userfaults: one userfaultfd for all, against exits to user space.

Linux 6.8 fs/userfaultfd.c: ``handle_userfault`` queues the fault under ``fault_pending_wqh.lock`` and wakes the reader;
``userfaultfd_ctx_read`` takes it off under that lock; ``__wake_userfault`` takes the lock again and walks all faults that
still wait, each an entry on the stack of another vCPU. So one lock serves every fault, and a service walks the waiters: the
rate peaks at few vCPUs and falls from there.

An exit to user space (KVM_EXIT_MEMORY_FAULT) has no such queue: each vCPU thread resolves its own fault by UFFDIO_CONTINUE
and runs again. Its locks are read locks and reference counts, so no vCPU waits for a section of another. But each count is a
cache line that every fault writes, and a line moves to one CPU at a time: the lines are the queues.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class OneQueue:
    """Faults through one queue; times in ns.

    alone_ns: of a fault with no other vCPU, serial part included.
    serial_ns: under the lock that all share, the lock's lines in the own cache.
    contended_ns: more of it where another vCPU has had the lock's lines.
    waiter_ns: more of it for each fault that waits in the queue.
    """

    alone_ns: float
    serial_ns: float
    contended_ns: float
    waiter_ns: float

    def faults_per_s(self, vcpus: int) -> float:
        """Rate of faults of ``vcpus`` vCPUs that do nothing but fault: a closed queue with one server (machine repairmen).

        The state is the number k of vCPUs at the lock. Birth: the others arrive, each after the part that runs in parallel.
        Death: a service, which takes longer with k. Both are taken as exponential.
        """
        think_ns = self.alone_ns - self.serial_ns
        weights = [1.0]
        for k in range(1, vcpus + 1):
            weights.append(weights[-1] * (vcpus - k + 1) / think_ns * self._service_ns(k))
            if weights[-1] > 1e250:  # only ratios matter
                weights = [weight / 1e250 for weight in weights]
        total = sum(weights)
        served = sum(weight / self._service_ns(k) for k, weight in enumerate(weights) if k)
        return served / total * 1e9

    def _service_ns(self, at_lock: int) -> float:
        others = at_lock - 1
        return self.serial_ns + (self.contended_ns if others else 0.0) + self.waiter_ns * others


@dataclass(frozen=True)
class SharedLines:
    """Faults that share cache lines only.

    alone_ns: of a fault with no other vCPU, all lines in the own cache.
    move_ns: of a line to the CPU that writes it next.
    lines_twice: lines that a fault writes twice, to take and to drop a lock or a reference; lines_once: written once.
    """

    # Model limit: a move costs as much within a socket as between two.
    alone_ns: float
    move_ns: float
    lines_twice: float
    lines_once: float

    def faults_per_s(self, vcpus: int) -> float:
        """Rate of faults of ``vcpus`` vCPUs that do nothing but fault: mean value analysis of a closed network of queues.

        Each line is a queue with one server; a vCPU that comes finds the queues as one vCPU less would leave them. The only
        vCPU moves no line.
        """
        if vcpus == 1:
            return 1e9 / self.alone_ns
        kinds = ((self.lines_twice, 2 * self.move_ns), (self.lines_once, self.move_ns))
        waiting, rate = [0.0, 0.0], 0.0
        for n in range(1, vcpus + 1):
            stays_ns = [service_ns * (1 + queue) for (_, service_ns), queue in zip(kinds, waiting, strict=True)]
            lines_ns = sum(count * stay_ns for (count, _), stay_ns in zip(kinds, stays_ns, strict=True))
            rate = n / (self.alone_ns + lines_ns)
            waiting = [rate * stay_ns for stay_ns in stays_ns]
        return rate * 1e9


FaultPath = OneQueue | SharedLines
PATHS: dict[str, type[OneQueue | SharedLines]] = {"one-userfaultfd": OneQueue, "exit-to-user-space": SharedLines}


@cache
def fault_path(name: str) -> FaultPath:
    """The path ``name`` of hostsim/data/postcopy/userfault.toml, a key of ``PATHS``."""
    text = (files("hostsim") / "data" / "postcopy" / "userfault.toml").read_text(encoding="utf-8")
    return PATHS[name](**{key: float(entry["value"]) for key, entry in tomllib.loads(text)[name].items()})


def peak_vcpus(path: FaultPath, counts: tuple[int, ...]) -> int:
    """The count of ``counts`` with the highest rate."""
    return max(counts, key=path.faults_per_s)
