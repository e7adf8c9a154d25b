"""A swap device: one FIFO queue, several channels, drawn service times."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import Literal

import simpy

from hostsim.core.clock import Clock
from hostsim.core.latency import Latencies
from hostsim.core.rng import keyed_uniform, stream_key
from hostsim.core.timeline import Track
from hostsim.memory.swap_sheet import SwapSpec

Kind = Literal["read", "write"]
DEVICE = Track("host", "swap device", nests=False)


class SwapDevice:
    """A queue whose requests start in the order of arrival, each on the channel that becomes free first.

    Start and end of a request are therefore known at its arrival, so a request costs one event.
    latencies: from request to completion, by kind.
    waits: from request to start.
    busy_ns: channel time of accepted requests.
    in_flight: requests not completed.
    in_flight_ns: ``in_flight`` integrated over time, up to the last request or completion.

    # Model limit: a swap device does not reorder or merge requests, and reads and writes share one queue.
    """

    def __init__(self, env: Clock, spec: SwapSpec, seed: int, name: str = "swap") -> None:
        """``name`` names the random streams: another device draws other numbers."""
        assert spec.depth >= 1
        self.spec = spec
        self.latencies = {"read": Latencies(), "write": Latencies()}
        self.waits = Latencies()
        self.busy_ns = self.in_flight = self.in_flight_ns = 0
        self._env = env
        self._keys = {kind: stream_key(seed, f"{name}/{kind}") for kind in self.latencies}
        self._numbers: Counter[tuple[Kind, int]] = Counter()
        self._free_ns = [0] * spec.depth
        self._changed_ns = env.now_ns

    def submit(self, kind: Kind, n_pages: int = 1, asker: int = 0) -> simpy.Event:
        """Queue a request of ``n_pages`` adjacent pages; return the event of its completion, with the latency [ns] as value.

        asker: number of the VM; each VM draws from its own stream, so that no VM shifts the draws of another.
        """
        now_ns, service_ns = self._env.now_ns, self._service_ns(kind, n_pages, asker)
        start_ns = max(now_ns, self._free_ns[0])
        heapq.heapreplace(self._free_ns, start_ns + service_ns)
        latency_ns = start_ns + service_ns - now_ns
        self.latencies[kind].record(latency_ns)
        self.waits.record(start_ns - now_ns)
        queued = {"pages": n_pages, "asker": asker, "queued_ns": start_ns - now_ns}
        self._env.timeline.span(DEVICE, f"swap {kind}", now_ns, now_ns + latency_ns, **queued)
        self.busy_ns += service_ns
        self._count(1)
        done = self._env.timeout(latency_ns, latency_ns)
        done.callbacks.append(lambda _: self._count(-1))
        return done

    def _service_ns(self, kind: Kind, n_pages: int, asker: int = 0) -> int:
        assert n_pages >= 1
        number = self._numbers[kind, asker]
        self._numbers[kind, asker] = number + 1
        service: float = getattr(self.spec, kind).at_ns(keyed_uniform(*self._keys[kind], number, asker))
        return max(1, round(service + (n_pages - 1) * self.spec.more_page_ns))

    def _count(self, more: int) -> None:
        now_ns = self._env.now_ns
        self.in_flight_ns += self.in_flight * (now_ns - self._changed_ns)
        self._changed_ns = now_ns
        self.in_flight += more
