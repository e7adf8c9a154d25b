"""A swap device: one that is on, or a zram that is made for the measurement and removed.

Linux mm/swapfile.c::sys_swapon, include/linux/swap.h::swap_header, drivers/block/zram/zram_drv.c,
Documentation/admin-guide/blockdev/zram.rst.
"""

from __future__ import annotations

import ctypes
import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from hostsim.core.constants import PAGE_BYTES
from hostsim.measure.kvm.device import refusal
from hostsim.measure.privileged.putting_back import PuttingBack

CONTROL, BLOCK, DEVICES, SWAPS = (
    Path("/sys/class/zram-control"), Path("/sys/block"), Path("/dev"), Path("/proc/swaps"),
)  # fmt: skip
PRESENT, ZRAM = "present", "zram"
CHOICES = (PRESENT, ZRAM)
SWAP_FLAG_PREFER, PRIORITY_MOST = 0x8000, 0x7FFF
"""Above every other device, so that pages go to this one."""
HEADER_AT, MAGIC = 1024, b"SWAPSPACE2"
NODE_S = 2.0
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class SwapDevice:
    """A device that is on. free_bytes: of its slots; priority: the kernel takes the highest first."""

    path: str
    free_bytes: int
    priority: int


def swap_header(n_bytes: int) -> bytes:
    """First page of a swap area of ``n_bytes``: version 1, its last page, no bad pages, no name, as mkswap writes it."""
    page = bytearray(PAGE_BYTES)
    struct.pack_into("=III", page, HEADER_AT, 1, n_bytes // PAGE_BYTES - 1, 0)
    page[-len(MAGIC) :] = MAGIC
    return bytes(page)


def swaps_on(text: str | None = None) -> list[SwapDevice]:
    """Devices that are on, the one that the kernel takes first in front; text: of /proc/swaps."""
    rows = [line.split() for line in (SWAPS.read_text() if text is None else text).splitlines()[1:]]
    found = [SwapDevice(row[0], (int(row[2]) - int(row[3])) << 10, int(row[4])) for row in rows]
    return sorted(found, key=lambda device: -device.priority)


def take_device(choice: str, back: PuttingBack, n_bytes: int) -> SwapDevice:
    """The device to swap to: by ``choice`` a new zram, which ``back`` removes, or the present device.

    n_bytes: to be swapped out. KvmError if there is no device, or it is too small.
    """
    if choice == ZRAM:
        return _make_zram(back, 2 * n_bytes)
    devices = swaps_on()
    if not devices:
        raise refusal("--swap present", "no swap device is on", "--swap zram makes one and removes it")
    if devices[0].free_bytes < n_bytes:
        reason = f"{devices[0].path} has {devices[0].free_bytes >> 20} MiB free, {n_bytes >> 20} are needed"
        raise refusal("--swap present", reason, "--swap zram makes one and removes it")
    return devices[0]


def _make_zram(back: PuttingBack, n_bytes: int) -> SwapDevice:
    if not (CONTROL / "hot_add").exists():
        raise refusal("--swap zram", f"{CONTROL}/hot_add is not there", "load the module: modprobe zram num_devices=0")
    number = back.step(_hot_add, _remove, f"echo {{}} > {CONTROL}/hot_remove")
    _write(BLOCK / f"zram{number}" / "disksize", str(n_bytes))
    path = DEVICES / f"zram{number}"
    _await(path)
    _write_header(path, n_bytes)
    back.step(lambda: _swap_on(path), _swap_off, "swapoff {}")
    return SwapDevice(str(path), n_bytes - PAGE_BYTES, PRIORITY_MOST)


def _hot_add() -> int:
    """Number of a new device: reading the file makes it."""
    try:
        return int((CONTROL / "hot_add").read_text())
    except (OSError, ValueError) as error:
        raise refusal(f"{CONTROL}/hot_add", str(error)) from error


def _remove(number: int) -> None:
    """Forget its content, then the device; the kernel refuses for a moment while udev still has it open."""
    until = time.monotonic() + NODE_S
    while True:
        try:
            (BLOCK / f"zram{number}" / "reset").write_text("1")
            (CONTROL / "hot_remove").write_text(str(number))
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise refusal(str(path), os.strerror(error.errno or 0)) from error


def _await(path: Path) -> None:
    """Wait for the node of a new device."""
    until = time.monotonic() + NODE_S
    while not path.exists():
        if time.monotonic() > until:
            raise refusal(str(path), "the device was made, but its node does not appear", "mount devtmpfs at /dev")
        time.sleep(0.01)


def _write_header(path: Path, n_bytes: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, swap_header(n_bytes), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise refusal(str(path), os.strerror(error.errno or 0)) from error


def _swap_on(path: Path) -> Path:
    _call("swapon", path, ctypes.c_int(SWAP_FLAG_PREFER | PRIORITY_MOST))
    return path


def _swap_off(path: Path) -> None:
    _call("swapoff", path)


def _call(name: str, path: Path, *more: ctypes.c_int) -> None:
    if getattr(_LIBC, name)(os.fsencode(path), *more):
        raise refusal(f"{name} {path}", os.strerror(ctypes.get_errno()))
