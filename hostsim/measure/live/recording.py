"""The answers of a live QEMU about its migrations, polled: each with its time, as lines that hostsim.logs reads.

Only questions are sent (``READ_ONLY``), and calc-dirty-rate if it is asked for. A monitor that closes is connected to again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from hostsim.logs.model import TERMINAL
from hostsim.measure.live.dirty_rates import DirtyRates, Guest
from hostsim.measure.qemu.qmp import GREETING_S, GoneError, QemuError, Qmp

HEADER = (
    "query-name", "query-status", "query-kvm", "query-memory-size-summary", "query-cpus-fast", "query-migrate-capabilities",
    "query-migrate-parameters",
)  # fmt: skip
"""Asked once, before the first poll; a QEMU that lacks one of them lacks its line."""
READ_ONLY = frozenset({"query-migrate", "query-dirty-rate", *HEADER})
"""All that is sent to a monitor unless more is asked for."""
CHANGING = ("query-migrate-parameters", "query-migrate-capabilities")
"""Commands of each poll; hostsim writes a line only for a changed answer."""
EVENTS = frozenset({"MIGRATION", "MIGRATION_PASS", "STOP", "RESUME", "SHUTDOWN"})
SETTLE_S = 2.0
"""For a moment after ``completed`` QEMU 7.2 has not filled in the total time."""
AWAY_S = 30.0
"""So long a monitor that has closed is tried again."""
AGAIN_S, AGAIN_MAX_S = 0.2, 5.0
"""First and longest pause between two attempts; each is twice as long as the one before."""
MOVED = "postmigrate"
"""Run state of a source whose VM runs on the other host."""

Line = dict[str, Any]


def ignore(line: str) -> None:
    """Say nothing."""
    del line


@dataclass(frozen=True)
class Wanted:
    """A recording.

    address: of the monitor; interval_s: from poll to poll; for_s: of the whole recording, None: no limit.
    goes_on: record the next migration, too.
    windows_ns, rate_mode: of calc-dirty-rate, before a migration; (): it is not sent.
    away_s: how long a monitor that has closed is tried again.
    """

    address: str
    interval_s: float = 0.2
    for_s: float | None = None
    goes_on: bool = False
    windows_ns: tuple[int, ...] = ()
    rate_mode: str = "page-sampling"
    away_s: float = AWAY_S
    greeting_s: float = GREETING_S


@dataclass
class Recording:
    """A recording and where it stands.

    say: takes lines for people.
    status: of the migration, by the last answer or event; answers: lines about it so far.
    end: why it ended: "ended" (the migration), "time" (for_s), "gone" (QEMU); "" before.
    """

    wanted: Wanted
    say: Callable[[str], None] = ignore
    status: str = "none"
    answers: int = 0
    end: str = ""
    _seen: dict[str, Any] = field(default_factory=dict)
    _is_live: bool = False
    _was_live: bool = False
    _ended_s: float | None = None
    _older: Any = None
    _said: set[str] = field(default_factory=set)

    def lines(self) -> Iterator[Line]:
        """Poll until the migration has ended, the time is over, or QEMU has gone; yields each line as it comes.

        Raises QemuError if QEMU cannot be reached, refuses, or goes away before the migration has ended.
        """
        self._began_s = time.monotonic()
        self._wall_s = time.time() - self._began_s
        self._rates = DirtyRates(self.wanted.windows_ns, self.wanted.rate_mode, self.say)
        qmp: Qmp | None = self._connected()
        while qmp is not None:
            try:
                yield from self._header(qmp)
                yield from self._polls(qmp)
            except GoneError as error:
                gone = error
                yield from self._events(qmp)
            else:
                return
            finally:
                qmp.close()
            qmp = self._connected_again(gone)

    def _connected(self) -> Qmp:
        return Qmp(self.wanted.address, patience_s=0.0, greeting_s=self.wanted.greeting_s)

    # -- one connection

    def _header(self, qmp: Qmp) -> Iterator[Line]:
        yield from self._changed("query-version", qmp.greeting)
        for command in HEADER:
            with _unless_gone():
                answer = qmp.ask(command)
                if command == "query-cpus-fast":
                    answer = [{"cpu-index": one.get("cpu-index")} for one in answer]
                yield from self._changed(command, answer)
        if not self._rates.is_done:
            self._rates.check(self._guest(qmp))

    def _guest(self, qmp: Qmp) -> Guest:
        version = qmp.greeting.get("qemu", {})
        kvm, memory = self._seen.get("query-kvm", {}), self._seen.get("query-memory-size-summary", {})
        status = _status(qmp.ask("query-migrate"))
        return Guest(
            (version.get("major", 0), version.get("minor", 0)), kvm.get("enabled"), memory.get("base-memory"), status
        )

    def _changed(self, command: str, answer: Any) -> Iterator[Line]:
        """The line of ``answer``, unless it is the one that was seen last."""
        if self._seen.get(command) != answer:
            self._seen[command] = answer
            yield self._line(command, answer)

    def _line(self, command: str, answer: Any) -> Line:
        now_us = round((self._wall_s + time.monotonic()) * 1e6)
        return {
            "timestamp": {"seconds": now_us // 1_000_000, "microseconds": now_us % 1_000_000}, "execute": command,
            "return": answer,
        }  # fmt: skip

    def _polls(self, qmp: Qmp) -> Iterator[Line]:
        next_s = time.monotonic()
        while not self._is_over():
            yield from self._poll(qmp)
            next_s = max(next_s + self.wanted.interval_s, time.monotonic())
            if not self._is_over() and not self._sleep(next_s - time.monotonic()):
                self.end = "time"
        yield from self._last_words(qmp)

    def _is_over(self) -> bool:
        return bool(self.end)

    def _poll(self, qmp: Qmp) -> Iterator[Line]:
        answer = self._answer(qmp)
        events = self._events(qmp)
        late = [] if answer is None else _later_than(_status(answer), events)
        yield from (event for event in events if event not in late)
        for command in CHANGING:
            with _unless_gone():
                yield from self._changed(command, qmp.ask(command))
        if answer is None:
            return
        self.status = _status(answer)
        if self._is_news(answer):
            self.answers += self.status != "none"
            yield self._line("query-migrate", answer)
        yield from late
        self._judge(answer)
        yield from (self._line(*one) for one in self._rates.step(qmp, is_migrating=self._is_live))

    def _answer(self, qmp: Qmp) -> Any:
        """The answer of query-migrate; None while this QEMU does not allow the question (-preconfig)."""
        try:
            return qmp.ask("query-migrate")
        except GoneError:
            raise
        except QemuError as error:
            self._once(f"{error}; asking again")
            return None

    def _is_news(self, answer: Any) -> bool:
        before, self._seen["query-migrate"] = self._seen.get("query-migrate"), answer
        return answer != before or (self.status != "none" and self.status not in TERMINAL)

    def _judge(self, answer: Any) -> None:
        """Set ``end`` once the migration has ended; a migration that had ended before the first poll is another one."""
        if self.status not in TERMINAL:
            self._was_live, self._is_live, self._ended_s = self._is_live, self.status != "none", None
            if self.status == "none":
                self._none_runs()
            return
        if not self._is_live and self._older in (None, answer):
            if self._older is None:
                self._older = answer
                self._wait_for_another()
            return
        self._is_live = True
        now_s = time.monotonic()
        self._ended_s = now_s if self._ended_s is None else self._ended_s
        if self.status != "completed" or answer.get("total-time") or now_s - self._ended_s > SETTLE_S:
            self._ended(answer)

    def _none_runs(self) -> None:
        if self._was_live:
            raise QemuError("QEMU was started anew: the end of the migration before was not seen")
        if self._seen.get("query-status", {}).get("status") == "inmigrate":
            self._once("this QEMU waits for a VM to arrive: only the source's QEMU counts what is sent")
        self._once("no migration runs yet: waiting for one to begin")

    def _wait_for_another(self) -> None:
        if self._seen.get("query-status", {}).get("status") == MOVED and not self.wanted.goes_on:
            self.say("the VM has migrated away already: its last answer is recorded")
            self.end = "ended"
        else:
            self._once(f"the last migration ended before the recording began ({self.status}): waiting for the next one")

    def _ended(self, answer: Any) -> None:
        if not self.wanted.goes_on:
            self.end = "ended"
            return
        self.say(f"the migration is {self.status}; waiting for the next one")
        self._is_live, self._older, self._ended_s = False, answer, None

    def _events(self, qmp: Qmp) -> list[Line]:
        events, qmp.events = qmp.events, []
        told = [event.raw for event in events if event.name in EVENTS]
        self.status = next((status for one in reversed(told) if (status := _event_status(one))), self.status)
        return told

    def _last_words(self, qmp: Qmp) -> Iterator[Line]:
        with suppress(QemuError):
            yield from self._changed("query-status", qmp.ask("query-status"))
        yield from self._events(qmp)

    # -- between connections

    def _connected_again(self, error: GoneError) -> Qmp | None:
        """A new connection; None if the migration had ended or the time is over. QemuError if QEMU does not come back."""
        if self.status in TERMINAL and (self._is_live or self.status == "completed"):
            self.end = "ended"
            return None
        self.say(f"{error}; connecting again, for {self.wanted.away_s:g} s at most")
        until, pause_s = time.monotonic() + self.wanted.away_s, AGAIN_S
        while self._sleep(pause_s):
            try:
                qmp = self._connected()
            except QemuError as again:
                if time.monotonic() > until:
                    self.end = "gone"
                    where = f"while the migration was {self.status}" if self._is_live else "before a migration began"
                    raise QemuError(f"QEMU went away {where}: {again}") from again
                pause_s = min(2 * pause_s, AGAIN_MAX_S, max(AGAIN_S, until - time.monotonic()))
            else:
                self.say("connected again")
                return qmp
        self.end = "time"
        return None

    def _sleep(self, seconds: float) -> bool:
        """Wait; False if the time of the recording is over before."""
        until = None if self.wanted.for_s is None else self._began_s + self.wanted.for_s
        now_s = time.monotonic()
        is_over = until is not None and now_s + seconds >= until
        time.sleep(max(0.0, until - now_s if is_over and until is not None else seconds))
        return not is_over

    def _once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self.say(line)


@contextmanager
def _unless_gone() -> Iterator[None]:
    """Pass over a question that this QEMU refuses; a monitor that has closed is another matter."""
    try:
        yield
    except GoneError:
        raise
    except QemuError:
        pass


def _later_than(status: str, events: list[Line]) -> list[Line]:
    """Those of ``events`` that have come after an answer of that status, with which they were read at once.

    A migration does not go on once it has ended, and has begun after the last answer that knows of none.
    """
    if status == "none":
        return events
    ends = [i for i, event in enumerate(events) if _event_status(event) in TERMINAL]
    return events[ends[0] :] if ends and status not in TERMINAL else []


def _event_status(event: Line) -> str:
    """The status in an event of a migration; "" for another event."""
    data = event.get("data")
    return str(data.get("status", "")) if event.get("event") == "MIGRATION" and isinstance(data, dict) else ""


def _status(answer: Any) -> str:
    """The status in an answer of query-migrate, which is empty before the first migration."""
    return str(answer.get("status", "none"))
