"""What finding dirty pages cost under KVM: columns of ``rounds`` and ``series``, and sums of a migration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hostsim.kvm.indexed import IndexFigures
    from hostsim.kvm.tally import Tally

FIELDS: Mapping[str, str] = {
    "wp_faults": "wp_faults", "map_faults": "map_faults", "split_faults": "split_faults", "track_faults": "track_faults",
    "spurious": "spurious", "retries": "retries", "pml_full": "pml_full", "lock_wait_ns": "wait_ns",
    "lock_hold_ns": "hold_ns", "host_wait_ns": "host_wait_ns", "host_hold_ns": "host_hold_ns", "flushes": "flushes",
    "flush_ns": "flush_ns",
    "sync_ns": "sync_ns", "clears": "clears", "clear_ns": "clear_ns", "ring_full": "ring_full", "reaps": "reaps",
    "reap_ns": "reap_ns", "stall_ns": "stall_ns", "page_wait_ns": "page_wait_ns",
}  # fmt: skip
"""Column: the field of ``Tally`` it is the growth of."""
FAULTS = ("wp_faults", "map_faults", "split_faults", "track_faults", "spurious", "retries")

KVM_ROUNDS: Mapping[str, str] = {**dict.fromkeys(FIELDS, "int64"), "stall_share": "float64"}
"""Columns that ``rounds`` has besides under KVM; the sync that ends a round is part of it.

stall_share: of the time of the vCPUs that run a workload, how much they were kept out of the guest by exits.
"""
KVM_SERIES: Mapping[str, str] = {"guest_slowdown": "float64"}
"""Columns that ``series`` has besides: 1 - guest_speed."""


@dataclass(frozen=True)
class KvmCosts:
    """Counters and times by the names of ``FIELDS``, and stall_share.

    before: from the start of the run to the first sync; rounds: with their number; logged: from the first sync to the end.
    index: of a VM whose sptes are in one, the fields of ``IndexFigures`` and index_bytes.
    """

    before: dict[str, Any]
    rounds: tuple[dict[str, Any], ...]
    logged: dict[str, Any]
    index: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """By name; ``index`` only if there is one."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def kvm_costs(
    tallies: Sequence[Tally], last: Tally, n_busy: int, index: IndexFigures | None = None
) -> KvmCosts:
    """tallies: at each sync, counted from the start of the run; last: at the end. ``n_busy``: vCPUs that run a workload."""
    pairs = enumerate(pairwise([*tallies, last]), start=1)
    return KvmCosts(
        before=_spent(tallies[0], n_busy),
        rounds=tuple({"round": number, **_spent(after - before, n_busy)} for number, (before, after) in pairs),
        logged=_spent(last - tallies[0], n_busy),
        index=None if index is None else {**asdict(index), "index_bytes": index.index_bytes},
    )


def kvm_columns(costs: KvmCosts) -> list[tuple[Any, ...]]:
    """Values of ``KVM_ROUNDS``, a tuple a round."""
    return [tuple(spent[column] for column in KVM_ROUNDS) for spent in costs.rounds]


def _spent(tally: Tally, n_busy: int) -> dict[str, Any]:
    values: dict[str, Any] = {column: int(getattr(tally, field)) for column, field in FIELDS.items()}
    vcpu_ns = tally.now_ns * n_busy
    return {**values, "stall_share": values["stall_ns"] / vcpu_ns if vcpu_ns > 0 else 0.0}
