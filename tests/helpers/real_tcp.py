"""A real TCP connection of this machine's kernel over a path with delay: two network namespaces and a relay between them.

The relay is a process that reads packets from a TUN device in one namespace and writes them to that of the other one a
delay later: what sch_netem does, in kernels without it as well. Needs root, `ip` (iproute2) and /dev/net/tun.
"""

from __future__ import annotations

import ctypes
import fcntl
import multiprocessing
import os
import select
import socket
import statistics
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

T = TypeVar("T")
SENDER, RECEIVER = "hostsim-tcp-a", "hostsim-tcp-b"
ADDRESSES = {SENDER: "10.213.9.1", RECEIVER: "10.213.9.2"}
TUNSETIFF, IFF_TUN_NO_PI, CLONE_NEWNET = 0x400454CA, 0x1001, 0x40000000
SO_SNDBUFFORCE, SO_RCVBUFFORCE, SIOCOUTQ = 32, 33, 0x5411
WRITE = b"x" * 4104
"""QEMU's page with its header."""
PACKETS_A_TURN = 64


class State(NamedTuple):
    """Of struct tcp_info: smoothed round trip [us], congestion window [segments], the peer's window [bytes]."""

    rtt_us: int
    cwnd: int
    receive_window_bytes: int


def state_of(sock: socket.socket) -> State:
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    words = struct.unpack_from("24I", info, 8)
    window = struct.unpack_from("I", info, 228)[0] if len(info) >= 232 else 0
    return State(words[15], words[18], window)


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def in_namespace(name: str, make: Callable[[], T]) -> T:
    """The result of ``make`` in namespace ``name``: a socket stays where it was made."""
    made: list[T] = []

    def go() -> None:
        entry = os.open(f"/var/run/netns/{name}", os.O_RDONLY)
        assert ctypes.CDLL(None, use_errno=True).setns(entry, CLONE_NEWNET) == 0
        os.close(entry)
        made.append(make())

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    return made[0]


def _tun(name: str) -> int:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN_NO_PI))
    return device


def _relay(devices: tuple[int, int], delay_s: float) -> None:
    """Carry packets both ways, each ``delay_s`` late."""
    ways: list[tuple[int, int, deque[tuple[float, bytes]]]] = [
        (devices[0], devices[1], deque()),
        (devices[1], devices[0], deque()),
    ]
    while True:
        for _, target, waiting in ways:
            while waiting and waiting[0][0] <= time.monotonic():
                os.write(target, waiting.popleft()[1])
        due = min((waiting[0][0] for _, _, waiting in ways if waiting), default=time.monotonic() + 1.0)
        ready = select.select(devices, [], [], max(0.0, due - time.monotonic()))[0]
        for source, _, waiting in ways:
            if source in ready:
                waiting.extend((time.monotonic() + delay_s, packet) for packet in _packets(source))


def _packets(device: int) -> Iterator[bytes]:
    try:
        for _ in range(PACKETS_A_TURN):
            yield os.read(device, 65_536)
    except BlockingIOError:
        return


@contextmanager
def delayed_path(delay_s: float, *, gso: bool = True) -> Iterator[None]:
    """Namespaces SENDER and RECEIVER, ``delay_s`` apart one way. ``gso``: False: an skb is one segment."""
    relay = None
    devices: list[int] = []
    try:
        for i, name in enumerate((SENDER, RECEIVER)):
            run("ip", "netns", "add", name)
            devices.append(_tun(f"hostsim{i}"))
            run("ip", "link", "set", f"hostsim{i}", "netns", name)
            run("ip", "-n", name, "address", "add", f"{ADDRESSES[name]}/24", "dev", f"hostsim{i}")
            limits = () if gso else ("gso_max_segs", "1")
            run("ip", "-n", name, "link", "set", f"hostsim{i}", "txqueuelen", "30000", *limits, "up")
        pair = (devices[0], devices[1])
        relay = multiprocessing.get_context("fork").Process(target=_relay, args=(pair, delay_s), daemon=True)
        relay.start()
        yield
    finally:
        if relay is not None:
            relay.terminate()
            relay.join()
        for device in devices:
            os.close(device)
        for name in (SENDER, RECEIVER):
            subprocess.run(("ip", "netns", "delete", name), check=False, capture_output=True)


class Stream:
    """A connection from SENDER to RECEIVER with cubic, and a reader that notes what has come when."""

    def __init__(self, send_buffer: int = 4 << 20, receive_buffer: int = 16 << 20) -> None:
        listener = in_namespace(RECEIVER, socket.socket)
        listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, receive_buffer)
        listener.bind((ADDRESSES[RECEIVER], 0))
        listener.listen(1)
        self.sock = in_namespace(SENDER, socket.socket)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, send_buffer)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        self.sock.connect(listener.getsockname())
        self._reading = listener.accept()[0]
        listener.close()
        self.came: list[tuple[float, int]] = [(0.0, 0)]
        self.most_queued = 0
        self.round_trips_us: list[int] = []
        self._start = time.monotonic()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def now_s(self) -> float:
        return time.monotonic() - self._start

    def _read(self) -> None:
        room, total = bytearray(1 << 20), 0
        while n_bytes := self._reading.recv_into(room):
            total += n_bytes
            self.came.append((self.now_s, total))

    def write_until(self, end_s: float) -> None:
        """Write pages until ``end_s``; notes the most bytes that the send buffer held, and the smoothed round trips."""
        while self.now_s < end_s:
            self.sock.sendall(WRITE)
            queued = struct.unpack("i", fcntl.ioctl(self.sock, SIOCOUTQ, bytes(4)))[0]
            self.most_queued = max(self.most_queued, queued)
            self.round_trips_us.append(state_of(self.sock).rtt_us)

    @property
    def round_trip_s(self) -> float:
        """Median of the second half: what the relay takes under the machine's load is in it."""
        return statistics.median(self.round_trips_us[len(self.round_trips_us) // 2 :]) / 1e6

    def burst_s(self, n_bytes: int) -> float:
        """Seconds until all of a burst of ``n_bytes`` has come."""
        begun, wanted = self.now_s, self.came[-1][1] + n_bytes
        self.sock.sendall(b"x" * n_bytes)
        while self.came[-1][1] < wanted:
            time.sleep(0.0005)
        return self.came[-1][0] - begun

    def bytes_at(self, t_s: float) -> int:
        """Bytes that had come at ``t_s``."""
        return max(total for at, total in self.came if at <= t_s)

    def close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)
        self._reader.join()
        self.sock.close()
        self._reading.close()
