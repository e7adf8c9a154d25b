"""The swap device is a FIFO queue with channels; a plain SimPy resource says the same, request by request."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from hostsim.core.clock import Clock
from hostsim.core.errors import InputError
from hostsim.memory.swap_device import SwapDevice
from hostsim.memory.swap_service import Constant, Exponential, Lognormal, Service, Table
from hostsim.memory.swap_sheet import SwapSpec, load_swap, swap_entries, swap_names

SERVICES: tuple[Service, ...] = (
    Constant(500), Exponential(500), Lognormal(500, 3000), Table(((0, 100), (50, 500), (99, 900), (100, 4000)))
)  # fmt: skip
REQUESTS = st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["read", "write"]), st.integers(1, 3)), max_size=60)


class Plain:
    """Takes a channel, works, gives it back."""

    def __init__(self, env: Clock, device: SwapDevice) -> None:
        self.env, self.device = env, device
        self.channels = simpy.Resource(env, device.spec.depth)
        self.ends: list[tuple[int, int]] = []

    def request(self, number: int, kind: str, n_pages: int) -> Generator[Any, Any, None]:
        service_ns = self.device._service_ns(kind, n_pages)
        with self.channels.request() as turn:
            yield turn
            yield self.env.timeout(service_ns)
        self.ends.append((self.env.now_ns, number))


def drive(spec: SwapSpec, requests: list[tuple[int, str, int]], plain: bool) -> tuple[list[tuple[int, int]], SwapDevice]:
    env = Clock()
    device = SwapDevice(env, spec, seed=3)
    twin, ends = Plain(env, device), []

    def submit() -> Generator[Any, Any, None]:
        for number, (gap_ns, kind, n_pages) in enumerate(requests):
            yield env.timeout(gap_ns)
            if plain:
                env.process(twin.request(number, kind, n_pages))
                yield env.timeout(0)
            else:
                done = device.submit(kind, n_pages)
                done.callbacks.append(lambda _, number=number: ends.append((env.now_ns, number)))

    env.process(submit())
    env.run()
    return sorted(twin.ends if plain else ends), device


@given(requests=REQUESTS, depth=st.integers(1, 4), service=st.sampled_from(SERVICES))
def test_completions_equal_a_plain_queue(requests: list[tuple[int, str, int]], depth: int, service: Service) -> None:
    spec = SwapSpec("drawn", depth, service, Constant(700), more_page_ns=30)
    ends, device = drive(spec, requests, plain=False)
    assert ends == drive(spec, requests, plain=True)[0]
    arrivals = np.cumsum([gap for gap, _, _ in requests])
    assert device.in_flight == 0
    assert device.in_flight_ns == sum(end for end, _ in ends) - int(arrivals.sum())
    assert sum(found.count for found in device.latencies.values()) == device.waits.count == len(requests)
    assert sum(found.total_ns for found in device.latencies.values()) == device.waits.total_ns + device.busy_ns


def test_channels_and_order_by_hand() -> None:
    """Two channels of 500 ns; the third request waits for the first of them."""
    requests = [(0, "read", 1), (100, "read", 2), (100, "write", 1)]
    ends, device = drive(SwapSpec("two", 2, Constant(500), Constant(500), 30), requests, plain=False)
    assert ends == [(500, 0), (630, 1), (1000, 2)]
    assert (device.waits.max_ns, device.latencies["write"].max_ns) == (300, 800)


def test_an_event_carries_its_latency() -> None:
    env = Clock()
    device = SwapDevice(env, SwapSpec("one", 1, Constant(500), Constant(500)), seed=1)
    device.submit("write")
    assert env.run(until=device.submit("write")) == 1000


def test_reads_do_not_shift_the_draws_of_writes() -> None:
    """The third write takes as long whether or not reads came between; another name or seed draws anew."""
    env, spec = Clock(), SwapSpec("drawn", 99, Exponential(1e6), Exponential(1e6))

    def third_write(seed: int, name: str, reads: int) -> int:
        device = SwapDevice(env, spec, seed, name)
        for _ in range(reads):
            device.submit("read")
        return [int(device.submit("write").value) for _ in range(3)][-1]

    assert third_write(1, "swap", 0) == third_write(1, "swap", 5)
    assert len({third_write(1, "swap", 0), third_write(2, "swap", 0), third_write(1, "other", 0)}) == 3


@pytest.mark.parametrize(
    ("service", "percents"),
    [
        (Exponential(1000.0), {0.5: 1000 * math.log(2), 0.99: 1000 * math.log(100)}),
        (Lognormal(90.0, 250.0), {0.5: 90, 0.99: 250, 0.01: 90 * 90 / 250}),
        (Table(((0, 100), (50, 500), (100, 4500))), {0.25: 300, 0.5: 500, 0.75: 2500, 0.999999: 4499.992}),
        (Constant(7.0), {0.001: 7, 0.999: 7}),
    ],
)
def test_quantiles_of_the_distributions(service: Service, percents: dict[float, float]) -> None:
    for share, expected in percents.items():
        assert service.at_ns(share) == pytest.approx(expected)


@pytest.mark.parametrize("name", swap_names())
def test_every_number_has_its_source(name: str) -> None:
    assert all(entry["source"] for entry in swap_entries(name).values())
    spec = load_swap(name)
    assert spec.depth >= 1
    assert 0 < spec.read.at_ns(0.5) <= spec.read.at_ns(0.99)
    assert 0 < spec.write.at_ns(0.5) <= spec.write.at_ns(0.99)


def test_devices_are_in_the_order_of_their_medians() -> None:
    order = ["memory", "zram-zen4", "zram", "nvme", "sata-ssd", "hdd"]
    assert sorted(swap_names(), key=lambda name: load_swap(name).read.at_ns(0.5)) == order


def test_an_unknown_device_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="'nvme'"):
        load_swap("nvmee")
