"""Workloads as people name them, turned into touch classes and work clocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import accumulate, repeat
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_S, PAGE_BYTES
from hostsim.core.rng import stream_key
from hostsim.guest import touch
from hostsim.guest.content import CHANGED_BYTES, CHANGED_PLACE, PLACES, Content, Place
from hostsim.guest.pacing import N_FIELDS, Pacing, clock_row
from hostsim.guest.popularity import zipf_shares
from hostsim.guest.touch import TouchTable
from hostsim.guest.windows import window_local

_DENOMINATOR_MAX = (1 << 31) - 1


@dataclass(frozen=True)
class Active:
    """Windows in which a workload runs; period_ns 0: once.

    is_of_host: of the host's clock: a vCPU that is out of the guest in a window has done less at its end. Else of the work
    clock: each window has as much work, and lasts longer for a vCPU that is out of the guest.
    """

    start_ns: int
    length_ns: int
    period_ns: int = 0
    is_of_host: bool = False


@dataclass(frozen=True, eq=False)
class TouchTrace:
    """Recorded touches: time_ns int64[n] (work time), vcpu int32[n], gfn int64[n], is_write bool[n]."""

    time_ns: NDArray[np.int64]
    vcpu: NDArray[np.int32]
    gfn: NDArray[np.int64]
    is_write: NDArray[np.bool_]


@dataclass(frozen=True)
class Workload:
    """Accesses of some vCPUs to a region of gfns.

    write_rate_per_s, read_rate_per_s: page touches per second, summed over the vCPUs.
    split: each vCPU accesses a part of the region of its own; False: each vCPU accesses the whole region.
    arrivals: of the writes of uniform and hotcold: "paced" (a loop: one write each 1/rate, to a page drawn anew) or
    "poisson" (many independent clients). Writes of zipf and all drawn reads are Poisson.
    cr3_load_rate_per_s: CR3 loads per second, summed over the vCPUs; 0: none. The pages are page tables of the guest then,
    and a write changes an entry (hostsim.kvm.address_spaces).
    processes: address spaces of each vCPU, which it loads in turn; the page tables are divided among them.
    invlpg_rate_per_s, fork_rate_per_s: INVLPGs and forks per second, summed over the vCPUs.
    changed_bytes, changed_place: bytes in a row that one write changes, and whether each write of a page changes the same
    bytes, anywhere ("same") or at its start ("start"), or bytes at a place of its own ("scattered"). XBZRLE alone reads
    them.
    """

    name: str
    pattern: str
    vcpus: tuple[int, ...]
    first_gfn: int
    n_pages: int
    write_rate_per_s: Fraction = Fraction(0)
    read_rate_per_s: Fraction = Fraction(0)
    pacing: Pacing = field(default_factory=Pacing)
    split: bool = False
    stride_pages: int = 1
    hot_pages: int = 0
    hot_share: float = 0.0
    exponent: float = 1.0
    arrivals: str = "paced"
    start_page: int = 0
    active: Active | None = None
    trace: TouchTrace | None = None
    changed_bytes: int = CHANGED_BYTES
    changed_place: Place = CHANGED_PLACE
    cr3_load_rate_per_s: Fraction = Fraction(0)
    processes: int = 1
    invlpg_rate_per_s: Fraction = Fraction(0)
    fork_rate_per_s: Fraction = Fraction(0)

    @property
    def is_swept(self) -> bool:
        """Whether the vCPUs access pages in order."""
        return self.pattern in ("sequential", "strided")

    @property
    def step_pages(self) -> int:
        """Pages from one touch of a sweep to the next."""
        return self.stride_pages if self.pattern == "strided" else 1

    @property
    def host_windows(self) -> tuple[int, int, int]:
        """Start, length, period [ns] of the windows of the host's clock; length 0: there are none."""
        active = self.active
        return (active.start_ns, active.length_ns, active.period_ns) if active and active.is_of_host else (0, 0, 0)

    def nominal_speed(self, before_ns: int, after_ns: int) -> Fraction:
        """Work of one of its clocks, undisturbed, over the time between two host times."""
        windows = self.host_windows
        if not windows[1] or after_ns <= before_ns:
            return self.pacing.duty
        on_ns = int(window_local(*windows, after_ns)) - int(window_local(*windows, before_ns))
        return self.pacing.duty * Fraction(on_ns, after_ns - before_ns)

    @property
    def rates(self) -> tuple[tuple[bool, Fraction], ...]:
        """(is_write, rate per second) of the streams that are not silent."""
        both = ((True, self.write_rate_per_s), (False, self.read_rate_per_s))
        return tuple((is_write, rate) for is_write, rate in both if rate > 0)


@dataclass(frozen=True)
class _Class:
    ints: NDArray[np.int64]
    mean_ns: float = 0.0
    page_mean_ns: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    trace_index: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    trace_ns: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


