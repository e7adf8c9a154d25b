"""Rules that derive a number of a cost sheet from others: each rule names its inputs and states its formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log2

REQUEST_ATOMICS = 2
"""Atomic operations by which a flush asks a vCPU (hostsim.costs.costs.request_ns)."""
QUEUED_VCPUS = (8, 16, 32, 64)
"""vCPUs of the passes in which an exclusive lock was never free."""
PML_ENTRIES = 512
"""Entries of a PML buffer (arch/x86/kvm/vmx/vmx.h)."""


@dataclass(frozen=True)
class Rule:
    """One rule.

    inputs: names of the numbers that ``compute`` takes, in that order.
    formula: the formula as text for users.
    """

    inputs: tuple[str, ...]
    formula: str
    compute: Callable[..., float]


def exclusive_base_ns(pass_ns: float, vcpus: float, loop_ns: float, exit_ns: float, entry_ns: float) -> float:
    """Service of mmu_lock without waiters [ns]: with few vCPUs, holds do not overlap once the vCPUs are out of phase.

    pass_ns: measured time of a vCPU for each page of a pass. vcpus: at work; AssertionError if they keep the lock busy.
    loop_ns, exit_ns, entry_ns: parts of ``pass_ns`` outside the lock.
    """
    base_ns = pass_ns - loop_ns - exit_ns - entry_ns
    assert vcpus * base_ns < pass_ns, "the lock is saturated: its service is not what is left of a pass"
    return base_ns


def handover_ns(near_vcpus: float, *numbers: float) -> float:
    """Time that each doubling of the vCPUs beyond near_vcpus adds to a service, by a hand-over to another socket [ns].

    Least squares of the errors as shares of the services.
    numbers: services of passes in which the lock is never free, in the order of _QUEUED; then the holds of _HOLDS.
    """
    services, (written, mapped, direct) = numbers[:-3], numbers[-3:]
    holds = [hold for hold in (written, written, mapped, direct) for _ in QUEUED_VCPUS]
    doublings = [log2(n / near_vcpus) for n in QUEUED_VCPUS] * 4
    added = sum(n * (service - hold) / service**2 for n, service, hold in zip(doublings, services, holds, strict=True))
    return added / sum((n / service) ** 2 for n, service in zip(doublings, services, strict=True))


def shared_turn_ns(
    pass_ns: float, vcpus: float, cores: float, loop_ns: float, exit_ns: float, entry_ns: float
) -> float:
    """Time for which one core keeps the cache line of the lock word while readers share the lock [ns].

    pass_ns: measured time of a vCPU for each page of a pass. vcpus: at work; cores: those beyond share a core with another.
    loop_ns, exit_ns, entry_ns: parts of ``pass_ns`` outside the lock; the rest is the hold H.
    A hold lasts as many turns as there are cores at the lock, its own included.
    """
    hold_ns = pass_ns - loop_ns - exit_ns - entry_ns
    readers = 1 + (vcpus - 1) * hold_ns / pass_ns
    return hold_ns / caches_of(readers, vcpus, cores)


def caches_of(actors: float, vcpus: float, cores: float) -> float:
    """Mean number of cores on which ``actors``, any of ``vcpus``, run: vCPUs beyond ``cores`` share one in pairs."""
    return actors - max(0.0, vcpus - cores) * actors * (actors - 1) / max(1.0, vcpus * (vcpus - 1))


def _left(first: float, *less: float) -> float:
    return first - sum(less)


def _rest(names: str) -> Rule:
    """The rule that subtracts all further numbers from the first."""
    inputs = tuple(names.split())
    return Rule(inputs, " - ".join(inputs), _left)


_HOLDS = ["exclusive_base_ns", "exclusive_map_ns", "direct_map_ns"]
_PML = "pml_log_ns exit_ns entry_ns"
_OUTSIDE = "loop_ns exit_ns entry_ns"
_K6 = "disable_each_ns disable_each_flushes disable_batched_ns disable_batched_flushes"


def _rule(names: str, formula: str, compute: Callable[..., float]) -> Rule:
    return Rule(tuple(names.split()), formula, compute)


_QUEUED = [f"{series}_{n}_service_ns" for series in ("written", "sparse", "mapped", "direct") for n in QUEUED_VCPUS]


def _handover() -> Rule:
    """The rule of the time that a hand-over adds with each doubling of the vCPUs."""
    doublings = [f"log2({n} / near_vcpus)" for n in QUEUED_VCPUS] * 4
    holds = [hold for hold in (_HOLDS[0], *_HOLDS) for _ in QUEUED_VCPUS]
    parts = list(zip(doublings, _QUEUED, holds, strict=True))
    added = " + ".join(f"{n} * ({service} - {hold}) / {service}**2" for n, service, hold in parts)
    weights = " + ".join(f"({n} / {service})**2" for n, service, _ in parts)
    return _rule(" ".join(["near_vcpus", *_QUEUED, *_HOLDS]), f"({added}) / ({weights})", handover_ns)


def _drain(names: str) -> Rule:
    formula = f"{names.split(maxsplit=1)[0]} - loop_ns - pml_log_ns - (exit_ns + entry_ns) / 512"
    return _rule(names, formula, lambda p, loop, log, out, back: p - loop - log - (out + back) / PML_ENTRIES)


RULES: dict[str, Rule] = {
    "exit": _rule("round_trip_ns exit_share", "round_trip_ns * exit_share", lambda r, s: r * s),
    "entry": _rule("round_trip_ns exit_share", "round_trip_ns * (1 - exit_share)", lambda r, s: r * (1 - s)),
    "loop_beside_pml": _rule(
        f"written_pml_pass_ns pml_drain_entry_ns {_PML}",
        "written_pml_pass_ns - pml_log_ns - pml_drain_entry_ns - (exit_ns + entry_ns) / 512",
        lambda p, drain, log, out, back: p - log - drain - (out + back) / PML_ENTRIES,
    ),
    "read_loop": _rule(
        "sparse_pass_ns written_pass_few_ns", "(sparse_pass_ns - written_pass_few_ns) / 19", lambda s, w: (s - w) / 19
    ),
    "same_loop": _rule("loop_ns", "loop_ns", float),
    "lockless_hold": _rest(f"lockless_pass_ns {_OUTSIDE}"),
    "shared_hold": _rule("lockless_hold_ns lock_pair_ns", "lockless_hold_ns + lock_pair_ns", lambda h, p: h + p),
    "lone_shared_hold": _rest(f"lone_shared_pass_ns {_OUTSIDE}"),
    "shared_turn": _rule(
        f"shared_pass_ns shared_vcpus core_vcpus {_OUTSIDE}",
        "H / (R - P * R * (R - 1) / (shared_vcpus * (shared_vcpus - 1)))"
        ", H = shared_pass_ns - loop_ns - exit_ns - entry_ns, R = 1 + (shared_vcpus - 1) * H / shared_pass_ns"
        ", P = max(0, shared_vcpus - core_vcpus)",
        shared_turn_ns,
    ),
    "exclusive_base": _rule(
        f"written_pass_few_ns few_vcpus {_OUTSIDE}",
        "written_pass_few_ns - loop_ns - exit_ns - entry_ns",
        exclusive_base_ns,
    ),
    "handover": _handover(),
    "direct_wp": _rule(
        "exclusive_base_ns direct_map_ns exclusive_map_ns",
        "exclusive_base_ns * direct_map_ns / exclusive_map_ns",
        lambda base, direct, shadow: base * direct / shadow,
    ),
    "exclusive_map": _rest(f"mapped_pass_ns {_OUTSIDE}"),
    "direct_map": _rest(f"direct_pass_ns {_OUTSIDE}"),
    "saturated_service": _rule(
        "saturated_pass_ns saturated_vcpus", "saturated_pass_ns / saturated_vcpus", lambda p, n: p / n
    ),
    "loop_beside_lock": _rest("lone_pass_ns direct_wp_ns exit_ns entry_ns"),
    "map_hold": _rest("map_pass_ns read_loop_ns exit_ns entry_ns"),
    "prefetch_spte": _rule(
        "mapped_again_pass_ns dirty_pass_ns loop_ns",
        "(8 * (mapped_again_pass_ns - loop_ns) - (dirty_pass_ns - loop_ns)) / 7",
        lambda again, fault, loop: (8 * (again - loop) - (fault - loop)) / 7,
    ),
    "first_map": _rest("grouped_map_pass_ns mapped_again_pass_ns"),
    "populate": _rest("populate_pass_ns loop_ns exit_ns entry_ns map_hold_ns"),
    "idle_syscall": _rule(
        "mark_idle_page_ns age_page_ns", "(mark_idle_page_ns - age_page_ns) / 3", lambda mark, age: (mark - age) / 3
    ),
    "pml_drain": _drain(f"pml_pass_ns loop_ns {_PML}"),
    "pml_drain_ordered": _drain(f"pml_pass_ordered_ns loop_ns {_PML}"),
    "initially_set_ratio": _rule(
        "all_set_total_ns protect_total_ns", "all_set_total_ns / protect_total_ns", lambda a, p: a / p
    ),
    "clear_tree_atomic": _rule(
        "clear_tree_cmpxchg_ns clear_tree_after_ns clear_tree_before_ns",
        "clear_tree_cmpxchg_ns * clear_tree_after_ns / clear_tree_before_ns",
        lambda c, after, before: c * after / before,
    ),
    "flush_local": _rule("shootdown_1_ns", "shootdown_1_ns", float),
    "flush_first": _rest("shootdown_2_ns shootdown_1_ns"),
    "flush_thread": _rule(
        "shootdown_4_ns shootdown_2_ns", "(shootdown_4_ns - shootdown_2_ns) / 2", lambda four, two: (four - two) / 2
    ),
    "remote_flush": _rule(
        _K6,
        "(disable_each_ns - disable_batched_ns) / (disable_each_flushes - disable_batched_flushes)",
        lambda each, each_n, batched, batched_n: (each - batched) / (each_n - batched_n),
    ),
    "flush_vcpu": _rule(
        "remote_flush_ns flush_local_ns flush_first_ns flush_vcpus atomic_ns visit_ns",
        "(remote_flush_ns - flush_local_ns - flush_first_ns) / (flush_vcpus - 1)"
        f" - ({REQUEST_ATOMICS} * atomic_ns + visit_ns)",
        lambda flush, local, first, n, atomic, visit: (flush - local - first) / (n - 1) - (REQUEST_ATOMICS * atomic + visit),
    ),
    "recover_region": _rule(
        "disable_batched_ns disable_batched_flushes remote_flush_ns disable_regions",
        "(disable_batched_ns - disable_batched_flushes * remote_flush_ns) / disable_regions",
        lambda total, flushes, flush, regions: (total - flushes * flush) / regions,
    ),
}
