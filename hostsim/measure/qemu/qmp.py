"""A client of QEMU's machine protocol (QMP) by the library qemu.qmp: one command at a time, events kept with their times.

The library is asynchronous and hostsim's readers of a monitor are loops: each call here runs the library's event loop until
the answer has come.
"""

from __future__ import annotations

import asyncio
import logging
import re
import stat
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from hostsim.core.errors import HostsimError, MissingExtraError

if TYPE_CHECKING:
    from qemu.qmp import QMPClient

PATIENCE_S = 20.0
"""No answer of a command takes as long: QEMU holds its lock for a sync of small guests at most."""
GREETING_S = 5.0
"""QEMU greets a client at once, unless it serves another one (assumed: a loaded host takes less)."""
POLL_S = 0.02
TCP = re.compile(r"(?:tcp:)?(?P<host>[\w.-]*|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
EVENTS_MAX = 100_000
"""A client that never asks for its events keeps no more than these."""
T = TypeVar("T")


class QemuError(HostsimError):
    """QEMU is missing, refuses or ends too early: a message for people, exit code 2."""


class GoneError(QemuError):
    """The monitor was closed, or does not answer any more."""


class Event(NamedTuple):
    """An event of QEMU; at_s: the host's time [s]; raw: as QEMU sent it."""

    at_s: float
    name: str
    data: Any
    raw: dict[str, Any]


def address_of(text: str) -> str | tuple[str, int]:
    """The address in ``text``: a path, ``unix:PATH``, ``HOST:PORT`` or ``tcp:HOST:PORT``, options of QEMU's -qmp cut off."""
    plain = text.split(",", 1)[0] if text.startswith(("unix:", "tcp:")) else text
    found = TCP.fullmatch(plain)
    if found and not Path(plain).exists():
        return found["host"].strip("[]") or "localhost", int(found["port"])
    return plain.removeprefix("unix:")


class Qmp:
    """A connection that has left negotiation mode; ``close`` it.

    greeting: the version of QEMU, as its first line has it.
    events: in their order, as far as answers have come after them.
    """

    def __init__(
        self, address: Path | str, check: Callable[[], None] = lambda: None, patience_s: float = PATIENCE_S,
        greeting_s: float = PATIENCE_S,
    ) -> None:  # fmt: skip
        """Connect.

        address: of the monitor, as ``address_of`` reads it.
        check: raises QemuError if QEMU has ended.
        patience_s: for the socket to appear; greeting_s: for QEMU to greet.
        Raises QemuError with the way out; MissingExtraError without qemu.qmp.
        """
        self.events: list[Event] = []
        self._runner = asyncio.Runner()
        # Ctrl-C leaves a question behind whose answer nothing waits for: asyncio would print that on standard error.
        self._runner.get_loop().set_exception_handler(lambda _loop, _context: None)
        try:
            self._client = self._connected(str(address), check, patience_s, greeting_s)
        except BaseException:
            self._runner.close()
            raise
        assert self._client.greeting is not None, "a connected client was greeted"
        self.greeting: dict[str, Any] = dict(self._client.greeting.QMP.version)

    def _connected(self, address: str, check: Callable[[], None], patience_s: float, greeting_s: float) -> QMPClient:
        until, place = time.monotonic() + patience_s, address_of(address)
        while True:
            client = _client()
            try:
                self._run(partial(client.connect, place), greeting_s)
            except Exception as error:  # of the library and of the system; each has its words
                check()
                if not isinstance(_cause(error), FileNotFoundError | ConnectionRefusedError) or time.monotonic() >= until:
                    raise QemuError(f"{address}: {why_not(place, error, greeting_s)}") from error
                time.sleep(POLL_S)
            else:
                return client

    def _run(self, work: Callable[[], Awaitable[T]], patience_s: float) -> T:
        """The result of the coroutine that ``work`` makes inside the loop: so Ctrl-C before leaves none unawaited."""

        async def within() -> T:
            return await asyncio.wait_for(work(), patience_s)

        task = within()
        try:
            return self._runner.run(task)
        finally:
            task.close()  # Ctrl-C may come before the loop has begun it; Python would warn of that on standard error

    def ask(self, command: str, **arguments: Any) -> Any:
        """The answer to ``command``; underscores of arguments become hyphens.

        Raises QemuError with QEMU's words if it refuses, GoneError if it does not answer.
        """
        from qemu.qmp import ExecuteError

        sent = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            answer = self._run(partial(self._client.execute, command, sent or None), PATIENCE_S)
        except ExecuteError as error:
            raise QemuError(f"{command}: {error}") from error
        except TimeoutError as error:
            self._keep_events()
            raise GoneError(f"{command}: QEMU does not answer within {PATIENCE_S:g} s") from error
        except Exception as error:
            self._keep_events()
            raise GoneError(f"{command}: QEMU closed its monitor") from error
        self._keep_events()
        return answer

    def _keep_events(self) -> None:
        for message in self._client.events.clear():
            raw, stamp = dict(message), dict(message["timestamp"])  # type: ignore[call-overload]
            at_s = stamp["seconds"] + stamp["microseconds"] * 1e-6
            self.events.append(Event(at_s, str(raw["event"]), raw.get("data"), raw))
        del self.events[:-EVENTS_MAX]

    def words(self, address: int, count: int) -> list[int]:
        """``count`` 64-bit words of guest-physical memory, by the monitor command ``xp``, which marks no page dirty."""
        text = self.ask("human-monitor-command", command_line=f"xp /{count}gx {address:#x}")
        return [int(word, 16) for line in text.splitlines() for word in line.partition(":")[2].split()]

    def close(self) -> None:
        """Give the monitor back; QEMU runs on."""
        with suppress(Exception):  # the peer may have closed it first; the library raises that here
            self._run(self._client.disconnect, GREETING_S)
        self._runner.close()


def _client() -> QMPClient:
    try:
        from qemu.qmp import QMPClient
    except ImportError as error:
        raise MissingExtraError("qemu.qmp", "live") from error
    # Errors come as exceptions; the library also logs them, which would stand among hostsim's own lines.
    logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())
    return QMPClient("hostsim")