@dataclass(frozen=True)
class Guest:
    """All work of a VM: its touch classes, and one clock row per (workload, vCPU).

    table: the touch classes.
    clocks: int64[n_clocks, N_FIELDS], changed by the vCPUs alone.
    clock_vcpu, clock_workload: int64[n_clocks], vCPU and workload of each clock.
    content: the bytes that one write of each class changes.
    """

    workloads: tuple[Workload, ...]
    table: TouchTable
    clocks: NDArray[np.int64]
    clock_vcpu: NDArray[np.int64]
    clock_workload: NDArray[np.int64]
    content: Content

    def nominal_speed(self, before_ns: int, after_ns: int) -> float:
        """Work of all clocks, undisturbed, over the time between: one each, less if a task thinks or rests."""
        if not self._rests:
            return self._whole_speed
        return float(sum(self.workloads[w].nominal_speed(before_ns, after_ns) for w in self.clock_workload.tolist()))

    @property
    def _rests(self) -> bool:
        return any(load.host_windows[1] for load in self.workloads)

    @cached_property
    def _whole_speed(self) -> float:
        """``nominal_speed`` of a guest that never rests."""
        return float(sum(self.workloads[w].pacing.duty for w in self.clock_workload.tolist()))

    @property
    def pending_size(self) -> int:
        """Slots for pending touches: one per (class that writes, page). Under tcg reads arm nothing: A bits are not read."""
        independent = self.table.ints[self.table.ints[:, touch.KIND] != touch.PACED]
        return int((independent[:, touch.N_PAGES] * independent[:, touch.IS_WRITE]).sum())

    @property
    def paced_size(self) -> int:
        """Slots of the paced classes, each class rounded up to whole words."""
        paced = self.table.ints[self.table.ints[:, touch.KIND] == touch.PACED]
        return int(_paced_slots(paced[:, touch.N_PAGES]).sum())


def build_guest(workloads: Sequence[Workload], seed: int) -> Guest:
    """Lay out clocks and touch classes for ``workloads``; draws are keyed by ``seed`` and the workloads' names."""
    clocks: list[NDArray[np.int64]] = []
    owners: list[tuple[int, int]] = []
    classes: list[_Class] = []
    for w, load in enumerate(workloads):
        first_clock = len(clocks)
        clocks.extend(clock_row(load.pacing, load.host_windows) for _ in load.vcpus)
        owners.extend((vcpu, w) for vcpu in load.vcpus)
        classes.extend(_classes(load, first_clock, seed))
    vcpu_and_load = np.array(owners, np.int64).reshape(-1, 2)
    class_workload = [owners[int(one.ints[touch.CLOCK_FIRST])][1] for one in classes]
    return Guest(
        tuple(workloads),
        _stack(classes),
        np.array(clocks, np.int64).reshape(-1, N_FIELDS),
        vcpu_and_load[:, 0].copy(),
        vcpu_and_load[:, 1].copy(),
        _content_of(workloads, class_workload, seed),
    )


def _content_of(workloads: Sequence[Workload], class_workload: Sequence[int], seed: int) -> Content:
    """The contents of ``workloads``; ``class_workload``: the number of the workload of each touch class."""
    loads = [workloads[i] for i in class_workload]
    return Content(
        np.array([min(load.changed_bytes, PAGE_BYTES) for load in loads], np.int64),
        np.array([PLACES[load.changed_place] for load in loads], np.uint8),
        np.array(stream_key(seed, "content"), np.int64),
    )


