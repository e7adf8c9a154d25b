"""A monitor without a QEMU behind it, which gives the answers of a test."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

VERSION = {"major": 7, "minor": 2, "micro": 22}
GREETING: dict[str, Any] = {"QMP": {"version": {"qemu": VERSION, "package": "Debian"}, "capabilities": ["oob"]}}
HANG_UP: dict[str, Any] = {"hang up": True}
"""Stands for an answer: the monitor closes the connection."""
Answer = Callable[[str, dict[str, Any]], list[dict[str, Any]]]
"""Messages for a command and its arguments; events among them come before the answer."""


class Monitor:
    """A monitor at ``path`` that serves one client after the other, until ``close``.

    answer: of each command but qmp_capabilities.
    greeting: its first line; None: none.
    asked: the commands that clients have sent, with their arguments.
    """

    def __init__(self, path: Path, answer: Answer, greeting: bytes | None = b"") -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._answer, self._open = answer, True
        self._peer: socket.socket | None = None
        self._greeting = json.dumps(GREETING).encode() + b"\r\n" if greeting == b"" else greeting
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(5)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def commands(self) -> set[str]:
        """Names of all commands that clients have sent."""
        return {name for name, _ in self.asked}

    def _serve(self) -> None:
        while self._open:
            with suppress(OSError):  # the client has left, or the monitor is closed
                self._peer, _ = self._server.accept()
                with self._peer as peer:
                    if self._greeting is not None:
                        peer.sendall(self._greeting)
                    self._talk(peer)

    def _talk(self, peer: socket.socket) -> None:
        for said in _messages(peer):
            name, given = said["execute"], said.get("arguments", {})
            messages: list[dict[str, Any]] = [{"return": {}}]
            if name != "qmp_capabilities":
                self.asked.append((name, given))
                messages = self._answer(name, given)
            for message in messages:
                if message == HANG_UP:
                    return
                known = message if "event" in message else {**message, "id": said.get("id")}
                peer.sendall(json.dumps(known).encode() + b"\r\n")

    def close(self) -> None:
        """Stop serving; the socket's file stays, as that of a killed QEMU does."""
        self._open = False
        for one in filter(None, (self._server, self._peer)):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._server.close()


def _messages(peer: socket.socket) -> Iterator[dict[str, Any]]:
    """Objects that the client sends, between which there need be no line end."""
    text = ""
    while part := peer.recv(1 << 16):
        text += part.decode()
        while text:
            try:
                message, end = json.JSONDecoder().raw_decode(text)
            except ValueError:  # it goes on in the next part
                break
            text = text[end:].lstrip()
            yield message
