"""Changes of the host that are put back at any end of the work in between, also an exception or a signal."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self, TypeVar

from hostsim.core.errors import HostsimError
from hostsim.measure.kvm.device import refusal

Result = TypeVar("Result")
SIGNALS = (signal.SIGINT, signal.SIGTERM)
TERMINATED = 128 + signal.SIGTERM


class PuttingBack:
    """A context manager that undoes steps in reverse order on success, on an error, on Ctrl-C and on SIGTERM.

    A signal ends the work between steps and never within one, and not while steps are undone: Ctrl-C as KeyboardInterrupt,
    SIGTERM as SystemExit. Only the main thread gets signals; elsewhere the caller's handlers stay.
    """

    def __init__(self) -> None:
        self._undo: list[tuple[str, Callable[[], object]]] = []
        self._before: dict[int, object] = {}
        self._holds, self._pending = 0, 0

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def step(self, do: Callable[[], Result], undo: Callable[[Result], object], by_hand: str) -> Result:
        """Change the host by ``do``; ``undo`` takes its result.

        by_hand: a command for people, in case undoing fails; ``{}`` stands for the result.
        """
        with self._held():
            result = do()
            self._undo.append((by_hand.format(result), lambda: undo(result)))
        return result

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        left = []
        with self._held():
            for by_hand, undo in reversed(self._undo):
                try:
                    undo()
                except (OSError, HostsimError) as failure:
                    left.append(f"{by_hand} ({failure})")
            self._undo.clear()
            for number, handler in self._before.items():
                signal.signal(number, handler)  # type: ignore[arg-type]  # as signal.signal returned it
        if left:
            raise refusal("not put back", "; ".join(left), "run these commands by hand") from error

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Signals wait until the block ends."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            if self._pending and not self._holds:
                number, self._pending = self._pending, 0
                _end(number)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._holds:
            self._pending = number
        else:
            _end(number)


def _end(number: int) -> None:
    if number == signal.SIGTERM:
        raise SystemExit(TERMINATED)
    raise KeyboardInterrupt


def check_root() -> None:
    """KvmError if this process is not root's: before anything is measured."""
    if os.geteuid() != 0:
        tried, reason = "--as-root", "this process is not root's"
        raise refusal(tried, reason, "leave the option out, or begin the command with sudo")
