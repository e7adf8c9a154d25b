"""Loops that a program still has to compile, the expected time, and the progress.

numba compiles a function, with its callees, at its first call. It does not compile functions whose code is on disk
(``hostsim.compiled.code_store``).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from hostsim.compiled.code_store import is_kept

SECONDS_OF_UNKNOWN = 0.2
"""For a loop that has not been measured [s]: most take as long."""
SHARE_MAX = 0.95
"""Of a loop that is at work."""


@dataclass(frozen=True)
class Loop:
    """A compiled loop that Python calls; ``seconds`` of CPU to compile it, ``parts``: functions compiled on the way."""

    seconds: float
    parts: int


@cache
def _table() -> dict[str, Any]:
    """``loops``: name to seconds and parts; ``kinds``: kind to names, in the order in which they are compiled."""
    return json.loads((files("hostsim") / "data" / "compiling.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


KINDS = tuple(_table()["kinds"])
"""Sorts of simulations, each with loops of its own."""


def loops_of(kinds: Iterable[str]) -> dict[str, Loop]:
    """The loops of ``kinds``, in the order in which they are compiled."""
    table = _table()
    return {name: Loop(*table["loops"][name]) for kind in kinds for name in table["kinds"][kind]}


def loops_to_compile(kinds: Iterable[str]) -> dict[str, Loop]:
    """Loops of ``kinds`` whose machine code is not on disk; none in plain Python."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return {}
    return {name: loop for name, loop in loops_of(kinds).items() if not is_kept(name)}


@dataclass
class Standing:
    """Progress of compiling.

    expected: loops to compile, by name.
    done: names of compiled loops.
    name: the loop that is being compiled, "" if none.
    parts: compiled parts of that loop.
    spent_s: time that the loops in ``done`` took.
    began_s: start of the loop that is being compiled, on the monotonic clock.
    """

    expected: Mapping[str, Loop] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    name: str = ""
    parts: int = 0
    spent_s: float = 0.0
    began_s: float = 0.0

    @property
    def total(self) -> int:
        """Number of all loops, unexpected ones included."""
        return len({*self.expected, *self.done, *self._at_work()})

    def seconds_in_all(self) -> float:
        """Expected CPU seconds of all loops."""
        return sum(self._loop(name).seconds for name in {*self.expected, *self.done, *self._at_work()})

    def seconds_done(self) -> float:
        """Part of ``seconds_in_all`` that is done."""
        return self._finished() + sum(self._loop(name).seconds * self._share() for name in self._at_work())

    def seconds_left(self) -> float:
        """Remaining seconds at the pace so far, since this machine may be slower, or busy."""
        return (self.seconds_in_all() - self.seconds_done()) * self._pace()

    def _at_work(self) -> list[str]:
        return [self.name] if self.name else []

    def _finished(self) -> float:
        return sum(self._loop(name).seconds for name in set(self.done))

    def _pace(self) -> float:
        """Seconds for each expected CPU second, over the loops that are done."""
        finished = self._finished()
        return max(1.0, self.spent_s / finished) if finished > 1.0 else 1.0

    def _share(self) -> float:
        """Share of the current loop that is done, by parts or by time: the last step has no parts and takes longest."""
        loop = self._loop(self.name)
        by_time = (time.monotonic() - self.began_s) / (loop.seconds * self._pace())
        return min(SHARE_MAX, max(by_time, self.parts / (loop.parts + 1)))

    def begin(self, name: str) -> None:
        """Begin loop ``name``, which Python has called."""
        self.name, self.parts, self.began_s = name, 0, time.monotonic()

    def end(self) -> None:
        """End the current loop."""
        self.spent_s += time.monotonic() - self.began_s
        self.done.append(self.name)
        self.name = ""

    def _loop(self, name: str) -> Loop:
        return self.expected.get(name, Loop(SECONDS_OF_UNKNOWN, 0))


@contextmanager
def compiling_watched(expected: Mapping[str, Loop], tell: Callable[[Standing], None]) -> Iterator[Standing]:
    """Call ``tell`` whenever this process begins or ends compiling a function."""
    from numba.core import event

    standing, depth = Standing(expected), 0

    class _Listener(event.Listener):  # type: ignore[misc]
        def on_start(self, event: Any) -> None:
            nonlocal depth
            depth += 1
            if depth == 1:
                standing.begin(event.data["dispatcher"].py_func.__name__)
                tell(standing)

        def on_end(self, event: Any) -> None:
            nonlocal depth
            del event
            depth -= 1
            if depth == 0:
                standing.end()
            else:
                standing.parts += 1
            tell(standing)

    with event.install_listener("numba:compile", _Listener()):
        yield standing
