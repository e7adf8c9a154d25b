"""The migration link: a socket buffer that drains at a bandwidth, and the way to the destination."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.host.clock import Clock
from hostsim.kernels.send import LINK_FREE_PS, PS_PER_S


@dataclass(frozen=True)
class LinkSpec:
    """bandwidth_bytes_per_s: 0 = never the brake; latency_ns: one way; socket_buffer_bytes: what write() accepts ahead."""

    bandwidth_bytes_per_s: int = 0
    latency_ns: int = 0
    socket_buffer_bytes: int = 0

    @property
    def socket_buffer_ps(self) -> int:
        """Time [ps] the link takes to drain a full socket buffer."""
        if self.bandwidth_bytes_per_s == 0:
            return 0
        return self.socket_buffer_bytes * PS_PER_S // self.bandwidth_bytes_per_s


class Link:
    """One direction of a link, as seen by the thread that writes to it.

    # Model limit: the link is fluid: bytes drain evenly, not in segments, and acknowledgements take no bandwidth.
    """

    def __init__(self, env: Clock, spec: LinkSpec, send_state: NDArray[np.int64]) -> None:
        """``send_state``: int64[N_STATE] of hostsim.kernels.send; the moment the link falls idle is kept there."""
        self.spec = spec
        self._env, self._state = env, send_state

    def answered(self) -> Generator[simpy.Event, Any, None]:
        """Returns when the destination has all that was written so far, and its answer is back.

        # Model limit: the destination answers at once; a real one has to load what it got.
        """
        drained_ns = -(-int(self._state[LINK_FREE_PS]) // 1000)
        yield self._env.timeout(max(0, drained_ns - self._env.now_ns) + 2 * self.spec.latency_ns)
