"""One real migration from a QEMU of this host to another one: the machine protocol's commands, and QEMU's answers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hostsim.core.constants import PAGE_BYTES
from hostsim.measure.kvm.counters import changed
from hostsim.measure.qemu.firmware import BASE_BYTES, Guest, Mailbox
from hostsim.measure.qemu.plan import Planned
from hostsim.measure.qemu.process import Place, Qemu
from hostsim.measure.qemu.qmp import QemuError

BEFORE_S = 0.5
"""The guest writes so long before its migration: its rate is counted then."""
LOOK_S = 0.05
BEGIN_S, STUCK_S, SETTLE_S = 30.0, 30.0, 2.0
ENDED = ("completed", "failed", "cancelled")
ROM_FIRST, ROM_END = 0xC0000 // PAGE_BYTES, 0x100000 // PAGE_BYTES
"""Pages below 1 MiB that are not of pc.ram when the guest looks at them."""


@dataclass(frozen=True)
class Bench:
    """Facts that all runs share. binary: path of QEMU; tsc_hz: of the host; folder: for sockets and images."""

    binary: str
    tsc_hz: int
    folder: Path


@dataclass
class Run:
    """One repeat, as it was.

    status: completed or cancelled.
    last: the last ``query-migrate``, of a cancelled migration that before the cancel.
    before, start, end: the guest's counts half a second before, at ``migrate``, and at the end.
    counters: KVM's, that moved in between.
    """

    version: dict[str, Any] = field(default_factory=dict)
    status: str = ""
    last: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    nonzero_pages: int = 0
    before: Mailbox = field(default_factory=lambda: Mailbox(False, 0, 0, 0))
    start: Mailbox = field(default_factory=lambda: Mailbox(False, 0, 0, 0))
    end: Mailbox = field(default_factory=lambda: Mailbox(False, 0, 0, 0))
    counters: Mapping[str, int] = field(default_factory=dict)
    throttle_max: int = 0
    goes_on: bool = True


def migrate(bench: Bench, planned: Planned, guest: Guest, rom_pages: int) -> Run:
    """Start two QEMUs, migrate from one to the other, end both.

    guest: of ``planned``, with the seed and the first page of this repeat.
    rom_pages: non-zero pages of QEMU's own, from ``rom_pages_of``.
    Raises QemuError if QEMU refuses or fails.
    """
    image = guest.image(bench.tsc_hz)
    incoming = ("-incoming", "defer")
    with (
        Qemu(bench.binary, Place(bench.folder, "dst"), image, guest.mem_mib, planned.accel, incoming) as dst,
        Qemu(bench.binary, Place(bench.folder, "src"), image, guest.mem_mib, planned.accel) as src,
    ):
        wait_until_begun(src)
        run = Run(version=src.qmp.greeting["qemu"], nonzero_pages=rom_pages + _guest_pages(bench, src, guest))
        _set_up(src, dst, planned, run)
        run.before = src.mailbox()
        time.sleep(BEFORE_S)
        uri = f"unix:{bench.folder / 'migration'}"
        dst.qmp.ask("migrate-incoming", uri=uri)
        counters = src.counters()
        run.start = src.mailbox()
        if planned.dirty_limit_mb_s:
            src.qmp.ask("set-vcpu-dirty-limit", dirty_rate=planned.dirty_limit_mb_s)
        src.qmp.ask("migrate", uri=uri)
        _watch(src, planned, run)
        run.end = run.end if run.end.begun else src.mailbox()
        run.counters = changed(counters, src.counters())
        run.goes_on = run.status != "completed" or guest.pattern == "none" or _goes_on(dst, run.start)
        return run


def wait_until_begun(qemu: Qemu) -> None:
    """Until the guest has filled its memory. QemuError if it does not."""
    until = time.monotonic() + BEGIN_S
    while not qemu.mailbox().begun:
        qemu.check()
        if time.monotonic() > until:
            raise QemuError(f"the guest has not begun after {BEGIN_S:g} s: KVM of this host does not run its firmware")
        time.sleep(LOOK_S)


def _set_up(src: Qemu, dst: Qemu, planned: Planned, run: Run) -> None:
    capabilities = [{"capability": name, "state": True} for name in ("events", *planned.capabilities)]
    for side in (src, dst):
        side.qmp.ask("migrate-set-capabilities", capabilities=capabilities)
    limits = {"max-bandwidth": planned.max_bandwidth, "downtime-limit": planned.downtime_limit_ms}
    src.qmp.ask("migrate-set-parameters", **limits, **planned.parameters)
    if planned.parameters:  # channels and their compression have to be alike on both sides
        dst.qmp.ask("migrate-set-parameters", **planned.parameters)
    run.parameters = src.qmp.ask("query-migrate-parameters")


def _watch(src: Qemu, planned: Planned, run: Run) -> None:
    """Look again and again until the migration has ended; switch to post-copy, cancel."""
    begin, is_cancelled, is_post = time.monotonic(), False, False
    while run.status not in ENDED:
        left_s = begin + planned.cancel_after_s - time.monotonic()
        time.sleep(min(LOOK_S, left_s) if left_s > 0 else LOOK_S)  # the last look is that of the cancel
        found = src.qmp.ask("query-migrate")
        run.status, syncs = found.get("status", ""), found.get("ram", {}).get("dirty-sync-count", 0)
        run.throttle_max = max(run.throttle_max, found.get("cpu-throttle-percentage", 0))
        if not is_cancelled and run.status not in ("cancelling", "cancelled"):
            run.last = found
        if planned.postcopy_after_syncs and not is_post and syncs > planned.postcopy_after_syncs:
            src.qmp.ask("migrate-start-postcopy")
            is_post = True
        elapsed_s = time.monotonic() - begin
        if elapsed_s >= planned.cancel_after_s and not is_cancelled and run.status == "active":
            run.end, is_cancelled = src.mailbox(), True
            src.qmp.ask("migrate_cancel")
        if elapsed_s > planned.cancel_after_s + STUCK_S:
            raise QemuError(f"the migration is {run.status} after {elapsed_s:.0f} s")
    if run.status == "failed":
        raise QemuError(f"the migration failed: {found.get('error-desc', 'QEMU does not say why')}")
    if run.status == "completed":
        run.last = _settled(src)


def _settled(src: Qemu) -> dict[str, Any]:
    """The last answer: for a moment after ``completed`` QEMU 7.2 has not filled in the total time."""
    until = time.monotonic() + SETTLE_S
    found: dict[str, Any] = src.qmp.ask("query-migrate")
    while not found.get("total-time") and time.monotonic() < until:
        time.sleep(LOOK_S)
        found = src.qmp.ask("query-migrate")
    return found


def _goes_on(dst: Qemu, start: Mailbox) -> bool:
    """Whether the guest writes at the destination: its counter is above its value at the start."""
    first = dst.mailbox().writes
    time.sleep(LOOK_S)
    return start.writes < first < dst.mailbox().writes


# -- pages that are not zero: no outcome of the migration is read


def rom_pages_of(bench: Bench, guest: Guest) -> tuple[int, int]:
    """(pages of all RAMBlocks, non-zero pages of QEMU's own): ``guest`` is migrated to nowhere before it has run.

    bench: binary and folder.
    """
    with Qemu(bench.binary, Place(bench.folder, "rom"), guest.image(bench.tsc_hz), guest.mem_mib, "kvm", ("-S",)) as qemu:
        qemu.qmp.ask("migrate-set-parameters", max_bandwidth=0)
        qemu.qmp.ask("migrate", uri="exec:cat > /dev/null")
        until, found = time.monotonic() + STUCK_S, dict[str, Any]()
        while found.get("status") != "completed":
            if time.monotonic() > until:
                raise QemuError("a VM that has not run is not migrated")
            time.sleep(LOOK_S)
            found = qemu.qmp.ask("query-migrate")
        ram = found["ram"]
        return ram["total"] // PAGE_BYTES, ram["normal"]


def _guest_pages(bench: Bench, qemu: Qemu, guest: Guest) -> int:
    """Non-zero pages that the guest has made: below BASE_BYTES they are counted, the others it has filled."""
    path = bench.folder / "low"
    qemu.qmp.ask("pmemsave", val=0, size=BASE_BYTES, filename=str(path))
    pages = np.count_nonzero(np.fromfile(path, np.uint64).reshape(-1, PAGE_BYTES // 8), axis=1) > 0
    with suppress(OSError):
        path.unlink()
    return int(pages.sum() - pages[ROM_FIRST:ROM_END].sum()) + guest.fill_pages + guest.set_pages
