"""Checkpoints by epochs in closed form (Remus): time that the guest runs, time that an output waits, bytes a second."""

from __future__ import annotations

import math
from dataclasses import dataclass

STEPS = 10_000
"""Steps of the fixed point; each shrinks the error, as dirty pages grow more slowly than the time."""
CLOSE_S = 1e-12


@dataclass(frozen=True)
class Epochs:
    """Checkpoints of a guest that writes ``writes_per_s`` times a second to ``pages`` pages, drawn evenly.

    epoch_s: time that the guest runs at least. fixed_pause_s, copy_page_s: pause without pages, and for each dirty page.
    page_bytes, fixed_bytes: on the wire for each dirty page, and beside them. bytes_per_s: of the link.
    answer_s: time from the last byte to the replica's answer.
    """

    pages: int
    writes_per_s: float
    epoch_s: float
    fixed_pause_s: float
    copy_page_s: float
    page_bytes: float
    fixed_bytes: float
    bytes_per_s: float
    answer_s: float = 0.0

    def dirty_pages(self, seconds: float) -> float:
        """Mean distinct pages written in ``seconds`` (classical occupancy)."""
        return -self.pages * math.expm1(self.writes_per_s * seconds * math.log1p(-1.0 / self.pages))

    def sending_s(self, seconds: float) -> float:
        """Time until the replica has answered, of a checkpoint after ``seconds`` of running."""
        return (self.dirty_pages(seconds) * self.page_bytes + self.fixed_bytes) / self.bytes_per_s + self.answer_s

    @property
    def runs_s(self) -> float:
        """Time that the guest runs between two pauses: the epoch, or the time that its own checkpoint takes to be sent.

        With one buffer a pause waits until the checkpoint before has been sent; where the link is the bottleneck the
        time is the fixed point of R = (D(R) b + f) / B.
        """
        runs_s = self.epoch_s
        for _ in range(STEPS):
            longer_s = max(self.epoch_s, self.sending_s(runs_s))
            if abs(longer_s - runs_s) < CLOSE_S:
                break
            runs_s = longer_s
        return runs_s

    @property
    def pause_s(self) -> float:
        """Pause of a checkpoint: the fixed part and the copying of its dirty pages."""
        return self.fixed_pause_s + self.copy_page_s * self.dirty_pages(self.runs_s)

    @property
    def run_share(self) -> float:
        """Share of the time that the guest runs, T / (T + P)."""
        return self.runs_s / (self.runs_s + self.pause_s)

    @property
    def output_delay_s(self) -> float:
        """Mean time that an output waits: half of the run, the pause, the sending."""
        return self.runs_s / 2 + self.pause_s + self.sending_s(self.runs_s)

    @property
    def sent_bytes_per_s(self) -> float:
        """Bytes of checkpoints a second."""
        sent = self.dirty_pages(self.runs_s) * self.page_bytes + self.fixed_bytes
        return sent / (self.runs_s + self.pause_s)