def _cause(error: BaseException) -> BaseException:
    """The first of the exceptions that led to ``error``."""
    while (before := getattr(error, "exc", None) or error.__cause__) is not None:
        error = before
    return error


def why_not(place: str | tuple[str, int], error: Exception, greeting_s: float) -> str:
    """The reason why ``error`` left no connection to ``place``, and the remedy.

    place: path, or (host, port). greeting_s: time that was waited for QEMU's greeting [s].
    """
    if isinstance(error, TimeoutError):
        return (
            f"connected, but QEMU has not greeted within {greeting_s:g} s: another client holds this monitor (QEMU serves "
            "one at a time; libvirt holds its own), or it is no monitor; give QEMU a second monitor: "
            "-qmp unix:PATH,server=on,wait=off"
        )
    if (greeted := _greeted(error)) is not None:
        return _not_qmp(greeted)
    cause = _cause(error)
    if isinstance(cause, EOFError):
        return "the program there closed the connection before it greeted: it is ending, or is no monitor of QEMU"
    return _refused(place, cause)


def _refused(place: str | tuple[str, int], cause: BaseException) -> str:
    path = Path(place) if isinstance(place, str) else None
    if isinstance(cause, FileNotFoundError):
        return f"no such socket: QEMU makes it with -qmp unix:{place},server=on,wait=off, and removes it when it ends"
    if isinstance(cause, PermissionError):
        return f"permission denied{_owner(path)}"
    if isinstance(cause, ConnectionRefusedError):
        if path is not None and not stat.S_ISSOCK(path.stat().st_mode):
            return "it is no socket; wanted the socket of QEMU's -qmp unix:PATH,server=on,wait=off"
        return "connection refused: no QEMU listens there any more"
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _owner(path: Path | None) -> str:
    try:
        return f": run hostsim as the user that owns it, {path.owner()}, or as root" if path else ""
    except (KeyError, OSError):
        return ": run hostsim as the user that owns it, or as root"


def _greeted(error: BaseException) -> bytes | None:
    """The first line of a peer that does not talk QMP; None if it sent none."""
    seen: BaseException | None = error
    while seen is not None:
        if (raw := getattr(seen, "raw", None)) is not None:
            return bytes(raw)
        seen = getattr(seen, "exc", None) or seen.__cause__
    return None


def _not_qmp(greeted: bytes) -> str:
    if b"monitor - type 'help'" in greeted or greeted.startswith(b"QEMU "):
        return "this is QEMU's monitor for people (-monitor); wanted its machine protocol: -qmp unix:PATH,server=on,wait=off"
    return f"the program there does not talk QMP: it sent {greeted[:40]!r}"
