"""multifd over a link without latency, written out: packets, channels that are busy until a moment, syncs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import simpy

from hostsim.machine.spec import MachineSpec
from hostsim.qemu.multifd import compress_costs
from tests.twins.guest import TwinMemory
from tests.twins.instant import host_events_left
from tests.twins.ram import Step, TwinRam

PS_PER_S = 10**12
HEADER = 1344
PACKET_PAGES = 128
SIZE_OF_ZEROS = 32


@dataclass
class Job:
    """A write of a channel: done_ps, when it is written; counted: bytes that count then.

    left: bytes to be copied; at_ps: when the channel copies on (both over connections with windows).
    """

    size: int
    copy_ps: int
    done_ps: int
    counted: int
    left: int = 0
    at_ps: int = 0


class TwinMultifd(TwinRam):
    def __init__(self, env: simpy.Environment, memory: TwinMemory, spec: MachineSpec) -> None:
        super().__init__(env, memory, spec)
        p = spec.migration
        self.p, self.link, self.content = p, spec.link, spec.content
        self.old = p.qemu == "7.2"
        self.finder = "legacy" if self.old else p.zero_page_detection
        self.jobs = [Job(1, 0, 0, 0) for _ in range(p.multifd_channels)]
        self.finished: list[Job] = []
        self.turn = 0
        self.queue: list[int] = []
        self.counted_at_once = self.main_ram = self.main_other = self.held = 0
        self.charged = self.free_ps = 0
        self.window_ps = -1
        ratios = [spec.content.page_bytes()] * len(memory.content)
        for first, n, _ in spec.content.regions:
            for gfn in range(first, first + n):
                ratios[gfn] = int(spec.content.payload(len(ratios))[gfn])
        self.sizes = ratios if p.multifd_compression != "none" else [4096] * len(ratios)
        self.compress_ps, self.compress_byte_ps = compress_costs(spec.sheet, p)
        self.page_ps = 1000 * (spec.sheet.zero_copy_page_ns if p.zero_copy_send else spec.sheet.page_send_ns)

    # -- bytes, as QEMU counts them

    def channel_bytes(self) -> int:
        return self.counted_at_once + self._written(-1, self.env.now)

    def waiting(self) -> set[int]:
        return self.bitmap | set(self.queue)

    def _written(self, after_ps: int, t_ns: int) -> int:
        every = [*self.finished, *self.jobs]
        return sum(job.counted for job in every if after_ps < job.done_ps <= 1000 * t_ns)

    @property
    def main_bytes(self) -> int:
        return self.main_ram

    @property
    def ram_bytes(self) -> int:
        return self.main_ram + self.channel_bytes()

    @property
    def other_bytes(self) -> int:
        return self.main_other

    def exceeded(self, limit_bytes: int) -> bool:
        return self._exceeded_at(limit_bytes, self.env.now)

    def _exceeded_at(self, limit_bytes: int, t_ns: int) -> bool:
        return limit_bytes > 0 and self.charged + self._written(self.window_ps, t_ns) > limit_bytes

    def reset_window(self) -> None:
        self.charged, self.window_ps = 0, 1000 * self.env.now

    # -- the main channel

    def setup(self) -> None:
        super().setup()
        if not self.old:
            self.counted_at_once += 64 * len(self.jobs)
        self._sync()

    def write_other(self, ram_bytes: int, other_bytes: int) -> None:
        self.t_ns = max(self.t_ns, self.env.now)
        self.main_ram += ram_bytes
        self.main_other += other_bytes
        self._put(ram_bytes + other_bytes)
        self._flush_main()

    def _put(self, n_bytes: int) -> None:
        self.held += n_bytes
        if self.old:
            self.charged += n_bytes

    def _flush_main(self) -> None:
        if not self.old:
            self.charged += self.held
        self.t_ns = self._through_link(self.held, self.t_ns)
        self.held = 0

    def _through_link(self, n_bytes: int, t_ns: int) -> int:
        rate = self.link.bandwidth_bytes_per_s
        if not rate:
            return t_ns
        self.free_ps = max(self.free_ps, 1000 * t_ns) + n_bytes * PS_PER_S // rate
        return max(t_ns, -(-(self.free_ps - self.link.socket_buffer_bytes * PS_PER_S // rate) // 1000))

    def drained_ns(self) -> int:
        return -(-self.free_ps // 1000)

    # -- the thread

    def save(self, limit_bytes: int, bounded: bool, wanted: Callable[[], bool]) -> Step:
        self.t_ns = started_ns = self.env.now
        pages, syncs_at_end, is_over = 0, self.old, False
        while True:
            if not (yield from self._wait(wanted)):
                return False
            if is_over or self._exceeded_at(limit_bytes, self.t_ns):
                break
            if not self.bitmap:
                syncs_at_end = True
                break
            later = [gfn for gfn in self.bitmap if gfn >= self.cursor]
            if not later and not self.old:
                if not (yield from self._drain(wanted)):
                    return False
                self.cursor = 0
                continue
            if not (yield from self._take(min(later or self.bitmap), wanted)):
                return False
            is_over = bounded and pages % 64 == 0 and (self.t_ns - started_ns) // 1_000_000 > 50
            pages += 1
        if syncs_at_end and not (yield from self._drain(wanted)):
            return False
        self.write_other(8, 10)
        yield self.env.timeout(max(0, self.t_ns - self.env.now))
        return wanted()

    def _is_early(self) -> bool:
        return self.t_ns > self.env.now or host_events_left(self.env)

    def _wait(self, wanted: Callable[[], bool]) -> Step:
        while self._is_early():
            yield self.env.timeout(max(0, self.t_ns - self.env.now))
            if not wanted():
                return False
        return True

    def _take(self, gfn: int, wanted: Callable[[], bool]) -> Step:
        self.bitmap.remove(gfn)
        self.cursor = gfn + 1
        if self.finder == "legacy" and self.memory.is_zero(gfn):
            self._send_zero(gfn)
            return True
        self.t_ns += self.sheet.queue_page_ns
        full = len(self.queue) == PACKET_PAGES or (self.queue and self._block(self.queue[-1]) != self._block(gfn))
        ready = len(self.queue) if full else 0
        self.queue.append(gfn)
        if self.old and not ready and len(self.queue) == PACKET_PAGES:
            ready = PACKET_PAGES
        return (yield from self._hand(ready, wanted)) if ready else True

    def _block(self, gfn: int) -> int:
        return next(i for i, b in enumerate(self.memory.blocks) if b.first_gfn <= gfn < b.end_gfn)

    def _send_zero(self, gfn: int) -> None:
        self.log.append((self.t_ns, gfn, 1))
        n_bytes, block = 9, self._block(gfn)
        if block != self.block_sent:
            n_bytes += 1 + len(self.memory.blocks[block].idstr)
            self.block_sent = block
        self.zero_pages += 1
        self.t_ns += self.sheet.zero_page_ns
        self.destination[gfn] = self.memory.content[gfn]
        self.main_ram += n_bytes
        self._put(n_bytes)
        if self.held >= 32768:
            self._flush_main()

    # -- channels

    def _hand(self, n_pages: int, wanted: Callable[[], bool]) -> Step:
        self.t_ns = max(self.t_ns, -(-self._free_ps() // 1000))
        if not (yield from self._wait(wanted)):
            return False
        self._pass_to(self.t_ns)
        packet, self.queue = self.queue[:n_pages], self.queue[n_pages:]
        read = [self._read(gfn) for gfn in packet]
        prepare_ps, first_ps, page_bytes = (sum(column) for column in zip(*read, strict=True))
        size, copy_ps = HEADER + page_bytes, self.page_ps * page_bytes // 4096 + first_ps
        at = next(
            j for i in range(len(self.jobs)) if self.jobs[j := (self.turn + i) % len(self.jobs)].done_ps <= 1000 * self.t_ns
        )
        self.turn = (at + 1) % len(self.jobs)
        counted = 0 if self.old else size
        self._begin(at, Job(size, copy_ps, 0, counted), 1000 * self.t_ns + prepare_ps, size)
        if self.old:
            self.counted_at_once += HEADER + 4096 * n_pages
            self.charged += HEADER + 4096 * n_pages
        return True

    def _free_ps(self) -> int:
        return min(job.done_ps for job in self.jobs)

    def _pass_to(self, t_ns: int) -> None:
        """Without latency nothing happens between two writes."""

    def _all_done_ns(self) -> int:
        return max(-(-job.done_ps // 1000) for job in self.jobs)

    def _all_read_ns(self) -> int:
        """When the network card has read all pages."""
        return self.drained_ns()

    def _read(self, gfn: int) -> tuple[int, int, int]:
        """(preparing [ps], first copy [ps], bytes) of a page; its content goes to the destination."""
        is_new, is_zero = gfn not in self.destination, self.memory.is_zero(gfn)
        found = is_zero and self.finder == "multifd"
        self.log.append((self.t_ns, gfn, int(found)))
        self.destination[gfn] = self.memory.content[gfn]
        if found:
            self.zero_pages += 1
            return 1000 * self.sheet.zero_page_ns, 0, 0
        self.normal_pages += 1
        squeezed = is_zero and self.finder == "none" and self.compress_ps > 0
        size = SIZE_OF_ZEROS if squeezed else self.sizes[gfn]
        squeeze_ps = self.compress_ps + self.compress_byte_ps * size
        return squeeze_ps, is_new * 1000 * self.sheet.first_copy_ns, size

    def _begin(self, at: int, job: Job, start_ps: int, n_bytes: int) -> None:
        done_ps, rate = start_ps + n_bytes * job.copy_ps // job.size, self.link.bandwidth_bytes_per_s
        if rate:
            self.free_ps = max(self.free_ps, start_ps) + n_bytes * PS_PER_S // rate
            buffer_ps = self.link.socket_buffer_bytes * PS_PER_S // rate
            done_ps = max(done_ps, self.free_ps - buffer_ps * len(self.jobs))
        job.done_ps = done_ps
        if job is not self.jobs[at]:
            self.finished.append(self.jobs[at])
            self.jobs[at] = job

    def _drain(self, wanted: Callable[[], bool]) -> Step:
        """Hand over the queued pages, then sync."""
        if self.queue and not (yield from self._hand(len(self.queue), wanted)):
            return False
        self._sync()
        return True

    def _sync(self) -> None:
        now_ps = 1000 * self.t_ns
        self._pass_to(self.t_ns)
        for at, job in enumerate(self.jobs):
            if self.old:
                self.counted_at_once += HEADER
                self.charged += HEADER
            counted = 0 if self.old else HEADER
            if job.done_ps > now_ps:
                job.counted += counted
                self._begin(at, job, job.done_ps, HEADER)
            else:
                self._begin(at, Job(HEADER, self.page_ps * HEADER // 4096, 0, counted), now_ps, HEADER)
        self.t_ns = max(self.t_ns, self._all_done_ns())
        if self.p.zero_copy_send:
            self.t_ns = max(self.t_ns, self._all_read_ns())
        if not self.old:
            self.main_other += 8
            self._put(8)
            self._flush_main()
