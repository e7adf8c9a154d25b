"""calc-dirty-rate over several windows on a guest that does not migrate, without the traps of that command.

Sources: QEMU migration/dirtyrate.c::qmp_calc_dirty_rate, calculate_dirtyrate_dirty_bitmap, is_sample_block_valid.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hostsim.measure.qemu.qmp import GoneError, QemuError, Qmp

NS_PER_SECOND = 1_000_000_000
SHORTEST_NS, LONGEST_NS = 50_000_000, 60 * NS_PER_SECOND
SAMPLED_LEAST_BYTES = 128 << 20
"""Page sampling passes over smaller RAM blocks."""
MILLISECONDS_SINCE = (8, 2)
"""Older versions take whole seconds from 1 to 60."""
LATE_S = 10.0
"""So long after its window QEMU still may answer that it measures."""
MODES = ("page-sampling", "dirty-bitmap", "dirty-ring")


@dataclass(frozen=True)
class Guest:
    """Facts that decide whether a mode works. version: of QEMU; kvm, memory_bytes: None if QEMU does not report them."""

    version: tuple[int, int]
    kvm: bool | None
    memory_bytes: int | None
    status: str = "none"


class DirtyRates:
    """The windows that are left, and the measurement under way."""

    def __init__(self, windows_ns: Sequence[int], mode: str, say: Callable[[str], None]) -> None:
        """windows_ns: calc-time of each measurement; mode: of MODES; say: takes a line for people."""
        self._left, self._mode, self._say = list(windows_ns), mode, say
        self._until: float | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to measure."""
        return not self._left

    def check(self, guest: Guest) -> None:
        """QemuError if the measurements would disturb a migration, end QEMU, or report nothing."""
        reasons = (self._why_not_now(guest), self._why_not_so(guest), self._why_not_long(guest))
        why = next(filter(None, reasons), "")
        if why:
            raise QemuError(f"--dirty-rate: {why}")

    def _why_not_now(self, guest: Guest) -> str:
        if not self._left or guest.status in ("none", "completed", "failed", "cancelled"):
            return ""
        return (
            f"a migration is {guest.status}, and the measurement would use the dirty log with it; measure before it begins, "
            "or record without --dirty-rate: query-migrate has dirty-pages-rate"
        )

    def _why_not_so(self, guest: Guest) -> str:
        if self._mode != "page-sampling" and guest.kvm is False:
            without = "without it QEMU 7.2 crashes, later ones report 0"
            return f"{self._mode} needs KVM, {without}; take --dirty-rate-mode page-sampling"
        if self._mode == "page-sampling" and guest.memory_bytes is not None and guest.memory_bytes < SAMPLED_LEAST_BYTES:
            mib = guest.memory_bytes >> 20
            return (
                f"page-sampling passes over RAM blocks below 128 MiB, and this guest has {mib} MiB: QEMU would report 0; "
                "with KVM take --dirty-rate-mode dirty-bitmap"
            )
        return ""

    def _why_not_long(self, guest: Guest) -> str:
        broken = [window_ns for window_ns in self._left if window_ns % NS_PER_SECOND]
        if not broken or guest.version >= MILLISECONDS_SINCE:
            return ""
        older = ".".join(map(str, guest.version))
        return f"a window of {broken[0] / 1e9:g} s: QEMU {older} measures whole seconds, 8.2 and later milliseconds"

    def step(self, qmp: Qmp, *, is_migrating: bool) -> Iterator[tuple[str, Any]]:
        """Begin the next measurement by ``qmp``, or look after the current one; yield (command, answer) of each that ends.

        is_migrating: a migration has begun; measurements that are left are dropped, since they would disturb it.
        """
        if not self._left:
            return
        if is_migrating:
            self._drop("a migration has begun, which further measurements would disturb")
        elif self._until is None:
            self._begin(qmp)
        else:
            yield from self._look(qmp)

    def _begin(self, qmp: Qmp) -> None:
        window_ns = self._left[0]
        given: dict[str, Any] = {"calc_time": window_ns // NS_PER_SECOND}
        if window_ns % NS_PER_SECOND:
            given = {"calc_time": window_ns // 1_000_000, "calc_time_unit": "millisecond"}
        if self._mode != "page-sampling":  # the mode of versions before 6.2, which take no name
            given["mode"] = self._mode
        try:
            qmp.ask("calc-dirty-rate", **given)
        except GoneError:
            raise
        except QemuError as error:
            self._drop(f"QEMU refuses, {error}")
            return
        self._until = time.monotonic() + window_ns / 1e9 + LATE_S

    def _look(self, qmp: Qmp) -> Iterator[tuple[str, Any]]:
        found = qmp.ask("query-dirty-rate")
        if found.get("status") == "measured":
            self._until = None
            window_ns = self._left.pop(0)
            if not found.get("dirty-rate"):
                self._say(f"calc-dirty-rate over {window_ns / 1e9:g} s reports 0: {self._why_zero()}")
            yield "query-dirty-rate", found
        elif self._until is not None and time.monotonic() > self._until:
            self._drop(f"QEMU still has not measured {LATE_S:g} s after the window")

    def _why_zero(self) -> str:
        if self._mode == "page-sampling":
            return "the guest is paused, wrote less than 1 MiB/s or what was there before, or the samples missed its pages"
        return "the guest is paused, or wrote less than 1 MiB/s"

    def _drop(self, why: str) -> None:
        windows = ", ".join(f"{window_ns / 1e9:g} s" for window_ns in self._left)
        self._left, self._until = [], None
        self._say(f"not measured (windows of {windows}): {why}")
