"""[vm]: memory, its content, and the workloads that touch it."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from hostsim.core.constants import NS_PER_S, PAGE_BYTES
from hostsim.core.units import shown
from hostsim.guest.content import CHANGED_BYTES, CHANGED_PLACE
from hostsim.kvm.interfaces import INTERFACE_TRAITS
from hostsim.plugins.registry import installed
from hostsim.scenario.dirty_limit_schema import DirtyLimit
from hostsim.scenario.dirty_rate_schema import DirtyRateCommand
from hostsim.scenario.kvm_schema import Mmu, Tracking
from hostsim.scenario.presets import PresetName, expanded
from hostsim.scenario.section import Section
from hostsim.scenario.types import (
    VCPUS_MAX,
    Count,
    Duration,
    DurationOrNever,
    DurationOrOff,
    Flag,
    Name,
    Number,
    Options,
    PageBytes,
    Rate,
    Share,
    Vcpus,
    refused,
)

SWEEPS = ("sequential", "strided")
MEMORY_MIN_BYTES = 1 << 20
MEMORY_MAX_BYTES = 64 << 40
PATTERNS = ("idle", "sequential", "strided", "uniform", "hotcold", "zipf", "trace")
"""Patterns that come with hostsim."""


def _read_pattern(value: object) -> str:
    """One of PATTERNS, or the name of an installed workload plug-in."""
    if isinstance(value, str) and (value in PATTERNS or value in installed("workload")):
        return value
    *names, last = (repr(name) for name in (*PATTERNS, *installed("workload")))
    raise refused(shown(value), f"one of {', '.join(names)} or {last}", '"uniform"')


_WORDS = f"{', '.join(PATTERNS)}, or a plug-in"
_PATTERN_SCHEMA = WithJsonSchema({"type": "string", "description": _WORDS, "examples": [*PATTERNS]})
Pattern = Annotated[str, BeforeValidator(_read_pattern), _PATTERN_SCHEMA]


class Fill(Section):
    """[[vm.fill]]: memory that is not zero."""

    at: PageBytes = Field(default=0, description="offset in guest memory")
    size: PageBytes = Field(gt=0, description="how much is not zero", examples=["1GiB"])


class RamBlock(Section):
    """[[vm.ramblock]]: a RAMBlock behind the main one, pc.ram."""

    name: Name = Field(description="QEMU's idstr of the block", examples=["vga.vram"])
    size: PageBytes = Field(gt=0, description="its size, at most that of the main one", examples=["16MiB"])
    filled_pages: Count = Field(default=0, ge=0, description="pages from its start that are not zero")


class Active(Section):
    """``active``: windows of time in which the workload runs."""

    start: Duration = Field(default=0, description="begin of the first window")
    length: Duration = Field(gt=0, description="length of a window", examples=["10s"])
    period: DurationOrNever = Field(default=0, description="from one window to the next; never: there is one window only")
    clock: Literal["host", "work"] | None = Field(
        default=None,
        description="host: windows of the host's time, as of timers, office hours or a load test: a throttled vCPU has done "
        "less at the end of a window. work: windows of the workload's own time, as of a job with a given amount of work: a "
        "throttled vCPU works, and rests, for longer. Default: host with a period, work without",
    )

    @property
    def is_of_host(self) -> bool:
        """``clock`` as written; by default guests rest by timers, and a job without a period ends with its work."""
        return self.clock == "host" if self.clock else self.period > 0


class Think(Section):
    """``think``: a task that works for a while, sleeps, and works again."""

    work: Duration = Field(gt=0, description="work between two sleeps", examples=["200ms"])
    sleep: Duration = Field(
        gt=0, description="sleep after it, by a timer that also runs while the vCPU is throttled or waits", examples=["1s"]
    )


class Workload(Section):
    """[[vm.workload]]: what some vCPUs do to a region of memory."""

    preset: PresetName | None = Field(default=None, description="a known program; supplies the keys that are not given here")
    operations: Rate | None = Field(
        default=None, description="with a preset of clients: operations per second, in place of the preset's"
    )
    name: Name | None = Field(default=None, description="key of its random draws; default: <pattern>-<i>")
    pattern: Pattern = Field(description="order in which it touches pages", examples=["uniform"])
    options: Options | None = Field(
        default=None, description="pattern of a plug-in: keys of its own; see [plug-ins](../howto/plug-in.md)"
    )
    vcpus: Vcpus = Field(default="all", description='the vCPUs that run it: "all", a list, or "0-3"')
    at: PageBytes = Field(default=0, description="where its region starts")
    size: PageBytes | None = Field(default=None, gt=0, description="size of its region; default: up to the end of memory")
    split: Flag | None = Field(
        default=None,
        description="each vCPU has an equal part of the region to itself; false: all go over the whole region; "
        "default: true with sequential and strided, as threads divide a loop; else false",
    )
    write_rate: Rate = Field(default=Fraction(0), description="page writes per second, over all its vCPUs")
    read_rate: Rate = Field(default=Fraction(0), description="page reads per second, over all its vCPUs")
    cr3_load_rate: Rate = Field(
        default=Fraction(0),
        description="CR3 loads per second, over all its vCPUs. Its region holds page tables of the lowest level then: table "
        "i maps the i-th 2 MiB of memory; each write changes an entry. Under shadow paging the first write to a table is "
        "an exit, and a CR3 load syncs the tables; with two-dimensional paging neither is seen",
        examples=["1000/s"],
    )
    processes: int = Field(
        default=1,
        ge=1,
        le=10_000,
        description="with cr3_load_rate: processes of each vCPU, which its CR3 loads go through in turn; the page tables "
        "are divided among them. KVM keeps the roots of four",
    )
    invlpg_rate: Rate = Field(
        default=Fraction(0),
        description="with cr3_load_rate: INVLPGs per second, over all its vCPUs, one for a changed entry each (munmap and "
        "mprotect of few pages, copy on write): an exit under shadow paging",
        examples=["4000/s"],
    )
    fork_rate: Rate = Field(
        default=Fraction(0),
        description="with cr3_load_rate and two or more processes: forks per second, over all its vCPUs. The current "
        "process forks, the child takes the place and the page tables of the next process, which has ended (`processes` of "
        "/proc/stat counts forks)",
        examples=["50/s"],
    )
    pacing: Literal["closed", "open"] = Field(
        default="closed", description="closed: bound to the CPU; open: work arrives by the clock, and the vCPU catches up"
    )
    catch_up: Number = Field(
        default=10.0, ge=1, le=1e6, description="open: full speed of a vCPU divided by its nominal speed (assumed)"
    )
    tick: DurationOrOff = Field(default=0, description="works only at timer ticks of this period; off: works all the time")
    tick_late: DurationOrNever = Field(
        default=0, description="closed, with tick: a tick that is later than this does no work; never: all ticks do work"
    )
    arrivals: Literal["paced", "poisson"] = Field(
        default="paced", description="uniform, hotcold: writes at even distances, or independent of each other"
    )
    stride: PageBytes = Field(default=0, description="strided: distance of two touches")
    hot_size: PageBytes = Field(default=0, description="hotcold: the hot part, at the start of the region")
    hot_share: Share = Field(default=0.0, description="hotcold: share of the touches that go to the hot part")
    exponent: Number = Field(default=1.0, gt=0, le=5, description="zipf: rank k is touched in proportion to k^-exponent")
    compression_ratio: Number | None = Field(
        default=None,
        gt=0,
        le=1,
        description="compressed divided by original bytes of its region; default: vm.compression_ratio",
    )
    start_page: Count = Field(
        default=0, ge=0, description="sequential, strided: page of its part where each vCPU stands at time 0; with "
        "split = false the first vCPU, the others at drawn places",
    )  # fmt: skip
    changed_bytes: Count = Field(
        default=CHANGED_BYTES, ge=1, le=PAGE_BYTES,
        description="bytes in a row that one write changes in its page; XBZRLE alone depends on it (assumed: a cache line)",
    )  # fmt: skip
    changed_place: Literal["same", "start", "scattered"] = Field(
        default=CHANGED_PLACE,
        description="where they lie. same: every write of a page changes the same bytes, as a counter does; "
        "start: the first bytes of the page, as of a page header; scattered: each write changes bytes anywhere in the page "
        "(assumed)",
    )  # fmt: skip
    active: Active | None = Field(default=None, description="windows of time in which it runs; default: always")
    writes: Count | None = Field(
        default=None, ge=1, description="page writes after which it ends, over all its vCPUs; default: it does not end"
    )
    think: Think | None = Field(default=None, description="sleeps between bursts of work; default: works all the time")
    file: Annotated[str, Field(strict=True, min_length=1, max_length=1000)] | None = Field(
        default=None, description="trace: CSV of time,vcpu,gfn,rw; relative to the scenario file", examples=["trace.csv"]
    )

    @property
    def is_plugged(self) -> bool:
        """Whether a plug-in says which pages are touched."""
        return self.pattern not in PATTERNS

    @property
    def is_split(self) -> bool:
        """``split`` as written; by default True for sweeps."""
        # Model limit: threads that divide a region sweep their parts at their own pace: no barrier between two sweeps.
        return self.pattern in SWEEPS if self.split is None else self.split

    @property
    def window(self) -> Active | None:
        """``active`` as written, or the window in which ``writes`` page writes are made."""
        if self.writes is None or self.write_rate == 0:
            return self.active
        length = max(1, int(self.writes * NS_PER_S / self.write_rate))
        return Active.model_construct(start=0, length=length, period=0, clock="work")

    def vcpu_numbers(self, n_vcpus: int) -> tuple[int, ...]:
        """Numbers of the vCPUs that run the workload, of a VM with ``n_vcpus``."""
        return tuple(range(n_vcpus)) if self.vcpus == "all" else self.vcpus

    def region_gfns(self, memory_bytes: int) -> tuple[int, int]:
        """(first gfn, pages) of the workload's region."""
        size = memory_bytes - self.at if self.size is None else self.size
        return self.at // PAGE_BYTES, size // PAGE_BYTES


