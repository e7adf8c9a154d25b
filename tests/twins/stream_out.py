"""The migration stream: bytes charged to the rate limit, and a socket that drains at the link's bandwidth."""

from __future__ import annotations

from hostsim.qemu.link import LinkSpec
from tests.twins.tcp import TwinTcp
from tests.twins.tcp_faults import TwinFaultyTcp

PS_PER_S = 10**12


class TwinSocket:
    """write() returns once no more than a buffer is left to drain."""

    def __init__(self, spec: LinkSpec) -> None:
        self.bytes_per_s, self.buffer_bytes = spec.bandwidth_bytes_per_s, spec.socket_buffer_bytes
        self.latency_ns, self.wake_bytes = spec.latency_ns, spec.wake_bytes
        kind = TwinFaultyTcp if spec.has_faults else TwinTcp
        self.connection = kind(spec) if spec.latency_ns else None
        self.drained_ps = 0

    def write(self, t_ns: int, n_bytes: int) -> int:
        """Time at which a write() at ``t_ns`` returns."""
        if self.connection is not None:
            returns_ns = self.connection.write(t_ns, n_bytes)
            assert returns_ns is not None, "no drawn outage is so long that a connection breaks"
            return returns_ns
        if not self.bytes_per_s:
            return t_ns
        self.drained_ps = max(self.drained_ps, t_ns * 1000) + n_bytes * PS_PER_S // self.bytes_per_s
        room_ps = self.drained_ps - self._drain_ps(self.buffer_bytes)
        if room_ps <= t_ns * 1000:
            return t_ns
        return -(-(room_ps + self._drain_ps(self.wake_bytes)) // 1000)

    def _drain_ps(self, n_bytes: int) -> int:
        return n_bytes * PS_PER_S // self.bytes_per_s

    def drained_ps_exactly(self) -> int:
        return self.drained_ps if self.connection is None else self.connection.left_ps()

    def drained_ns(self) -> int:
        if self.connection is not None:
            return self.connection.all_left_ns()
        return -(-self.drained_ps // 1000)


class TwinStream:
    """Byte counts. 7.2 charges a page as it is queued; 10.x when 64 iovecs, or 32 KiB of headers, are flushed."""

    def __init__(self, qemu: str) -> None:
        self.charges_at_once = qemu == "7.2"
        self.ram_bytes = self.other_bytes = self.charged_bytes = 0
        self.held_headers = self.held_pages = 0

    def page(self, header_bytes: int, is_normal: bool) -> None:
        self.ram_bytes += header_bytes + 4096 * is_normal
        self.held_headers += header_bytes
        self.held_pages += is_normal
        if self.charges_at_once or self.held_pages == 32 or self.held_headers >= 32768:
            self.flush()

    def copied(self, n_bytes: int) -> None:
        """A page copied into the buffer of 32 KiB, which is flushed whenever it is full."""
        self.ram_bytes += n_bytes
        self.held_headers += n_bytes
        if self.charges_at_once:
            self.flush()
        elif self.held_headers >= 32768:
            rest = self.held_headers - 32768
            self.held_headers = 32768
            self.flush()
            self.held_headers = rest

    def other(self, ram_bytes: int, other_bytes: int) -> None:
        self.ram_bytes += ram_bytes
        self.other_bytes += other_bytes
        self.held_headers += ram_bytes + other_bytes
        self.flush()

    def flush(self) -> None:
        self.charged_bytes += self.held_headers + 4096 * self.held_pages
        self.held_headers = self.held_pages = 0
