"""All measurements of ``--measure``: repeat after repeat, so that drift of the machine shows as spread."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hostsim.measure.kvm.bystanders import Bystanders, check_quiet, look_first
from hostsim.measure.kvm.device import Kvm
from hostsim.measure.kvm.host import read_host
from hostsim.measure.kvm.vm import Vm, VmSpec
from hostsim.measure.qemu.dirty_rate import DirtyRate, measure_dirty_rate
from hostsim.measure.qemu.firmware import Guest
from hostsim.measure.qemu.migrate import Bench, Run, migrate, rom_pages_of
from hostsim.measure.qemu.plan import PLAN, RATE_MODES, Planned
from hostsim.measure.qemu.process import find_qemu
from hostsim.measure.qemu.qmp import QemuError
from hostsim.measure.qemu.record import Host, case_of

REPEATS = 3
SEED, SEED_STEP, FIRST_STEP = 20_110_725, 7_919, 2_741
"""Draws and starting pages of repeats differ, and are the same in each measurement."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Measurement:
    """Measurements of this QEMU.

    cases: in the form of measured cases, those that ran.
    dirty_rates: of calc-dirty-rate.
    refused: measurements that QEMU refuses here, each with its words.
    foreign_share: share of the processors' time that other processes took.
    """

    cases: tuple[dict[str, Any], ...]
    dirty_rates: tuple[DirtyRate, ...]
    refused: dict[str, str]
    foreign_share: float


def n_steps(plan: Sequence[Planned], repeats: int, modes: Sequence[str]) -> int:
    """Number of calls of the progress callback: one a repeat of each case of ``plan``, and one for each of ``modes``.

    repeats: of each case.
    """
    return len(plan) * repeats + len(modes)


def measure(
    plan: Sequence[Planned] = PLAN, repeats: int = REPEATS, modes: Sequence[str] = tuple(RATE_MODES), *, busy: bool = False,
    progress: Progress = lambda _about: None,
) -> Measurement:  # fmt: skip
    """Run ``plan`` ``repeats`` times over, then calc-dirty-rate in ``modes``.

    busy: accept a machine on which other processes work.
    progress: called with the name of each finished measurement.
    Raises KvmError or QemuError where KVM or QEMU is missing, and if nothing could be measured.
    """
    binary, tsc_hz = find_qemu(), tsc_hz_of_host()
    look_first(accept=busy)
    bystanders = Bystanders()
    with tempfile.TemporaryDirectory(prefix="hostsim-") as folder:
        measured = _Measured(Bench(binary, tsc_hz, Path(folder)), progress)
        for repeat in range(repeats):
            for planned in plan:
                measured.migrate(planned, repeat)
        for mode in modes:
            measured.dirty_rate(mode)
    share = bystanders.share()
    check_quiet(share, accept=busy)
    return measured.measurement(plan, share)


def tsc_hz_of_host() -> int:
    """Frequency of the guest's time stamp counter. KvmError where there is no KVM."""
    with Kvm.open() as kvm, Vm(kvm, VmSpec(2 << 20)) as vm:
        return vm.tsc_khz * 1000


def guest_of(planned: Planned, repeat: int) -> Guest:
    """The guest of one repeat: its own draws, its own place in the sweep."""
    guest = planned.guest
    return replace(guest, seed=SEED + SEED_STEP * repeat, first=FIRST_STEP * repeat % guest.set_pages)


class _Measured:
    def __init__(self, bench: Bench, progress: Progress) -> None:
        self._bench, self._progress = bench, progress
        self._runs: dict[str, list[tuple[Guest, Run]]] = defaultdict(list)
        self._rates: list[DirtyRate] = []
        self._refused: dict[str, str] = {}
        self._pages: dict[int, tuple[int, int]] = {}

    def _pages_of(self, guest: Guest) -> tuple[int, int]:
        """``rom_pages_of``, once for each size of memory."""
        if guest.mem_mib not in self._pages:
            self._pages[guest.mem_mib] = rom_pages_of(self._bench, guest)
        return self._pages[guest.mem_mib]

    def migrate(self, planned: Planned, repeat: int) -> None:
        """One repeat; a refusal is kept, and no repeat follows it."""
        if planned.id not in self._refused:
            guest = guest_of(planned, repeat)
            try:
                run = migrate(self._bench, planned, guest, self._pages_of(guest)[1])
                self._runs[planned.id].append((guest, run))
            except QemuError as error:
                self._refused[planned.id] = str(error)
        self._progress(planned.id)

    def dirty_rate(self, mode: str) -> None:
        """One mode of calc-dirty-rate."""
        name = f"calc-dirty-rate {mode}"
        try:
            self._rates.append(measure_dirty_rate(self._bench, mode))
        except QemuError as error:
            self._refused[name] = str(error)
        self._progress(name)

    def measurement(self, plan: Sequence[Planned], share: float) -> Measurement:
        """Everything, if there is anything."""
        if not any(self._runs.values()) and not self._rates:
            raise QemuError(next(iter(self._refused.values()), "nothing was to be measured"))
        cases = [self._case(planned) for planned in plan if self._runs[planned.id]]
        return Measurement(tuple(cases), tuple(self._rates), self._refused, share)

    def _case(self, planned: Planned) -> dict[str, Any]:
        guests, runs = zip(*self._runs[planned.id], strict=True)
        return case_of(planned, guests, runs, Host(read_host(), self._pages_of(planned.guest)[0], self._bench.tsc_hz))
