"""A client of QEMU's machine protocol over a unix socket: one command at a time, events kept with their times."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostsim.core.errors import HostsimError

PATIENCE_S = 20.0
"""No answer of a command takes as long: QEMU holds its lock for a sync of small guests at most."""
POLL_S = 0.02


class QemuError(HostsimError):
    """QEMU is missing, refuses or ends too early: a message for people, exit code 2."""


class Qmp:
    """A connection that has left negotiation mode; ``close`` it.

    greeting: the version of QEMU, as its first line has it.
    events: (host's time [s], name, data) in their order.
    """

    def __init__(self, path: Path, check: Callable[[], None], patience_s: float = PATIENCE_S) -> None:
        """path: of the socket; check: raises QemuError if QEMU has ended; patience_s: for the socket to appear."""
        self.events: list[tuple[float, str, Any]] = []
        self._socket, self._unread = self._connected(path, check, patience_s), b""
        self.greeting: dict[str, Any] = self._message()["QMP"]["version"]
        self.ask("qmp_capabilities")

    def _connected(self, path: Path, check: Callable[[], None], patience_s: float) -> socket.socket:
        until = time.monotonic() + patience_s
        while True:
            found = socket.socket(socket.AF_UNIX)
            found.settimeout(PATIENCE_S)
            try:
                found.connect(str(path))
            except OSError as error:
                found.close()
                check()
                if time.monotonic() > until:
                    raise QemuError(f"{path}: no monitor of QEMU after {patience_s:g} s: {error.strerror}") from error
                time.sleep(POLL_S)
            else:
                return found

    def ask(self, command: str, **arguments: Any) -> Any:
        """The answer to ``command``; underscores of arguments become hyphens. QemuError if QEMU refuses."""
        sent = {"execute": command, "arguments": {name.replace("_", "-"): value for name, value in arguments.items()}}
        try:
            self._socket.sendall(json.dumps(sent).encode() + b"\n")
            answer = self._answer()
        except OSError as error:
            raise QemuError(f"{command}: QEMU does not answer: {error}") from error
        if "error" in answer:
            raise QemuError(f"{command}: {answer['error']['desc']}")
        return answer["return"]

    def _answer(self) -> dict[str, Any]:
        while True:
            message = self._message()
            if "event" not in message:
                return message
            stamp = message["timestamp"]
            self.events.append((stamp["seconds"] + stamp["microseconds"] * 1e-6, message["event"], message.get("data")))

    def _message(self) -> dict[str, Any]:
        while b"\n" not in self._unread:
            part = self._socket.recv(1 << 16)
            if not part:
                raise QemuError("QEMU closed its monitor")
            self._unread += part
        line, self._unread = self._unread.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        return message

    def words(self, address: int, count: int) -> list[int]:
        """``count`` 64-bit words of guest-physical memory, by the monitor command ``xp``, which marks no page dirty."""
        text = self.ask("human-monitor-command", command_line=f"xp /{count}gx {address:#x}")
        return [int(word, 16) for line in text.splitlines() for word in line.partition(":")[2].split()]

    def close(self) -> None:
        """Give the socket back; QEMU runs on."""
        self._socket.close()
