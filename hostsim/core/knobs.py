"""Speed knobs: sizes of the pieces into which work is cut. They change wall time and no result."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Knobs:
    """send_batch_pages, harvest_chunk_pages: pages a compiled call; window_ns: simulated time a call, 0: no bound."""

    send_batch_pages: int = 1 << 16
    harvest_chunk_pages: int = 1 << 22
    window_ns: int = 0
