"""The migration bitmap and sending pages, one SimPy timeout a page."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import simpy

from hostsim.machine.spec import MachineSpec
from tests.twins.guest import TwinMemory
from tests.twins.instant import host_events_left
from tests.twins.stream_out import TwinSocket, TwinStream
from tests.twins.xbzrle import WHOLE, TwinXbzrle

Step = Generator[simpy.Event, Any, bool]


class TwinRam:
    def __init__(self, env: simpy.Environment, memory: TwinMemory, spec: MachineSpec) -> None:
        self.env, self.memory, self.sheet = env, memory, spec.sheet
        self.socket, self.stream = TwinSocket(spec.link), TwinStream(spec.migration.qemu)
        self.bitmap: set[int] = set()
        self.destination: dict[int, int] = {}
        self.cursor = 0
        self.block_sent = -1
        self.normal_pages = self.zero_pages = 0
        self.t_ns = 0
        self.log: list[tuple[int, int, int]] = []
        self.xbzrle = TwinXbzrle(spec) if spec.migration.xbzrle else None

    @property
    def ram_bytes(self) -> int:
        """Bytes of RAM on all channels."""
        return self.stream.ram_bytes

    @property
    def main_bytes(self) -> int:
        """Bytes of RAM on the main channel."""
        return self.stream.ram_bytes

    @property
    def other_bytes(self) -> int:
        return self.stream.other_bytes

    def waiting(self) -> set[int]:
        """Pages that are still to be read."""
        return self.bitmap

    def channel_bytes(self) -> int:
        return 0

    def reset_window(self) -> None:
        self.stream.charged_bytes = 0

    def drained_ns(self) -> int:
        return self.socket.drained_ns()

    @property
    def remaining_bytes(self) -> int:
        return 4096 * len(self.bitmap)

    def setup(self) -> None:
        blocks = self.memory.blocks
        self.bitmap = set(range(len(self.memory.content)))
        self.write_other(8 + sum(1 + len(block.idstr) + 8 for block in blocks) + 8, 0)

    def write_other(self, ram_bytes: int, other_bytes: int) -> None:
        self.stream.other(ram_bytes, other_bytes)
        self.t_ns = self.socket.write(max(self.t_ns, self.env.now), ram_bytes + other_bytes)

    def exceeded(self, limit_bytes: int) -> bool:
        return limit_bytes > 0 and self.stream.charged_bytes > limit_bytes

    def save(self, limit_bytes: int, bounded: bool, wanted: Callable[[], bool]) -> Step:
        """ram_save_iterate; False if it was called off."""
        self.t_ns = started_ns = self.env.now
        pages = 0
        while not self.exceeded(limit_bytes):
            if not self.bitmap:
                self.scan_nothing()
                break
            if self.t_ns > self.env.now or host_events_left(self.env):
                yield self.env.timeout(max(0, self.t_ns - self.env.now))
                if not wanted():
                    return False
                continue
            if not self.send_page(last_stage=not bounded):
                continue
            if bounded and pages % 64 == 0 and (self.t_ns - started_ns) // 1_000_000 > 50:
                break
            pages += 1
        self.write_other(8, 10)
        yield self.env.timeout(max(0, self.t_ns - self.env.now))
        return wanted()

    def scan_nothing(self) -> None:
        """A scan that finds no dirty page passes the end of RAM, too."""
        if self.xbzrle:
            self.xbzrle.started = True

    def send_page(self, last_stage: bool) -> bool:
        """False if nothing was sent."""
        later = [gfn for gfn in self.bitmap if gfn >= self.cursor]
        gfn = min(later or self.bitmap)
        self.bitmap.remove(gfn)
        if self.xbzrle and gfn < self.cursor:
            self.xbzrle.started = True
        self.cursor = gfn + 1
        is_zero = self.memory.is_zero(gfn)
        self.log.append((self.env.now, gfn, int(is_zero)))
        length, more_ns = WHOLE, 0
        if self.xbzrle and self.xbzrle.started:
            length, more_ns = self.xbzrle.send(gfn, self.memory.content[gfn], is_zero, last_stage)
        if length == 0:
            self.destination[gfn] = self.memory.content[gfn]
            self.t_ns = self.env.now + more_ns
            return False
        header_bytes = 9 if is_zero else 8
        block = next(i for i, b in enumerate(self.memory.blocks) if b.first_gfn <= gfn < b.end_gfn)
        if block != self.block_sent:
            header_bytes += 1 + len(self.memory.blocks[block].idstr)
            self.block_sent = block
        is_whole = not is_zero and length == WHOLE
        if is_zero:
            self.zero_pages += 1
            busy_ns = self.sheet.zero_page_ns
        elif not is_whole:
            busy_ns, header_bytes = 0, header_bytes + 3 + length
        else:
            self.normal_pages += 1
            busy_ns = self.sheet.page_send_ns + (0 if gfn in self.destination else self.sheet.first_copy_ns)
        self.destination[gfn] = self.memory.content[gfn]
        is_copied = self.xbzrle is not None and self.xbzrle.started and not last_stage
        if is_copied:
            self.stream.copied(header_bytes + 4096 * is_whole)
        else:
            self.stream.page(header_bytes, is_whole)
        self.t_ns = self.socket.write(self.env.now + busy_ns + more_ns, header_bytes + 4096 * is_whole)
        return True

    def stale(self) -> set[int]:
        """Pages whose copy is old, or missing."""
        return {gfn for gfn, content in enumerate(self.memory.content) if self.destination.get(gfn) != content}