def _paced_slots(n_pages: Any) -> Any:
    """Slots of a paced class (a count or an array of counts): whole words of 64 bits, and one more for its lists."""
    return -(-n_pages // 64) * 64 + 64


def _stack(classes: Sequence[_Class]) -> TouchTable:
    """Concatenate classes; offsets are set here and arrays frozen."""
    pending = armed = means = bounds = times = 0
    for one in classes:
        paced = one.ints[touch.KIND] == touch.PACED
        slots = int(one.ints[touch.N_PAGES] * one.ints[touch.IS_WRITE])
        one.ints[touch.OFFSET] = armed if paced else pending
        one.ints[touch.DATA_OFFSET] = bounds if one.ints[touch.KIND] == touch.TRACE else means
        one.trace_index[:] += times
        armed += int(_paced_slots(one.ints[touch.N_PAGES])) if paced else 0
        pending += 0 if paced else slots
        means += len(one.page_mean_ns)
        bounds += len(one.trace_index)
        times += len(one.trace_ns)
    table = TouchTable(
        np.array([one.ints for one in classes], np.int64).reshape(-1, touch.N_INTS),
        np.array([one.mean_ns for one in classes], np.float64),
        np.concatenate([np.empty(0), *(one.page_mean_ns for one in classes)]),
        np.concatenate([np.empty(0, np.int64), *(one.trace_index for one in classes)]),
        np.concatenate([np.empty(0, np.int64), *(one.trace_ns for one in classes)]),
    )
    for array in table:
        array.flags.writeable = False
    return table


def _classes(load: Workload, first_clock: int, seed: int) -> Iterator[_Class]:
    if load.pattern == "idle":
        return
    if load.pattern == "trace":
        yield from _trace_classes(load, first_clock)
        return
    for is_write, rate in load.rates:
        for part in _parts(load, first_clock, seed):
            yield from _part_classes(load, part, rate * part.share, is_write, seed)


@dataclass(frozen=True)
class _Part:
    """One stream: its region, the clocks of the vCPUs that feed it, and its share of the workload's rate."""

    first_gfn: int
    n_pages: int
    clock_first: int
    clock_count: int
    share: Fraction
    start_page: int
    label: str


def part_sizes(load: Workload) -> tuple[int, ...]:
    """Pages that each vCPU of ``load`` accesses: with ``split`` an equal part, as in OpenMP's static schedule.

    The first parts get one of the remaining pages each; parts are whole strides if the stride divides the region.
    """
    k = len(load.vcpus)
    if not load.split:
        return (load.n_pages,) * k
    whole_strides = load.n_pages % load.step_pages == 0 and load.n_pages // load.step_pages >= k
    unit = load.step_pages if whole_strides else 1
    each, rest = divmod(load.n_pages // unit, k)
    return tuple(unit * (each + (i < rest)) for i in range(k))


def sweep_cycle(load: Workload, n_pages: int) -> tuple[int, int]:
    """(touches of a sweep over ``n_pages`` until it repeats, greatest common divisor of stride and pages)."""
    common = gcd(load.step_pages % n_pages, n_pages) or n_pages
    return n_pages // common, common


def first_visits(load: Workload, seed: int) -> tuple[int, ...]:
    """Number of the touch with which each vCPU of ``load`` begins its sweep, counted from ``start_page``.

    With ``split`` each vCPU begins its own part at touch 0. In a shared region threads are not synchronized: the first vCPU
    begins at touch 0, the others at a touch that is drawn once.
    """
    k = len(load.vcpus)
    if load.split:
        return (0,) * k
    cycle, _ = sweep_cycle(load, load.n_pages)
    return (0, *(_below(cycle, stream_key(seed, f"{load.name}/{vcpu}/first visit")) for vcpu in load.vcpus[1:]))


def _below(bound: int, key: tuple[int, int]) -> int:
    """A draw from 0 to ``bound`` - 1."""
    return ((key[0] << 32 | key[1]) * bound) >> 64


def _parts(load: Workload, first_clock: int, seed: int) -> Iterable[_Part]:
    k = len(load.vcpus)
    if not load.split and not load.is_swept:
        return [_Part(load.first_gfn, load.n_pages, first_clock, k, Fraction(1), 0, "all")]
    sizes = part_sizes(load)
    begins = accumulate(sizes, initial=0) if load.split else repeat(0)
    visits = first_visits(load, seed) if load.is_swept else (0,) * k
    each = zip(load.vcpus, sizes, begins, visits, strict=False)
    return [
        _Part(
            load.first_gfn + begin,
            size,
            first_clock + i,
            1,
            Fraction(1, k),
            (load.start_page + visit * load.step_pages) % size,
            str(vcpu),
        )
        for i, (vcpu, size, begin, visit) in enumerate(each)
    ]


def _part_classes(load: Workload, part: _Part, rate: Fraction, is_write: bool, seed: int) -> Iterator[_Class]:
    key = stream_key(seed, f"{load.name}/{part.label}/{'write' if is_write else 'read'}")
    if load.is_swept:
        yield _sweep(load, part, rate, is_write)
    elif load.pattern in ("uniform", "hotcold") and load.arrivals == "paced" and is_write:
        yield _paced(load, part, rate, key)
    elif load.pattern == "uniform":
        yield _flat(load, part, part.first_gfn, part.n_pages, rate, is_write, key)
    elif load.pattern == "hotcold":
        yield from _hot_and_cold(load, part, rate, is_write, seed)
    else:
        yield _zipf(load, part, rate, is_write, key)


def _row(load: Workload, part: _Part, kind: int, first_gfn: int, n_pages: int, is_write: bool) -> NDArray[np.int64]:
    row = np.zeros(touch.N_INTS, np.int64)
    row[[touch.KIND, touch.FIRST_GFN, touch.N_PAGES, touch.IS_WRITE]] = kind, first_gfn, n_pages, is_write
    row[[touch.CLOCK_FIRST, touch.CLOCK_COUNT]] = part.clock_first, part.clock_count
    row[touch.WINDOW_LENGTH] = touch.ALWAYS
    row[[touch.ON_START, touch.ON_LENGTH, touch.ON_PERIOD]] = load.host_windows
    if load.active is not None and not load.active.is_of_host:
        # Model limit: vCPUs that feed one stream leave and enter its active windows by their mean work clock.
        window = np.array([load.active.start_ns, load.active.length_ns, load.active.period_ns], np.int64)
        row[[touch.WINDOW_START, touch.WINDOW_LENGTH, touch.WINDOW_PERIOD]] = window * part.clock_count
    return row


def _flat(
    load: Workload, part: _Part, first_gfn: int, n_pages: int, rate: Fraction, is_write: bool, key: tuple[int, int]
) -> _Class:
    row = _row(load, part, touch.FLAT, first_gfn, n_pages, is_write)
    row[[touch.KEY0, touch.KEY1]] = key
    return _Class(row, mean_ns=float(part.clock_count * NS_PER_S * n_pages / rate))


def _hot_pages(load: Workload) -> int:
    return load.hot_pages // len(load.vcpus) if load.split else load.hot_pages


def _paced(load: Workload, part: _Part, rate: Fraction, key: tuple[int, int]) -> _Class:
    row = _row(load, part, touch.PACED, part.first_gfn, part.n_pages, True)
    per_ns = (rate / (NS_PER_S * part.clock_count)).limit_denominator(_DENOMINATOR_MAX)
    row[[touch.KEY0, touch.KEY1]] = key
    row[[touch.RATE_NUM, touch.RATE_DEN]] = per_ns.numerator, per_ns.denominator
    hot_and_cold = load.pattern == "hotcold"
    row[touch.HOT_PAGES] = _hot_pages(load) if hot_and_cold else part.n_pages
    return _Class(row, mean_ns=load.hot_share if hot_and_cold else 1.0)


def _hot_and_cold(load: Workload, part: _Part, rate: Fraction, is_write: bool, seed: int) -> Iterator[_Class]:
    hot = _hot_pages(load)
    share = Fraction(load.hot_share).limit_denominator(1_000_000)
    spans = (("hot", part.first_gfn, hot, share), ("cold", part.first_gfn + hot, part.n_pages - hot, 1 - share))
    for label, first_gfn, n_pages, of_rate in spans:
        if n_pages > 0 and of_rate > 0:
            key = stream_key(seed, f"{load.name}/{part.label}/{label}/{'write' if is_write else 'read'}")
            yield _flat(load, part, first_gfn, n_pages, rate * of_rate, is_write, key)


def _zipf(load: Workload, part: _Part, rate: Fraction, is_write: bool, key: tuple[int, int]) -> _Class:
    row = _row(load, part, touch.WEIGHTED, part.first_gfn, part.n_pages, is_write)
    row[[touch.KEY0, touch.KEY1]] = key
    shares = zipf_shares(part.n_pages, load.exponent)
    return _Class(row, page_mean_ns=float(part.clock_count * NS_PER_S / rate) / shares)


def _sweep(load: Workload, part: _Part, rate: Fraction, is_write: bool) -> _Class:
    row = _row(load, part, touch.SWEEP, part.first_gfn, part.n_pages, is_write)
    stride = load.step_pages % part.n_pages
    cycle, common = sweep_cycle(load, part.n_pages)
    per_ns = (rate / NS_PER_S).limit_denominator(_DENOMINATOR_MAX)
    row[touch.START_PAGE], row[touch.STRIDE_GCD], row[touch.CYCLE] = part.start_page, common, cycle
    row[touch.STRIDE] = stride
    row[touch.STRIDE_INVERSE] = pow(stride // common, -1, cycle) if cycle > 1 else 0
    row[[touch.RATE_NUM, touch.RATE_DEN]] = per_ns.numerator, per_ns.denominator
    return _Class(row)


def _trace_classes(load: Workload, first_clock: int) -> Iterator[_Class]:
    assert load.trace is not None
    for i, vcpu in enumerate(load.vcpus):
        part = _Part(load.first_gfn, load.n_pages, first_clock + i, 1, Fraction(1), 0, str(vcpu))
        for is_write in (True, False):
            mine = (load.trace.vcpu == vcpu) & (load.trace.is_write == is_write)
            if mine.any():
                yield _trace_class(load, part, load.trace.gfn[mine], load.trace.time_ns[mine], is_write)


def _trace_class(
    load: Workload, part: _Part, gfns: NDArray[np.int64], times: NDArray[np.int64], is_write: bool
) -> _Class:
    first, last = int(gfns.min()), int(gfns.max())
    order = np.lexsort((times, gfns))
    index = np.searchsorted(gfns[order], np.arange(first, last + 2))
    row = _row(load, part, touch.TRACE, first, last - first + 1, is_write)
    return _Class(row, trace_index=index.astype(np.int64), trace_ns=times[order].astype(np.int64))
