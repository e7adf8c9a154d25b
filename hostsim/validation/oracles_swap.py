"""O19, O33 on the swap device: waits of Poisson requests, with exponential and with constant service."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.clock import Clock
from hostsim.core.rng import keyed_exponential, stream_key
from hostsim.memory.swap_device import SwapDevice
from hostsim.memory.swap_service import Constant, Exponential, Service
from hostsim.memory.swap_sheet import SwapSpec
from hostsim.theory import queues
from hostsim.validation.rows import Row, sigma
from hostsim.validation.samples import SUITE, little_row
from hostsim.validation.sigmas import sample_z

SERVICE_NS = 20_000
UTILISATIONS = (0.5, 0.7, 0.9)
SERVICES: dict[str, tuple[Service, Callable[[float, float], float]]] = {
    "exponential": (Exponential(SERVICE_NS), queues.mm1_wait),
    "constant": (Constant(SERVICE_NS), queues.md1_wait),
}
BATCHES, BATCH_REQUESTS = 20, 2000
"""One long run, its first batch left out. At 0.9 the queue forgets in some 400 services, a fifth of a batch."""


def swap_rows(seed: int = 1) -> Iterator[Row]:
    """A quarter of a million requests."""
    for rho in UTILISATIONS:
        for name, (service, form) in SERVICES.items():
            yield from _queue_rows(f"O19-run/swap/{rho}", name, service, rho, form(rho, SERVICE_NS), seed)


def _queue_rows(row_id: str, name: str, service: Service, rho: float, expected_ns: float, seed: int) -> Iterator[Row]:
    env = Clock()
    device = SwapDevice(env, SwapSpec("one channel", 1, service, service), seed, f"{name} {rho}")
    arrivals_ns = _arrivals_ns(seed, rho)
    latencies_ns = np.empty(len(arrivals_ns), np.int64)
    env.process(_requests(env, device, arrivals_ns, latencies_ns))
    env.run()
    waits_ns = _waits_ns(arrivals_ns, latencies_ns).reshape(BATCHES + 1, -1)[1:].mean(axis=1)
    what = f"mean wait, {name} service, ns"
    yield sigma(SUITE, row_id, what, expected_ns, float(waits_ns.mean()), sample_z(waits_ns, expected_ns))
    yield little_row(f"{row_id}/{name}/little", arrivals_ns, arrivals_ns + latencies_ns, device.in_flight_ns)


def _arrivals_ns(seed: int, rho: float) -> NDArray[np.int64]:
    keys, requests = stream_key(seed, f"requests {rho}"), (BATCHES + 1) * BATCH_REQUESTS
    gaps = [keyed_exponential(*keys, number, 0) for number in range(requests)]
    return np.cumsum(np.round(np.array(gaps) * SERVICE_NS / rho).astype(np.int64))


def _requests(
    env: Clock, device: SwapDevice, arrivals_ns: NDArray[np.int64], latencies_ns: NDArray[np.int64]
) -> Generator[Any, Any, None]:
    """Submits at the arrivals and waits for nothing; a latency is the value of its event, known when it is made."""
    done = []
    for arrival_ns in arrivals_ns.tolist():
        yield env.timeout(arrival_ns - env.now_ns)
        done.append(device.submit("read"))
    latencies_ns[:] = np.array([event.value for event in done])


def _waits_ns(arrivals_ns: NDArray[np.int64], latencies_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[n]: from arrival to the end of the request before, where that comes later."""
    ends_ns = arrivals_ns + latencies_ns
    return np.concatenate([[0], np.maximum(0, ends_ns[:-1] - arrivals_ns[1:])])
