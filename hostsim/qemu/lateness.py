"""Lateness of the host: how long after its time a thread or a timer runs, always its mean or drawn from a named stream.

A thread that the host wakes runs after a fixed path (timer interrupt, scheduler, lock) and, at times, after another thread:
a least lateness and an exponential tail. A draw is keyed by seed, name of the stream and number of the draw, so another
actor shifts no draw.
"""

from __future__ import annotations

from hostsim.core.rng import keyed_exponential, stream_key


class Lateness:
    """A sequence of latenesses with one mean and standard deviation; each call of ``next_ns`` draws one."""

    def __init__(self, seed: int, name: str, mean_ns: int, spread_ns: int) -> None:
        """Make a sequence.

        name: of the random stream.
        mean_ns: average lateness [ns].
        spread_ns: standard deviation [ns], at most ``mean_ns``: no thread runs early. 0: each lateness is the mean.
        """
        assert spread_ns <= mean_ns, "a lateness is never negative"
        self._least_ns, self._tail_ns = mean_ns - spread_ns, spread_ns
        self._keys, self._drawn = stream_key(seed, f"host/{name}"), 0

    def next_ns(self) -> int:
        """The next lateness [ns]."""
        if self._tail_ns == 0:
            return self._least_ns
        self._drawn += 1
        return self._least_ns + round(self._tail_ns * keyed_exponential(*self._keys, self._drawn, 0))
