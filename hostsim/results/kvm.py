"""Cost of finding dirty pages under KVM: columns of ``rounds``, sums of a migration, figures of an index of sptes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from hostsim.costs.exits import EXITS, USER_SPACE, ExitKind
from hostsim.results.columns import FLOAT, INT, JSON, STR, Column, Columns, read_row

if TYPE_CHECKING:
    from hostsim.kvm.indexed import IndexFigures
    from hostsim.kvm.tally import Tally


class Spent(NamedTuple):
    """A phase. tally: growth of the counters over the phase; n_busy: vCPUs that run a workload."""

    tally: Tally
    n_busy: int

    @property
    def stall_share(self) -> float:
        """Share of the time of the vCPUs that run a workload that exits kept them out of the guest."""
        vcpu_ns = self.tally.now_ns * self.n_busy
        return self.tally.stall_ns / vcpu_ns if vcpu_ns > 0 else 0.0


def _exits(*, in_user_space: bool) -> Iterator[Column[Spent]]:
    return (_exit(kind) for kind in EXITS if (kind.number == USER_SPACE) == in_user_space)


def _exit(kind: ExitKind) -> Column[Spent]:
    return Column(
        kind.name, INT, "exits", kind.heading, kind.meaning, lambda spent: int(getattr(spent.tally, kind.name)),
        spare=kind.spare, if_any=True, title=kind.title if kind.compared else "", label=kind.label,
    )  # fmt: skip


KVM_ROUNDS: Columns[Spent] = (
    *_exits(in_user_space=False),
    Column(
        "lock_wait_ns", INT, "ns", "lock wait", "time that vCPUs waited for `mmu_lock`, summed over them",
        lambda spent: spent.tally.wait_ns, if_any=True, place=4, title="vCPUs waiting",
    ),
    Column(
        "lock_hold_ns", INT, "ns", "", "time that vCPUs held `mmu_lock`, summed over them",
        lambda spent: spent.tally.hold_ns,
    ),
    Column(
        "host_wait_ns", INT, "ns", "host wait", "time that threads that work on the log waited for `mmu_lock`",
        lambda spent: spent.tally.host_wait_ns, if_any=True, place=4, title="host waiting",
        label="of it, waiting for mmu_lock",
    ),
    Column(
        "host_hold_ns", INT, "ns", "host hold", "time that threads that work on the log held `mmu_lock`",
        lambda spent: spent.tally.host_hold_ns, spare=True, if_any=True, place=3, title="host holds",
    ),
    Column(
        "flushes", INT, "flushes", "flushes", "remote TLB flushes",
        lambda spent: spent.tally.flushes, spare=True, if_any=True, place=1, title="flushes",
    ),
    Column("flush_ns", INT, "ns", "", "time of these flushes", lambda spent: spent.tally.flush_ns),
    Column(
        "sync_ns", INT, "ns", "syncs", "time of the migration thread in syncs, waits and flushes included",
        lambda spent: spent.tally.sync_ns, if_any=True, place=2, title="in sync", label="sync",
    ),
    Column(
        "clears", INT, "calls", "", "`KVM_CLEAR_DIRTY_LOG` before pages of a chunk are sent",
        lambda spent: spent.tally.clears,
    ),
    Column(
        "clear_ns", INT, "ns", "CLEARs", "time of the migration thread in these calls",
        lambda spent: spent.tally.clear_ns, if_any=True, place=2, title="in CLEAR", label="CLEAR",
    ),
    *_exits(in_user_space=True),
    Column("reaps", INT, "harvests", "", "harvests of all dirty rings", lambda spent: spent.tally.reaps),
    Column(
        "reap_ns", INT, "ns", "reaps", "time of these harvests, waits included",
        lambda spent: spent.tally.reap_ns, if_any=True, place=2, title="in reaps", label="reap",
    ),
    Column(
        "stall_ns", INT, "ns", "",
        "time that vCPUs were out of the guest because of exits, summed over them, exits under way included; throttle and "
        "pause are not in it",
        lambda spent: spent.tally.stall_ns,
    ),
    Column(
        "page_wait_ns", INT, "ns", "page wait",
        "of `stall_ns`, waiting for pages that the host did not have: with `[host.memory]` only, and no cost of logging",
        lambda spent: spent.tally.page_wait_ns, if_any=True, place=5, title="page waits",
    ),
    Column(
        "stall_share", FLOAT, "share", "guest lost", "`stall_ns` over the time of the vCPUs that run a workload",
        lambda spent: spent.stall_share, place=6, title="vCPUs stalled", label="lost to exits",
    ),
)  # fmt: skip
"""Further columns of ``rounds`` under KVM; a round includes the sync that ends it."""
INDEX: Columns[IndexFigures] = (
    Column("design", STR, "", "", "design of the index", lambda index: index.design),
    Column("kernel_has", STR, "", "", "design that kernels of the era have", lambda index: index.kernel_has),
    Column(
        "bytes", JSON, "bytes", "", "bytes by content (`tables`: the sptes themselves), at their maximum",
        lambda index: dict(index.bytes),
    ),
    Column(
        "index_bytes", INT, "bytes", "", "of these, all but the tables", lambda index: index.index_bytes, title="index",
        place=1,
    ),
    Column(
        "start_ns", INT, "ns", "", "time of its calls when logging began", lambda index: index.start_ns, title="log begins",
    ),
    Column("stop_ns", INT, "ns", "", "time of its calls when logging ended", lambda index: index.stop_ns),
    Column("gets", INT, "calls", "", "its calls under GET", lambda index: index.gets),
    Column("get_ns", INT, "ns", "", "time of its calls under GET", lambda index: index.get_ns),
    Column("clears", INT, "calls", "", "its calls under CLEAR", lambda index: index.clears),
    Column("clear_ns", INT, "ns", "", "time of its calls under CLEAR", lambda index: index.clear_ns),
    Column(
        "map_ns", FLOAT, "ns", "", "added to the hold of each map fault, less what the measured hold contains",
        lambda index: index.map_ns,
    ),
    Column(
        "wp_ns", FLOAT, "ns", "", "added to the hold of each write-protection fault, likewise", lambda index: index.wp_ns,
    ),
    Column("ages", INT, "calls", "", "its calls under notifiers that ask for the age of pages", lambda index: index.ages),
    Column("age_ns", INT, "ns", "", "time of these calls", lambda index: index.age_ns),
    Column("unmaps", INT, "calls", "", "its calls under notifiers that unmap pages", lambda index: index.unmaps),
    Column("unmap_ns", INT, "ns", "", "time of these calls", lambda index: index.unmap_ns),
    Column(
        "emptied", INT, "faults", "", "how often a fault found the cap of `book3s-pr` reached, and unmapped all",
        lambda index: index.emptied,
    ),
)  # fmt: skip
"""Keys of ``kvm[i].index`` in run.json, for a VM whose sptes are in an index."""

PAGE_TABLES: Columns[Tally] = (
    Column("cr3_loads", INT, "exits", "", "CR3 loads", lambda tally: tally.cr3_loads, title="CR3 loads"),
    Column(
        "cr3_ns", INT, "ns", "",
        "of `stall_ns`, exits for CR3 loads, with the syncs of page tables, their waits for `mmu_lock` and their flushes",
        lambda tally: tally.cr3_ns, title="in CR3 loads",
    ),
    Column(
        "unsync_tables", INT, "tables", "", "unsync page tables that CR3 loads synced", lambda tally: tally.unsync_tables,
        title="synced tables",
    ),
    Column("synced_sptes", INT, "sptes", "", "sptes that these syncs compared", lambda tally: tally.synced_sptes),
    Column(
        "dropped_sptes", INT, "sptes", "", "sptes that these syncs and INVLPG dropped", lambda tally: tally.dropped_sptes,
    ),
    Column(
        "table_exits_ns", INT, "ns", "", "of `stall_ns`, exits by INVLPG and those of forks, with waits and flushes",
        lambda tally: tally.table_exits_ns, title="in INVLPG and forks",
    ),
    Column("root_misses", INT, "exits", "", "CR3 loads whose root KVM had not cached", lambda tally: tally.root_misses),
    Column("invlpgs", INT, "exits", "", "INVLPGs", lambda tally: tally.invlpgs),
    Column("forks", INT, "forks", "", "forks, each with the end of another process", lambda tally: tally.forks),
    Column(
        "emulated_writes", INT, "exits", "", "writes to directories of the guest's page tables that KVM emulated",
        lambda tally: tally.emulated_writes,
    ),
    Column(
        "zapped_directories", INT, "tables", "", "directories whose shadow page KVM zapped at the third write",
        lambda tally: tally.zapped_directories,
    ),
)  # fmt: skip
"""Keys of ``kvm[i].page_tables`` in run.json, from the first sync on, for a VM that writes page tables that KVM shadows."""


@dataclass(frozen=True)
class KvmCosts:
    """Counters and times by the names of ``KVM_ROUNDS``.

    before: from the start of the run to the first sync; rounds: with their number; logged: from the first sync to the end.
    index: by the names of ``INDEX``; None if the VM's sptes are in no index.
    page_tables: by the names of ``PAGE_TABLES``; None if the guest does not write page tables that KVM shadows.
    """

    before: dict[str, Any]
    rounds: tuple[dict[str, Any], ...]
    logged: dict[str, Any]
    index: dict[str, Any] | None = None
    page_tables: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Counters and times by name; ``index`` and ``page_tables`` only if there are any."""
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
        index=None if index is None else read_row(INDEX, index),
        page_tables=read_row(PAGE_TABLES, last - tallies[0]) if last.cr3_loads else None,
    )


def _spent(tally: Tally, n_busy: int) -> dict[str, Any]:
    return read_row(KVM_ROUNDS, Spent(tally, n_busy))
