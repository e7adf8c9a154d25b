"""The record of a mechanism of migration, and all of them, found by their folder.

A record holds the part of QEMU: parameters, refusals, and the steps of the mechanism in the migration thread. Keys of the
scenario, columns and words are records of their own (hostsim.scenario.mechanism, hostsim.results.mechanism,
hostsim.verdict.mechanism), which have the mechanism's name in common.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hostsim.plugins.parts import parts_in
from hostsim.qemu.version import Release, Version, release

if TYPE_CHECKING:
    # Circle of types: a migration runs the steps of the records, and they get that migration.
    from hostsim.core.dirty_tracker import DirtyTracker
    from hostsim.costs.host_sheet import HostSheet
    from hostsim.guest.vm import VmBase
    from hostsim.qemu.compression import Content
    from hostsim.qemu.migration import Migration, Step
    from hostsim.qemu.parameters import MigrationParameters
    from hostsim.qemu.ram import RamState

DIRTY_RING = "dirty-ring-size"
"""The property of the accelerator that dirty-limit needs; no capability, so the caller of ``refused`` adds it."""
GENERAL = 35
"""The place of steps that belong to no mechanism, among the places of mechanisms."""


@dataclass(frozen=True)
class Rule:
    """One refusal of migrate_caps_check.

    capability: key that QEMU refuses.
    other: key on which the refusal depends.
    needs: True: ``other`` has to be on as well; False: the two exclude each other.
    reason: words of QEMU's error.
    source: where QEMU refuses.
    since, before: releases with the rule, ``before`` excluded; None: until today.
    """

    capability: str
    other: str
    needs: bool
    reason: str
    source: str = "migration/options.c::migrate_caps_check"
    since: Release = (0, 0)
    before: Release | None = None

    def breaks(self, values: Mapping[str, object], qemu: Version) -> bool:
        """Whether QEMU of this version refuses ``values``."""
        has_rule = self.since <= release(qemu) and (self.before is None or release(qemu) < self.before)
        return has_rule and is_on(values.get(self.capability)) and is_on(values.get(self.other)) is not self.needs


@dataclass(frozen=True)
class Absent:
    """A capability or parameter that earlier versions do not have; ``since``: the first release with it."""

    name: str
    since: Release
    source: str


def is_on(value: object) -> bool:
    """Whether a capability is on, a number is not 0, a method is not "none"."""
    return value not in (None, False, 0, "none")


class PageEncoder(Protocol):
    """Sends pages of the RAM stream in another form than whole, and keeps state about the pages that it has sent."""

    @property
    def pages(self) -> int:
        """Pages handled in the other form, sent or not."""

    @property
    def deltas(self) -> int:
        """Pages sent in the other form."""

    @property
    def busy_ns(self) -> int:
        """CPU time of the migration thread for the other form [ns]."""

    @property
    def processed_in_call(self) -> int:
        """Pages that the last call of ``send`` took from the bitmap."""

    @property
    def counters(self) -> Any:
        """The figures of query-migrate now."""

    def begin_sync(self, dirty_sync_count: int) -> None:
        """The sync of this number begins."""

    def note_sync(self, now_ns: int, works_ns: list[int], bmap: NDArray[np.uint8]) -> None:
        """A sync has harvested into ``bmap`` (uint8[n_pages]); ``works_ns``: work of each touch class by now [ns]."""

    def note_clear(self, chunk: int, now_ns: int) -> None:
        """The log of ``chunk`` has been cleared."""

    def update_rates(self, target_pages: int) -> None:
        """Rates since the last evaluation; ``target_pages``: pages sent so far."""

    def send(self, arguments: tuple[Any, ...], journal_pages: int, *, last_stage: bool) -> int:
        """Send pages as hostsim.qemu.send::send_pages does with ``arguments``; return its reason.

        journal_pages: most pages that ``take_back`` may have to take back; last_stage: the guest is stopped.
        """

    def take_back(self, gfns: NDArray[np.int64]) -> None:
        """Undo the last call of ``send``, which took the pages ``gfns`` (int64[k]) from the bitmap, in this order."""


class OtherEnd(Protocol):
    """The destination of a guest that runs there before its memory is there, as far as others than its mechanism ask."""

    run_ns: int
    """The guest runs from then on."""

    @property
    def clocks(self) -> NDArray[np.int64]:
        """int64[n_clocks, N_FIELDS]: work clocks at the destination."""

    @property
    def requests(self) -> int:
        """Requests for pages that have reached the source."""

    @property
    def faults(self) -> int:
        """Touches of missing pages."""

    @property
    def stalled_ns(self) -> int:
        """Time for which vCPUs waited for pages, summed [ns]."""

    def work_ns(self) -> int:
        """Work done by now, summed over all work clocks [ns]."""


@dataclass(frozen=True)
class Switch:
    """The steps by which a mechanism moves the guest before its memory.

    is_asked: whether an operator has issued the command for it.
    comes_first: whether this QEMU then switches though it could complete.
    begin: in place of an iteration: the guest stops, and ``Migration.destination`` is there unless the connection breaks.
    run: the thread behind the switch, until every page is at the destination.
    """

    is_asked: Callable[[Migration], bool]
    comes_first: Callable[[Migration], bool]
    begin: Callable[[Migration], Step]
    run: Callable[[Migration], Step]


@dataclass(frozen=True)
class Stream:
    """RAM that goes another way than over one connection (hostsim.qemu.ram_stream).

    make: the RamState, from the arguments of hostsim.qemu.ram_stream::ram_of.
    connections: that carry RAM.
    page_bytes: of a page as QEMU counts it, with its share of a header.
    host_bytes_per_s: most that the threads of this host send, as QEMU counts it.
    """

    make: Callable[..., RamState]
    connections: Callable[[Any], int]
    page_bytes: Callable[[Any, Content], int]
    host_bytes_per_s: Callable[[HostSheet, Any, Content], int]


@dataclass(frozen=True)
class Mechanism:
    """A mechanism as QEMU has it; a function that gets MigrationParameters may name them by its own dataclass.

    name: by which the records of the floors above know it.
    place: order among the mechanisms, as a scenario lists their keys.
    capability: the field of ``parameters`` that turns it on.
    parameters: dataclass of its fields of MigrationParameters, with QEMU's defaults.
    rules, newer: see hostsim.qemu.capabilities.
    encoder: makes its PageEncoder; None: it sends pages whole.
    stream: the way that RAM goes with it; None: over one connection.
    acts: makes the object that acts on the VM for it, with a migration or without, from the Machine, which has VM and
    tracker by then; None as its result: nothing acts in this run.
    throttle: a step that holds the guest back, at every second period with too many dirty pages [bytes dirtied, bytes sent].
    cancelled: undoes the effect of ``throttle``, once migrate_cancel is given.
    figures: its figures of query-migrate now; None: none in this state.
    ram: its members of query-migrate's ``ram`` now (MigrationStats), by QEMU's names.
    switch: its steps, if it moves the guest before its memory.
    moved: statuses of query-migrate in which the guest runs at the destination and its memory is still to come.
    """

    name: str
    place: int
    capability: str
    parameters: type
    rules: tuple[Rule, ...] = ()
    newer: tuple[Absent, ...] = ()
    encoder: Callable[[Any, VmBase, DirtyTracker, HostSheet], PageEncoder] | None = None
    stream: Stream | None = None
    acts: Callable[[Any], Any] | None = None
    throttle: Callable[[Migration, int, int], None] | None = None
    cancelled: Callable[[Migration], None] | None = None
    figures: Callable[[Migration], Any] | None = None
    ram: Callable[[Migration], Mapping[str, int]] | None = None
    switch: Switch | None = None
    moved: tuple[str, ...] = ()


def mechanisms() -> tuple[Mechanism, ...]:
    """Every mechanism, by place."""
    return parts_in("hostsim.qemu.mechanisms")


def on_in(parameters: MigrationParameters) -> tuple[Mechanism, ...]:
    """The mechanisms that ``parameters`` turn on."""
    return tuple(one for one in mechanisms() if getattr(parameters, one.capability))


@cache
def moved_statuses() -> tuple[str, ...]:
    """Statuses in which the guest runs at the destination and its memory is still to come."""
    return tuple(status for one in mechanisms() for status in one.moved)


def acting_on(machine: Any) -> dict[str, Any]:
    """The objects that act on the VM of ``machine``, by the name of the mechanism."""
    made = ((one.name, one.acts(machine)) for one in mechanisms() if one.acts is not None)
    return {name: one for name, one in made if one is not None}


def switch_of(parameters: MigrationParameters) -> Switch | None:
    """The steps of the mechanism that is on and moves the guest before its memory; None: the guest stays until the end."""
    return next((one.switch for one in on_in(parameters) if one.switch is not None), None)


def stream_of(parameters: MigrationParameters) -> Stream | None:
    """The way that RAM goes with the mechanism that is on and has one of its own; None: over one connection."""
    return next((one.stream for one in on_in(parameters) if one.stream is not None), None)


def encoder_of(
    parameters: MigrationParameters, vm: VmBase, tracker: DirtyTracker, sheet: HostSheet
) -> PageEncoder | None:
    """The encoder of the mechanism that has one and is on in ``parameters``; None: pages are sent whole.

    vm, tracker: the guest, and its source of dirty pages; an encoder reads the content of pages.
    sheet: CPU times of the host.
    QEMU refuses two encoders together.
    """
    makers = (one.encoder for one in on_in(parameters) if one.encoder is not None)
    return next((make(parameters, vm, tracker, sheet) for make in makers), None)


def figures_of(migration: Migration) -> dict[str, Any]:
    """Figures of query-migrate by the name of the mechanism, of those that are on and have some now."""
    makers = ((one.name, one.figures) for one in on_in(migration.parameters) if one.figures is not None)
    found = {name: make(migration) for name, make in makers}
    return {name: figures for name, figures in found.items() if figures is not None}


def ram_figures_of(migration: Migration) -> dict[str, int]:
    """Members of ``ram`` that mechanisms count, of those that are on."""
    found = (one.ram(migration) for one in on_in(migration.parameters) if one.ram is not None)
    return {name: value for members in found for name, value in members.items()}
