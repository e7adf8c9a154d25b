"""A program on a terminal of its own: the screen that it draws, and the keys that it is sent."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from codecs import getincrementaldecoder
from collections.abc import Callable
from pathlib import Path
from signal import SIGINT, default_int_handler, signal
from types import TracebackType
from typing import Self

from tests.helpers.command import HOSTSIM, environment

ROWS, COLUMNS = 24, 80
CTRL_C = b"\x03"
PATIENCE_S = 60.0


class Terminal:
    """``hostsim arguments`` on a terminal of 80 columns and 24 rows; a context manager that ends it.

    text: everything that it has written so far, escape sequences included.
    """

    def __init__(self, *arguments: str | Path, cwd: Path) -> None:
        self._keys, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.modes_before = termios.tcgetattr(theirs)
        env = environment() | {"TERM": "xterm", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
        before = signal(SIGINT, default_int_handler)  # as in tests.helpers.command.started
        try:
            self._process = subprocess.Popen(
                [HOSTSIM, *map(str, arguments)], cwd=cwd, env=env, stdin=theirs, stdout=theirs, stderr=theirs,
                start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
            )  # fmt: skip
        finally:
            signal(SIGINT, before)
        self._theirs, self.text = theirs, ""
        self._decoder = getincrementaldecoder("utf-8")()  # a read may end in the middle of a character

    def until(self, is_there: Callable[[str], bool]) -> str:
        """Everything written, as soon as ``is_there`` says so of it. AssertionError if it does not come."""
        end = time.monotonic() + PATIENCE_S
        while not is_there(self.text):
            assert time.monotonic() < end, f"it does not come: {self.text[-2000:]}"
            assert self._read(0.1) or self._process.poll() is None, f"it has ended: {self.text[-2000:]}"
        return self.text

    def _read(self, wait_s: float) -> bool:
        if not select.select([self._keys], [], [], wait_s)[0]:
            return False
        self.text += self._decoder.decode(os.read(self._keys, 1 << 16))
        return True

    def press(self, keys: bytes) -> None:
        """Send keys."""
        os.write(self._keys, keys)

    def ended(self) -> int:
        """The exit code, once it has ended; ``text`` is complete then."""
        end = time.monotonic() + PATIENCE_S
        while self._process.poll() is None:
            assert time.monotonic() < end, f"it does not end: {self.text[-2000:]}"
            self._read(0.1)
        while self._read(0.1):
            pass
        return self._process.returncode

    def modes(self) -> list[object]:
        """The modes of the terminal, as ``termios.tcgetattr`` returns them."""
        return termios.tcgetattr(self._theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._theirs)
        os.close(self._keys)


def frames(text: str) -> list[list[str]]:
    """The screens that rich has drawn one over the other: lines without escape sequences."""
    import re

    drawn = re.split(r"\r(?:\x1b\[2K\x1b\[1A)+\x1b\[2K|\r\x1b\[2K", text)
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frame).replace("\r", "").split("\n") for frame in drawn]
