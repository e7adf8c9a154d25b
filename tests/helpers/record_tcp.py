"""Measure streams of a real kernel into tests/data/tcp_streams.json: ``python -m tests.helpers.record_tcp``, as root."""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path
from typing import Any

from tests.helpers.real_tcp import Stream, delayed_path, state_of

TARGET = Path(__file__).resolve().parents[1] / "data" / "tcp_streams.json"
SECONDS = 2.0
REPEATS = 4
"""What else the machine does can only make a flight come later: the earliest of so many counts."""


def send_buffer(one_way_s: float, asked_bytes: int, *, gso: bool = False) -> dict[str, Any]:
    """Goodput of a stream that its send buffer holds back. With GSO a small buffer is exceeded."""
    with delayed_path(one_way_s, gso=gso):
        stream = Stream(send_buffer=asked_bytes)
        stream.write_until(SECONDS)
        stream.close()
    return {
        "one_way_s": stream.round_trip_s / 2, "sk_sndbuf": 2 * asked_bytes, "payload_bytes": stream.most_queued,
        "bytes_per_s": _second_half(stream),
    }  # fmt: skip


def receive_window(one_way_s: float, asked_bytes: int) -> dict[str, Any]:
    """Goodput of a stream that the receiver's window holds back."""
    with delayed_path(one_way_s):
        stream = Stream(receive_buffer=asked_bytes)
        stream.write_until(SECONDS)
        window = state_of(stream.sock).receive_window_bytes
        stream.close()
    return {
        "one_way_s": stream.round_trip_s / 2, "sk_rcvbuf": 2 * asked_bytes, "window_bytes": window,
        "bytes_per_s": _second_half(stream),
    }  # fmt: skip


def slow_start(one_way_s: float, trips: int) -> dict[str, Any]:
    """What has come of each flight before the next one comes."""
    came = [0] * trips
    for _ in range(REPEATS):
        with delayed_path(one_way_s):
            stream = Stream()
            stream.write_until(2 * one_way_s * (trips + 0.4))
            stream.close()
        came = [max(most, stream.bytes_at(one_way_s * (2 * n + 2.2))) for n, most in enumerate(came)]
    return {"one_way_s": one_way_s, "mtu": 1500, "came_bytes": came}


def bursts(one_way_s: float, n_bytes: int, pauses_s: list[float]) -> dict[str, Any]:
    """How long bursts take, each after its pause."""
    took = [float("inf")] * len(pauses_s)
    for _ in range(REPEATS):
        with delayed_path(one_way_s):
            stream = Stream()
            for i, pause_s in enumerate(pauses_s):
                time.sleep(pause_s)
                took[i] = min(took[i], stream.burst_s(n_bytes))
            stream.close()
    return {"one_way_s": one_way_s, "burst_bytes": n_bytes, "pauses_s": pauses_s, "took_s": took}


def _second_half(stream: Stream) -> float:
    return (stream.bytes_at(SECONDS) - stream.bytes_at(SECONDS / 2)) / (SECONDS / 2)


def measure() -> dict[str, Any]:
    """All streams; about a minute."""
    return {
        "kernel": platform.release(),
        "path": "two network namespaces, a user-space relay between TUN devices",
        "congestion_control": "cubic",
        "send_buffer": [
            send_buffer(ms / 1000, asked_kib << 10)
            for ms, asked_kib in ((10, 32), (10, 64), (25, 64), (25, 128), (50, 128))
        ],
        "send_buffer_with_gso": [send_buffer(0.01, 65_536, gso=True), send_buffer(0.05, 131_072, gso=True)],
        "receive_window": [receive_window(ms / 1000, asked) for ms, asked in ((10, 65_536), (25, 65_536), (50, 131_072))],
        "slow_start": [slow_start(ms / 1000, 6) for ms in (25, 50)],
        "bursts": [bursts(0.02, 600_000, [0.0, 0.1, 0.1, 0.4, 0.1, 1.0, 0.1, 2.0])],
    }


if __name__ == "__main__":
    TARGET.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