class Vm(Section):
    """[vm]: the guest."""

    memory: PageBytes = Field(
        ge=MEMORY_MIN_BYTES, le=MEMORY_MAX_BYTES, description="size of the main RAMBlock, pc.ram", examples=["4GiB"]
    )
    vcpus: Count = Field(default=1, ge=1, le=VCPUS_MAX, description="number of vCPUs", examples=[2])
    filled: Literal["all", "none", "list"] = Field(
        default="all", description='which pages are not zero at the start; "list" with [[vm.fill]]'
    )
    dirty_tracking: Tracking = Field(
        default="tcg",
        description="how KVM or QEMU finds dirty pages. tcg: the log is cleared at a sync and costs the guest nothing. KVM: "
        + "; ".join(f"{name} {traits.says}" for name, traits in INTERFACE_TRAITS.items()),
    )
    mmu: Mmu | None = Field(default=None, description="KVM: kernel, costs and paging mode")
    fill: tuple[Fill, ...] = Field(default=(), description="ranges of pages that are not zero")
    ramblock: tuple[RamBlock, ...] = Field(default=(), description="RAMBlocks behind the main one")
    workload: tuple[Workload, ...] = Field(default=(), description="work of the vCPUs: which pages they touch, and when")
    dirty_limit: tuple[DirtyLimit, ...] = Field(
        default=(), description="commands set-vcpu-dirty-limit, in the order of time"
    )
    compression_ratio: Number | None = Field(
        default=None, gt=0, le=1,
        description="compressed divided by original bytes of its pages, with multifd_compression; default: 0.275 is assumed "
        "(KubeVirt enhancement 246: 3.3 of 12 GiB with zstd)",
    )  # fmt: skip
    calc_dirty_rate: tuple[DirtyRateCommand, ...] = Field(
        default=(), description="commands calc-dirty-rate: the guest's dirty rate as QEMU estimates it"
    )
    memory_limit: PageBytes | None = Field(
        default=None, ge=MEMORY_MIN_BYTES, description="with [host.memory]: memory.max of its group; default: no limit"
    )

    @model_validator(mode="before")
    @classmethod
    def _with_presets(cls, data: Any) -> Any:
        return expanded(data) if isinstance(data, Mapping) else data

    @property
    def memory_pages(self) -> int:
        """Pages of the main RAMBlock."""
        return self.memory // PAGE_BYTES

    def filled_gfns(self) -> tuple[tuple[int, int], ...]:
        """(first gfn, pages) of each range that is not zero in the main RAMBlock."""
        if self.filled == "all":
            return ((0, self.memory_pages),)
        return tuple((one.at // PAGE_BYTES, one.size // PAGE_BYTES) for one in self.fill)
