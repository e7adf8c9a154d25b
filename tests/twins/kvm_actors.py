"""The host threads of a case, the same for twin and engine: they call the methods of a ``Port`` and keep a record."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, Protocol

import simpy

from tests.twins.kvm_case import Ageing, Case, Hold, Invalidation, Pause, Throttle

Process = Generator[simpy.Event, Any, Any]
Record = list[tuple[Any, ...]]


class Port(Protocol):
    """The acts of host threads on a VM; those that return a process take time."""

    env: simpy.Environment

    def start_log(self) -> Process: ...
    def stop_log(self) -> Process: ...
    def sync(self) -> Process: ...
    def before_send(self, page: int) -> Process: ...
    def to_send(self) -> set[int]: ...
    def sent(self, page: int) -> None: ...
    def fill_buffers(self) -> None: ...
    def throttle(self, vcpu: int, sleep_ns: int) -> None: ...
    def pause(self) -> Process: ...
    def resume(self) -> None: ...
    def hold(self, hold: Hold) -> Process: ...
    def begin_invalidation(self, what: Invalidation) -> Process: ...
    def end_invalidation(self, what: Invalidation) -> Process: ...
    def shootdown(self) -> Process: ...
    def stop_after(self, vcpu: int, work_ns: int) -> None: ...
    def age(self, what: Ageing) -> Process: ...
    def reap(self) -> Process: ...


class Actors:
    """``processes``: by name. ``record``: when each operation of theirs was over, and its result."""

    def __init__(self, port: Port, case: Case) -> None:
        self.port, self.env, self.case, self.script = port, port.env, case, case.script
        self.record: dict[str, Record] = {name: [] for name in ("migration", "kicker", "holder", "notifier", "ager")}

    def processes(self) -> Iterator[tuple[str, Process]]:
        yield "migration", self._migration()
        yield "kicker", self._kicker()
        yield "holder", self._holder()
        yield "notifier", self._notifier()
        yield "errands", self._errands()
        yield "ager", self._ager()
        if self.case.rules.interface == "dirty-ring":
            yield "reaper", self._reaper()

    def _over(self, who: str, *what: Any) -> None:
        self.record[who].append((self.env.now, *what))

    def _migration(self) -> Process:
        yield self.env.timeout(self.script.first_ns)
        yield from self._log("start", self.port.start_log())
        for sync in self.script.syncs:
            new = yield from self.port.sync()
            self._over("migration", "sync", new, sorted(self.port.to_send()))
            yield from self._send()
            self.port.fill_buffers()
            yield self.env.timeout(sync.wait_ns)
            if sync.restart:
                yield from self._log("stop", self.port.stop_log())
                yield self.env.timeout(sync.wait_ns)
                yield from self._log("start", self.port.start_log())
        if self.script.stop:
            yield from self._log("stop", self.port.stop_log())

    def _log(self, what: str, process: Process) -> Process:
        yield from process
        self._over("migration", what)

    def _send(self) -> Process:
        size = self.case.rules.chunk_pages
        for first in range(0, self.case.n_pages, size):
            chunk = range(first, min(first + size, self.case.n_pages))
            pages = sorted(self.port.to_send() & set(chunk))
            if pages:
                yield from self.port.before_send(pages[0])
                self._over("migration", "send", pages[0])
            for page in pages:
                self.port.sent(page)

    def _kicker(self) -> Process:
        for kick in self.script.kicks:
            yield self.env.timeout(kick.wait_ns)
            if isinstance(kick, Throttle):
                for vcpu in kick.vcpus:
                    self.port.throttle(vcpu, kick.sleep_ns)
            else:
                yield from self._pause(kick)

    def _pause(self, pause: Pause) -> Process:
        yield from self.port.pause()
        self._over("kicker", "out")
        yield self.env.timeout(pause.pause_ns)
        self.port.resume()

    def _holder(self) -> Process:
        for hold in self.script.holds:
            yield self.env.timeout(hold.wait_ns)
            yield from self.port.hold(hold)
            self._over("holder", "released")

    def _notifier(self) -> Process:
        for what in self.script.invalidations:
            yield self.env.timeout(what.wait_ns)
            yield from self.port.begin_invalidation(what)
            self._over("notifier", "begun")
            yield self.env.timeout(what.gap_ns)
            yield from self.port.end_invalidation(what)
            self._over("notifier", "ended")
            if what.shoots:
                yield from self.port.shootdown()
                self._over("notifier", "shot")

    def _errands(self) -> Process:
        for errand in self.script.errands:
            yield self.env.timeout(errand.wait_ns)
            self.port.stop_after(errand.vcpu, errand.work_ns)
    def _ager(self) -> Process:
        for what in self.script.ageings:
            yield self.env.timeout(what.wait_ns)
            young = yield from self.port.age(what)
            self._over("ager", young)

    def _reaper(self) -> Process:
        while True:
            yield self.env.timeout(self.case.rules.reaper_ns)
            yield from self.port.reap()
