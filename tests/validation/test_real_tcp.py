"""The model of a TCP connection against streams of a real kernel.

``tests/data/tcp_streams.json`` holds what was measured (tests/helpers/record_tcp.py). ``pytest -m real`` measures a few
anew, on the kernel at hand: as root, with iproute2 and /dev/net/tun.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hostsim.qemu import tcp, tcp_row
from hostsim.qemu.link import LinkSpec

S = 1_000_000_000
LARGE = 16 << 20
RECORDED = json.loads((Path(__file__).resolve().parents[1] / "data" / "tcp_streams.json").read_text(encoding="utf-8"))
TOLERANCE = 0.15


def path_of(measured: dict[str, Any], buffer: int = LARGE, window: int = LARGE) -> LinkSpec:
    return LinkSpec(0, round(measured["one_way_s"] * S), buffer, receive_window_bytes=window)


class Model:
    def __init__(self, spec: LinkSpec) -> None:
        self.path, self.latency_ns, self.t_ns = spec.path, spec.latency_ns, 0
        self.row = np.zeros(tcp_row.N_ROW, np.int64)
        tcp_row.connect(self.row, self.path)

    def write(self, n_bytes: int) -> None:
        self.t_ns = tcp.write(self.row, self.path, self.t_ns, n_bytes)

    def came_at_ns(self) -> int:
        """When all that was written has come to the other side."""
        row = self.row.copy()
        tcp.drain(row, self.path)
        return int(row[tcp_row.FREE_PS]) // 1000 + self.latency_ns

    def bytes_per_s(self, seconds: int = 4) -> float:
        while self.t_ns < seconds * S // 2:
            self.write(4104)
        begun_ns, before = self.t_ns, int(self.row[tcp_row.ACKED])
        while self.t_ns < seconds * S:
            self.write(4104)
        return (int(self.row[tcp_row.ACKED]) - before) * S / (self.t_ns - begun_ns)


def modelled_bursts_s(measured: dict[str, Any]) -> list[float]:
    model, took = Model(path_of(measured)), []
    for pause_s in measured["pauses_s"]:
        model.t_ns += round(pause_s * S)
        begun_ns = model.t_ns
        model.write(measured["burst_bytes"])
        model.t_ns = model.came_at_ns()
        took.append((model.t_ns - begun_ns) / S)
    return took


def assert_goodput(measured: dict[str, Any], spec: LinkSpec) -> None:
    assert Model(spec).bytes_per_s() == pytest.approx(measured["bytes_per_s"], rel=TOLERANCE)


@pytest.mark.parametrize("measured", RECORDED["send_buffer"])
def test_a_real_stream_carries_what_its_send_buffer_holds_each_round_trip(measured: dict[str, Any]) -> None:
    assert_goodput(measured, path_of(measured, buffer=measured["payload_bytes"]))


@pytest.mark.parametrize("measured", RECORDED["receive_window"])
def test_a_real_stream_carries_a_receive_window_each_round_trip(measured: dict[str, Any]) -> None:
    assert_goodput(measured, path_of(measured, window=measured["window_bytes"]))


@pytest.mark.parametrize("measured", RECORDED["send_buffer_with_gso"])
def test_with_gso_a_real_stream_exceeds_a_small_send_buffer(measured: dict[str, Any]) -> None:
    """The limit of the model, in numbers: the buffer is tested where a new skb of 64 KiB begins."""
    assert measured["payload_bytes"] > measured["sk_sndbuf"]


@pytest.mark.parametrize("measured", RECORDED["slow_start"])
def test_a_real_stream_doubles_its_window_each_round_trip(measured: dict[str, Any]) -> None:
    """The flights, one by one. The last segment of the first one is not full."""
    model = Model(path_of(measured))
    model.write(LARGE)
    flights = []
    for n in range(len(measured["came_bytes"])):
        row = model.row.copy()
        tcp.write(row, model.path, round((n + 0.5) * 2 * model.latency_ns), 0)
        flights.append(int(row[tcp_row.ACKED] + row[tcp_row.IN_FLIGHT]))
    assert measured["came_bytes"] == pytest.approx(flights, rel=0.02)


@pytest.mark.parametrize("measured", RECORDED["bursts"])
def test_bursts_after_pauses_take_as_long_as_those_of_a_real_stream(measured: dict[str, Any]) -> None:
    """Pauses of 100 ms keep the window; longer ones halve it for each RTO of 240 ms."""
    modelled = modelled_bursts_s(measured)
    assert measured["took_s"] == pytest.approx(modelled, rel=TOLERANCE, abs=0.01)
    assert modelled[5] > 5 * modelled[4]


@pytest.mark.real
def test_the_kernel_at_hand_has_the_streams_of_the_model() -> None:
    from tests.helpers.record_tcp import bursts, receive_window, send_buffer

    held = send_buffer(0.02, 65_536)
    assert_goodput(held, path_of(held, buffer=held["payload_bytes"]))
    windowed = receive_window(0.02, 65_536)
    assert_goodput(windowed, path_of(windowed, window=windowed["window_bytes"]))
    paused = bursts(0.02, 600_000, [0.0, 0.1, 1.0])
    assert paused["took_s"] == pytest.approx(modelled_bursts_s(paused), rel=TOLERANCE, abs=0.01)
