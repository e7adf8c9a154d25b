"""mmu_lock of the twin: first come, first served; readers at the head of the queue enter together."""

from __future__ import annotations

from collections import deque

import simpy


class TwinLock:
    """A grant is part of the request or release that causes it: its event comes before any other vCPU's of the instant."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.queue: deque[tuple[str, simpy.Event]] = deque()
        self.held: list[str] = []

    def request(self, mode: str) -> simpy.Event:
        """An event whose value is the number of requests queued and of other holders at the grant."""
        granted = self.env.event()
        self.queue.append((mode, granted))
        self._grant()
        return granted

    def release(self, mode: str) -> None:
        self.held.remove(mode)
        self._grant()

    def _grant(self) -> None:
        while self.queue and self._compatible(self.queue[0][0]):
            mode, granted = self.queue.popleft()
            granted.succeed(len(self.queue) + len(self.held))
            self.held.append(mode)

    def _compatible(self, mode: str) -> bool:
        return not self.held or (mode == "shared" and "exclusive" not in self.held)
