"""A file of JSON lines that others read, move or cut while it grows: every line in it is whole."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hostsim.core.errors import OutputError

MODE = 0o644


def line_of(record: Mapping[str, Any]) -> bytes:
    """``record`` as one line of JSON."""
    return json.dumps(record, separators=(", ", ": ")).encode() + b"\n"


class LineFile:
    """Lines are added at the end of ``path``, each by one write; a context manager.

    A file that was moved away meanwhile (logrotate) is made anew, and a line that something else has cut off keeps its
    place: the next one begins on a line of its own.
    """

    def __init__(self, path: Path) -> None:
        """OutputError if ``path`` cannot be opened."""
        self._path, self._file = path, -1
        self._open()

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
        except OSError as error:
            raise self._refused(error) from error

    def put(self, record: Mapping[str, Any]) -> None:
        """Add a line. OutputError if it does not fit: then nothing of it is in the file."""
        if self._was_moved():
            self.close()
            self._open()
        told = os.fstat(self._file)
        line = line_of(record)
        if stat.S_ISREG(told.st_mode) and told.st_size and os.pread(self._file, 1, told.st_size - 1) != b"\n":
            line = b"\n" + line
        self._write(line, told)

    def _write(self, line: bytes, before: os.stat_result) -> None:
        try:
            done = os.write(self._file, line)
            while done < len(line):  # the disk is full, which the next write says
                done += os.write(self._file, line[done:])
        except OSError as error:
            if stat.S_ISREG(before.st_mode):
                os.ftruncate(self._file, before.st_size)
            raise self._refused(error) from error

    def _was_moved(self) -> bool:
        mine = os.fstat(self._file)
        try:
            there = self._path.stat()
        except OSError:
            return True
        return (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino)

    def _refused(self, error: OSError) -> OutputError:
        return OutputError(f"{self._path}: cannot write: {error.strerror or error}")

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
