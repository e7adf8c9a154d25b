"""The rate at which vCPUs resolve userfaults: one userfaultfd for all, against exits to user space.

Linux 6.8 fs/userfaultfd.c: ``handle_userfault`` queues the fault under ``fault_pending_wqh.lock`` and wakes the reader;
``userfaultfd_ctx_read`` takes it off under that lock; ``__wake_userfault`` takes the lock again and walks all faults that
still wait, each an entry on the stack of another vCPU. So one lock serves every fault, and a service walks the waiters: the
rate peaks at few vCPUs and falls from there. An exit to user space (KVM_EXIT_MEMORY_FAULT) has no such queue; vCPUs share
the lines of mmap_lock and mmu_lock, in which readers count.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class FaultPath:
    """A way of faults to user space; times in ns.

    alone_ns: of a fault with no other vCPU, serial part included.
    serial_ns: under the lock that all share, the lock's lines in the own cache.
    contended_ns: more of it where another vCPU has had the lock's lines.
    waiter_ns: more of it for each fault that waits in the queue.
    shared_ns: more of the rest once another vCPU writes the lines that both count in.
    """

    alone_ns: float
    serial_ns: float
    contended_ns: float
    waiter_ns: float
    shared_ns: float


@cache
def fault_path(name: str) -> FaultPath:
    """The path ``name`` of hostsim/data/postcopy/userfault.toml: "one-userfaultfd" or "exit-to-user-space"."""
    text = (files("hostsim") / "data" / "postcopy" / "userfault.toml").read_text(encoding="utf-8")
    return FaultPath(**{key: float(entry["value"]) for key, entry in tomllib.loads(text)[name].items()})


def faults_per_s(path: FaultPath, vcpus: int) -> float:
    """Rate of faults of ``vcpus`` vCPUs that do nothing but fault: a closed queue with one server (machine repairmen).

    The state is the number k of vCPUs at the lock. Birth: the others arrive, each after the part that runs in parallel.
    Death: a service, which takes longer with k. Both are taken as exponential.
    """
    think_ns = path.alone_ns - path.serial_ns + (path.shared_ns if vcpus > 1 else 0.0)
    weights = [1.0]
    for k in range(1, vcpus + 1):
        weights.append(weights[-1] * (vcpus - k + 1) / think_ns * _service_ns(path, k))
        if weights[-1] > 1e250:  # only ratios matter
            weights = [weight / 1e250 for weight in weights]
    total = sum(weights)
    served = sum(weight / _service_ns(path, k) for k, weight in enumerate(weights) if k)
    return served / total * 1e9


def _service_ns(path: FaultPath, at_lock: int) -> float:
    others = at_lock - 1
    return path.serial_ns + (path.contended_ns if others else 0.0) + path.waiter_ns * others


def peak_vcpus(path: FaultPath, counts: tuple[int, ...]) -> int:
    """The count of ``counts`` with the highest rate."""
    return max(counts, key=lambda vcpus: faults_per_s(path, vcpus))
