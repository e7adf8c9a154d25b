"""A recording of a run for a viewer of timelines: slices, events, exits, counters, as many as a file of some MB holds.

Sampling: of each kind one of ``stride`` is kept, by its number, the stride doubling whenever too many are kept. The numbers
kept are spread by the golden ratio: with every 16th, say, four vCPUs that fault in turn would show one vCPU alone. A
recording changes no result, and the number of an exit does not depend on the pieces in which a run is cut.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.clock import Clock
from hostsim.core.timeline import OPEN, Argument, Span, Timeline, Track
from hostsim.costs.exits import COUNTED, RETRY
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.mmu_notifier import RANGE_END, RANGE_START, TRACE_POINTS
from hostsim.kvm.spec import MEASURED

T = TypeVar("T")
EXITS_MAX = 60_000
"""Most exits kept of one VM, those that retried not counted."""
SLICES_MAX = 20_000
"""Most slices kept of one name on one track, most events, and most retried exits of one VM."""
OF_VCPUS_MAX = 60_000
"""Most slices kept of one name on the tracks of all vCPUs together."""
GOLDEN = 0x9E3779B97F4A7C15
"""2 ** 64 over the golden ratio."""
TICK_NS = 10_000_000
"""The log of exits is emptied at least this often."""
EXITS_A_TICK = 1 << 14
"""Room for the exits of a vCPU in TICK_NS; an exit takes more than 0.6 us."""
UNMAP = TRACE_POINTS[RANGE_START]
INVALIDATES = (UNMAP, TRACE_POINTS[RANGE_END])
RECENT = 4096
"""Invalidations that an exit which retried may have met."""


class Kept(NamedTuple):
    """A sample: ``kept`` of ``seen``, one of ``stride``; what: the kind of thing."""

    what: str
    kept: int
    seen: int
    stride: int


class Sampled(Generic[T]):
    """A sample of at most ``most`` of the things added; one of ``stride`` is kept."""

    def __init__(self, most: int) -> None:
        self.seen, self.stride, self._most = 0, 1, most
        self._kept: dict[int, T] = {}

    @property
    def kept(self) -> list[T]:
        """The sample, in the order of addition."""
        return list(self._kept.values())

    def add(self, one: T) -> None:
        """Keep ``one``, if its number is chosen."""
        if self.seen * GOLDEN % (1 << 64) < (1 << 64) // self.stride:
            self._kept[self.seen] = one
        self.seen += 1
        while len(self._kept) > self._most:
            self.stride *= 2
            chosen = chosen_of(np.array(list(self._kept), np.uint64), self.stride).tolist()
            self._kept = {number: one for (number, one), stays in zip(self._kept.items(), chosen, strict=True) if stays}


def chosen_of(numbers: NDArray[np.uint64], stride: int) -> NDArray[np.bool_]:
    """bool[n]: which of ``numbers`` a sample of one of ``stride``, a power of 2, keeps. Fewer are a part of more."""
    bound = ((1 << 64) // stride) - 1
    return np.asarray(numbers * np.uint64(GOLDEN) <= np.uint64(bound), np.bool_)


@dataclass
class Retried:
    """An exit that an invalidation sent back: its row of the log, and the invalidation, None: it began long before."""

    row: Any
    by: Span | None


class Exits:
    """Exits of one VM.

    retried: those that an invalidation sent back.
    """

    def __init__(self, vm: LiveVm, recent: deque[Span]) -> None:
        self.vm, self.stride = vm, 1
        self.retried: Sampled[Retried] = Sampled(SLICES_MAX)
        self._recent = recent
        self._rows: list[NDArray[Any]] = []
        self._numbers: list[NDArray[np.uint64]] = []
        self._kept = self._seen = 0

    @property
    def rows(self) -> NDArray[Any]:
        """The sample, records of hostsim.kvm.loops.layout.LoggedExit."""
        return np.concatenate([np.array(self.vm.engine.kvm.log[:0]), *self._rows])

    @property
    def sample(self) -> Kept:
        """Sizes of the sample."""
        return Kept(f"exits of {self.vm.name}", self._kept, self._seen, self.stride)

    @property
    def counts(self) -> dict[str, int]:
        """All exits that the engine has counted, by kind."""
        exits = self.vm.engine.exits
        return {kind.name: int(exits[kind.number]) for kind in COUNTED}

    @property
    def lost(self) -> int:
        """Exits for which the log had no room: they are in no sample; full PML buffers are not counted."""
        return sum(self.counts.values()) - self.counts["pml_full"] - self._seen - self.retried.seen

    def take(self, first: int) -> None:
        """Take the exits from entry ``first`` of the log on; a log that no index reads is emptied."""
        kvm = self.vm.engine.kvm
        n = int(kvm.state.logged_exits)
        if n > first:
            self._add(np.array(kvm.log[first:n]))
        if self.vm.indexed is None:
            kvm.state.logged_exits = 0

    def _add(self, rows: NDArray[Any]) -> None:
        for row in rows[rows["kind"] == RETRY]:
            self.retried.add(Retried(row, self._sender_back(row)))
        rows = rows[rows["kind"] != RETRY]
        numbers = np.arange(self._seen, self._seen + len(rows), dtype=np.uint64)
        chosen = chosen_of(numbers, self.stride)
        self._rows.append(rows[chosen])
        self._numbers.append(numbers[chosen])
        self._seen, self._kept = self._seen + len(rows), self._kept + int(chosen.sum())
        while self._kept > EXITS_MAX:
            self._thin()

    def _thin(self) -> None:
        self.stride *= 2
        rows, numbers = self.rows, np.concatenate(self._numbers)
        chosen = chosen_of(numbers, self.stride)
        self._rows, self._numbers, self._kept = [rows[chosen]], [numbers[chosen]], int(chosen.sum())

    def _sender_back(self, row: Any) -> Span | None:
        """The call that sent the exit back: about its page and under way, else the call that began an invalidation of its
        page, else any call under way, whose end moved mmu_invalidate_seq (mmu_invalidate_retry_gfn).
        """
        begun = [span for span in self._recent if span.begin_ns <= row["ns"]]
        about = [span for span in begun if int(span.args["start"]) <= row["page"] < int(span.args["end"])]
        choices = (_beside(about, row), [span for span in about if span.name == UNMAP], _beside(begun, row))
        return next((spans[-1] for spans in choices if spans), None)


@dataclass(frozen=True)
class Counter:
    """A counter of a process over time: t_ns, values: [n]; unit: of the values, "" for none."""

    process: str
    name: str
    unit: str
    t_ns: NDArray[np.int64]
    values: NDArray[Any]


class Recording(Timeline):
    """Takes the slices of one run, to be read when the run is over.

    exits: of each VM under KVM.
    counters: added when the run is over.
    """

    is_recording = True

    def __init__(self) -> None:
        self.exits: list[Exits] = []
        self.counters: list[Counter] = []
        self.end_ns, self._n_vcpus = 0, 1
        self._spans: dict[tuple[Track, str], Sampled[Span]] = {}
        self._marks: dict[tuple[Track, str], Sampled[Span]] = {}
        self._recent: dict[str, deque[Span]] = {}

    def begin(self, track: Track, name: str, now_ns: int, **args: Argument) -> Span:
        """As ``Timeline.begin``: slice ``name`` of ``track`` at ``now_ns`` with ``args``; a sample of them is kept."""
        span = Span(name, now_ns, args=args)
        self._spans.setdefault((track, name), Sampled(self._most(track))).add(span)
        if name in INVALIDATES:
            self._recent.setdefault(track.process, deque(maxlen=RECENT)).append(span)
        return span

    def _most(self, track: Track) -> int:
        """Most slices of a name on ``track``."""
        return max(1, OF_VCPUS_MAX // self._n_vcpus) if track.thread.startswith("vCPU ") else SLICES_MAX

    def end(self, span: Span, now_ns: int, **args: Argument) -> None:
        """As ``Timeline.end``: ``span`` ends at ``now_ns``, and ``args`` join those of its begin."""
        span.end_ns = now_ns
        span.args.update(args)

    def span(self, track: Track, name: str, begin_ns: int, end_ns: int, **args: Argument) -> None:
        """As ``Timeline.span``: slice ``name`` of ``track`` with ``args``, from ``begin_ns`` to ``end_ns``."""
        self.end(self.begin(track, name, begin_ns, **args), end_ns)

    def mark(self, track: Track, name: str, now_ns: int, args: dict[str, Any]) -> None:
        """As ``Timeline.mark``: event ``name`` of ``track`` at ``now_ns`` with ``args``; a sample of them is kept."""
        self._marks.setdefault((track, name), Sampled(SLICES_MAX)).add(Span(name, now_ns, now_ns, dict(args)))

    def watch(self, env: Clock, vms: Sequence[LiveVm], n_vcpus: int) -> None:
        """Take the exits of ``vms`` from now on; n_vcpus: of all VMs, also those without exits."""
        self._n_vcpus = n_vcpus
        for vm in vms:
            exits = Exits(vm, self._recent.setdefault(vm.name, deque(maxlen=RECENT)))
            self.exits.append(exits)
            vm.on_exits = exits.take
        if vms:
            env.process(_ticks(env))

    @property
    def spans(self) -> Iterator[tuple[Track, Span]]:
        """Slices by track, in the order of their names' first slices; those that sent a kept exit back are among them."""
        yield from ((track, span) for (track, _), some in self._spans.items() for span in some.kept)
        kept = {id(span) for some in self._spans.values() for span in some.kept}
        for exits in self.exits:
            track = next((track for track, name in self._spans if name == UNMAP and track.process == exits.vm.name), None)
            senders = {id(one.by): one.by for one in exits.retried.kept if one.by is not None}
            if track is not None:
                yield from ((track, span) for number, span in senders.items() if number not in kept)

    @property
    def marks(self) -> Iterator[tuple[Track, Span]]:
        """Events by track."""
        return ((track, span) for (track, _), some in self._marks.items() for span in some.kept)

    @property
    def samples(self) -> list[Kept]:
        """Each kind of thing of which not all are kept."""
        of = [exits.sample for exits in self.exits]
        of += [Kept(f"retried exits of {exits.vm.name}", *_sizes(exits.retried)) for exits in self.exits]
        for (track, name), some in chain(self._spans.items(), self._marks.items()):
            of.append(Kept(f"{name} ({track.process}, {track.thread})", *_sizes(some)))
        return [one for one in of if one.stride > 1]


def _beside(spans: list[Span], row: Any) -> list[Span]:
    """Those of ``spans`` that were under way during the exit."""
    return [span for span in spans if span.end_ns == OPEN or span.end_ns >= row["since_ns"]]


def exits_kept(recording: Recording | None, index: str, n_vcpus: int) -> int:
    """Entries of a VM's log of exits; 0 without a recording, or where an index has a log of its own."""
    return EXITS_A_TICK * n_vcpus if recording is not None and index == MEASURED else 0


def _sizes(some: Sampled[Any]) -> tuple[int, int, int]:
    return len(some.kept), some.seen, some.stride


def _ticks(env: Clock) -> Generator[simpy.Event, Any, None]:
    """Events of no process: the guests are advanced to each of them, so that their logs of exits do not overflow."""
    while True:
        yield env.timeout(TICK_NS)
