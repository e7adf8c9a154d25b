"""A QEMU of this host as a process that never outlives hostsim: found, started with the guest's firmware, ended."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hostsim.measure.qemu.firmware import MAILBOX, Mailbox
from hostsim.measure.qemu.qmp import QemuError, Qmp

PLACES = ("qemu-system-x86_64", "qemu-kvm", "/usr/libexec/qemu-kvm", "/usr/lib/qemu-kvm")
"""Names of QEMU for x86-64: upstream's and Debian's, then those of RHEL."""
INSTALL = "install it: apt install qemu-system-x86 (Debian, Ubuntu), dnf install qemu-kvm (Fedora, RHEL)"
MACHINE = "pc"
CPU = {"kvm": "host,-arch-capabilities", "tcg": "max"}
"""By accelerator. KVM of some hosts offers the MSR IA32_ARCH_CAPABILITIES and refuses its value, on which QEMU ends."""
LAUNCH = """
import ctypes, os, signal, sys
prctl = ctypes.CDLL(None).prctl
prctl(1, int(signal.SIGKILL), 0, 0, 0)
prctl(41, 1, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""PR_SET_PDEATHSIG: QEMU dies with hostsim, however that ends. PR_SET_THP_DISABLE: its memory is of 4 KiB pages."""
END_S = 5.0


@dataclass(frozen=True)
class Place:
    """Files of one QEMU: its folder, and a name that no other QEMU in the folder has."""

    folder: Path
    name: str

    def file(self, suffix: str) -> Path:
        """``<folder>/<name>.<suffix>``."""
        return self.folder / f"{self.name}.{suffix}"


def find_qemu() -> str:
    """Path of QEMU. QemuError with the way to get it."""
    for place in PLACES:
        if found := shutil.which(place):
            return found
    raise QemuError(f"{PLACES[0]}: not found in PATH; {INSTALL}")


class Qemu:
    """A running QEMU with its monitor; a context manager that ends it."""

    def __init__(self, binary: str, place: Place, image: bytes, mem_mib: int, accel: str, more: Sequence[str] = ()) -> None:
        """Start it.

        place: where its firmware, monitor and output go.
        image: of the firmware; mem_mib: memory [MiB].
        accel: value of -accel; more: further options.
        Raises QemuError with QEMU's own words if it ends at once.
        """
        self._place, self._stack = place, ExitStack()
        try:
            self._start(binary, image, [*options(place, mem_mib, accel), *more])
        except BaseException:
            self._stack.close()
            raise

    def _start(self, binary: str, image: bytes, arguments: Sequence[str]) -> None:
        self._place.file("bin").write_bytes(image)
        output = self._stack.enter_context(self._place.file("out").open("wb"))
        # A process group of its own: Ctrl-C reaches hostsim, which ends QEMU; QEMU does not end first, by itself.
        self._process = subprocess.Popen(  # noqa: S603  QEMU as it was found in PATH
            [sys.executable, "-S", "-E", "-c", LAUNCH, binary, *arguments], stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._stack.callback(self._end)
        self.qmp = Qmp(self._place.file("qmp"), self.check)
        self._stack.callback(self.qmp.close)

    def check(self) -> None:
        """QemuError, with the end of QEMU's output, if it has ended."""
        code = self._process.poll()
        if code is not None:
            text = self._place.file("out").read_text(encoding="utf-8", errors="replace").strip()
            said = text.splitlines()[-1] if text else "it said nothing"
            raise QemuError(f"QEMU ended with {code}: {said}")

    def mailbox(self) -> Mailbox:
        """The guest's counts now."""
        return Mailbox.of(self.qmp.words(MAILBOX, 4))

    def counters(self) -> Counter[str]:
        """KVM's counters of the VM and its vCPUs, added; none where QEMU has no ``query-stats`` (before 7.1)."""
        found: Counter[str] = Counter()
        with suppress(QemuError):
            for target in ("vm", "vcpu"):
                for owner in self.qmp.ask("query-stats", target=target):
                    found.update(dict(_whole_numbers(owner["stats"])))
        return found

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()


def _whole_numbers(stats: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, int]]:
    """Counters that are single numbers; others are histograms and flags."""
    for one in stats:
        if isinstance(one["value"], int) and not isinstance(one["value"], bool):
            yield one["name"], one["value"]


def options(place: Place, mem_mib: int, accel: str) -> list[str]:
    """The command line of QEMU: no default device, no display, one vCPU.

    place: paths of firmware and QMP socket. mem_mib: memory [MiB]. accel: "kvm" or "tcg", with its options.
    """
    return [
        "-accel", accel, "-cpu", CPU[accel.split(",", 1)[0]], "-machine", MACHINE, "-m", str(mem_mib), "-smp", "1",
        "-no-user-config", "-nodefaults", "-display", "none", "-vga", "none", "-bios", str(place.file("bin")),
        "-qmp", f"unix:{place.file('qmp')},server=on,wait=off",
    ]  # fmt: skip
