"""Real migrations by the installed QEMU under software emulation, small enough for every run of the tests.

A guest of 64 MiB writes at a rate of its own; the link is max-bandwidth. ``Pair`` migrates it, as often as a test likes and
with another downtime limit each time: the record of one migration can be compared with the next migration.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self

from hostsim.measure.qemu.firmware import Guest
from hostsim.measure.qemu.migrate import ENDED, wait_until_begun
from hostsim.measure.qemu.process import Place, Qemu, find_qemu
from hostsim.measure.qemu.qmp import QemuError
from tests.helpers.command import hostsim

TSC_HZ = 2_000_000_000
"""Only a guess: the guest's rate may be off by so much; QEMU's answers have the true rate."""
SMALL = Guest(mem_mib=64, fill_pages=4096, set_pages=2048, rate=1500)
"""Sends 24 MiB at first, then writes over 8 MiB."""
ACCEL = "tcg"
PATIENCE_S = 30.0
MB = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Parameters of a migration. bandwidth_bytes_per_s: max-bandwidth; capabilities: of both sides."""

    downtime_ms: int = 300
    bandwidth_bytes_per_s: int = 16 * MB
    capabilities: tuple[str, ...] = ("events",)


class Pair:
    """A source that runs the guest, and destinations that it migrates to; a context manager that ends all of them.

    monitor, other_monitor: paths of two more monitors of the source, for programs under test; each serves one client.
    """

    def __init__(self, folder: Path, guest: Guest = SMALL, accel: str = ACCEL) -> None:
        self._folder, self._guest, self._accel = folder, guest, accel
        self.monitor, self.other_monitor = folder / "second.qmp", folder / "third.qmp"
        more = ["-name", "small"]
        for path in (self.monitor, self.other_monitor):
            more += ["-qmp", f"unix:{path},server=on,wait=off"]
        self.source = Qemu(find_qemu(), Place(folder, "src"), self._image(), guest.mem_mib, accel, more)
        self._sink: Qemu | None = None

    def _image(self) -> bytes:
        return self._guest.image(TSC_HZ)

    def wait(self) -> Self:
        """Until the guest writes."""
        wait_until_begun(self.source)
        return self

    def start(self, limits: Limits | None = None) -> None:
        """Begin a migration to a new QEMU, which takes the place of an earlier one."""
        wanted = limits or Limits()
        self._end_sink()
        uri = f"unix:{self._folder / 'migration'}"
        more = ("-incoming", "defer")
        self._sink = Qemu(find_qemu(), Place(self._folder, "dst"), self._image(), self._guest.mem_mib, self._accel, more)
        for side in (self.source, self._sink):
            capabilities = [{"capability": name, "state": True} for name in wanted.capabilities]
            side.qmp.ask("migrate-set-capabilities", capabilities=capabilities)
        self._sink.qmp.ask("migrate-incoming", uri=uri)
        given = {"max-bandwidth": wanted.bandwidth_bytes_per_s, "downtime-limit": wanted.downtime_ms}
        self.source.qmp.ask("migrate-set-parameters", **given)
        self.source.qmp.ask("migrate", uri=uri)

    def cancel(self) -> None:
        """Cancel the migration; the guest runs on."""
        self.source.qmp.ask("migrate_cancel")

    def pause(self) -> None:
        """Stop the guest: an emulated guest that writes takes a whole processor while commands start."""
        self.source.qmp.ask("stop")

    def resume(self) -> None:
        """Let the guest write again."""
        self.source.qmp.ask("cont")

    def ended(self, within_s: float = PATIENCE_S) -> dict[str, Any]:
        """The last answer of query-migrate, once the migration has ended. QemuError if it does not."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            found: dict[str, Any] = self.source.qmp.ask("query-migrate")
            if found.get("status") in ENDED and (found["status"] != "completed" or found.get("total-time")):
                return found
            time.sleep(0.05)
        raise QemuError(f"the migration has not ended within {within_s:g} s")

    def _end_sink(self) -> None:
        if self._sink is not None:
            self._sink.__exit__(None, None, None)
            self._sink = None

    def quit(self) -> None:
        """End the source, as a management layer does."""
        self.source.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end_sink()
        self.source.__exit__(kind, error, trace)


@contextmanager
def running(folder: Path, guest: Guest = SMALL) -> Iterator[Pair]:
    """A pair whose guest writes."""
    with Pair(folder, guest) as pair:
        yield pair.wait()


# -- a recorded migration that does not converge, and the same guest ready for another limit

BUSY = Guest(mem_mib=64, fill_pages=512, set_pages=2048, rate=24_000)
"""Writes over 8 MiB several times as fast as NARROW sends, on any processor of today."""
NARROW = Limits(downtime_ms=20, bandwidth_bytes_per_s=32 * MB)
WIDE = Limits(downtime_ms=1000, bandwidth_bytes_per_s=32 * MB)
"""All that the guest writes can be sent within this limit."""
WATCHED_S = 2.2


@dataclass(frozen=True)
class Recorded:
    """A migration under NARROW that was recorded and then cancelled.

    pair: ``pair.resume()`` and ``pair.start(Limits(...))`` migrate its paused guest for real under another limit.
    log: the file that ``hostsim record`` wrote: what ``hostsim explain`` reads, and whatever else is fitted to a log.
    told: standard output of ``hostsim record``.
    """

    pair: Pair
    log: Path
    told: str


@contextmanager
def recorded_migration(folder: Path, begun: Callable[[Pair], None] = lambda _pair: None) -> Iterator[Recorded]:
    """Record a real migration of BUSY under NARROW; begun: called before the migration begins."""
    with running(folder, BUSY) as pair:
        pair.pause()
        begun(pair)
        log = folder / "out" / "migration.jsonl"
        operator = Thread(target=_operate, args=(pair, log))
        operator.start()
        done = hostsim("record", "--qmp", pair.monitor, "--interval", "50ms", "--for", "30s", cwd=folder)
        operator.join()
        assert (done.returncode, done.stderr) == (0, "no migration runs yet: waiting for one to begin\n"), done
        yield Recorded(pair, log, done.stdout)


def _operate(pair: Pair, log: Path) -> None:
    """Migrate once the recorder waits for the migration, then cancel; the guest is paused before and afterwards."""
    until = time.monotonic() + PATIENCE_S
    while not (log.exists() and '"query-migrate"' in log.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    pair.resume()
    pair.start(NARROW)
    time.sleep(WATCHED_S)
    pair.cancel()
    pair.pause()
