"""Memory of this process by address: mmap, madvise and mprotect, each call without the GIL."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import PAGE_BYTES
from hostsim.measure.kvm.device import refusal

HUGE_BYTES = 2 << 20
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = (
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64,
)  # fmt: skip
for _name in ("munmap", "madvise", "mprotect"):
    getattr(_LIBC, _name).argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)[: 2 if _name == "munmap" else 3]
_FAILED = ctypes.c_void_p(-1).value
_READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE
_COLD = 20
"""MADV_COLD of Linux 5.4; not in the module mmap before Python 3.13."""
_ANONYMOUS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000
"""0x4000: MAP_NORESERVE."""


class Region:
    """address, n_bytes: a mapping of this process; after ``close`` its arrays must not be touched."""

    def __init__(self, address: int, n_bytes: int, mapped: tuple[int, int] | None = None) -> None:
        self.address, self.n_bytes = address, n_bytes
        self._mapped = mapped or (address, n_bytes)

    @classmethod
    def anonymous(cls, n_bytes: int, *, huge: bool = False) -> Region:
        """Fresh memory that begins at a multiple of 2 MiB, of transparent huge pages or of 4 KiB pages."""
        whole = n_bytes + HUGE_BYTES
        raw = _mmap(whole, _ANONYMOUS, -1, 0)
        region = cls(-(-raw // HUGE_BYTES) * HUGE_BYTES, n_bytes, (raw, whole))
        try:
            region.advise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE)
        except BaseException:
            region.close()
            raise
        return region

    @classmethod
    def shared(cls, descriptor: int, n_bytes: int, offset: int = 0) -> Region:
        """Map ``n_bytes`` that KVM shares through a vCPU's ``descriptor``, from ``offset`` on [bytes]."""
        return cls(_mmap(n_bytes, mmap.MAP_SHARED, descriptor, offset), n_bytes)

    def array(self, dtype: Any, offset: int = 0, count: int | None = None) -> NDArray[Any]:
        """A view of the memory from byte ``offset`` on: ``count`` items of ``dtype``; None: as many as fit."""
        size = np.dtype(dtype).itemsize
        count = (self.n_bytes - offset) // size if count is None else count
        raw = (ctypes.c_uint8 * (count * size)).from_address(self.address + offset)
        return np.frombuffer(raw, dtype=dtype)

    def advise(self, advice: int, offset: int = 0, n_bytes: int | None = None) -> None:
        """madvise(2) with ``advice`` for ``n_bytes`` from ``offset`` on; None: to the end. KvmError.

        Advice that the kernel does not know is passed over, but for MADV_DONTNEED.
        """
        if not self._advised(advice, offset, n_bytes) and advice == mmap.MADV_DONTNEED:
            raise refusal("madvise", os.strerror(errno.EINVAL))

    def _advised(self, advice: int, offset: int, n_bytes: int | None) -> bool:
        """False if the kernel does not know the advice."""
        return self._call("madvise", advice, offset, n_bytes) != errno.EINVAL

    def lay_in_a_row(self) -> None:
        """Make the memory anew, of 4 KiB pages that lie in a row in the host's memory, 512 at a time.

        The host gives a huge page, and splits it when a part is advised to be cold (mm/madvise.c::
        madvise_cold_or_pageout_pte_range). Single pages lie in a row only while much memory is free. Where there is no huge
        page, or Linux is older than 5.4, pages lie as they come.
        """
        self.advise(mmap.MADV_DONTNEED)
        self.advise(mmap.MADV_HUGEPAGE)
        self._touch()
        split = [self._advised(_COLD, at, PAGE_BYTES) for at in range(0, self.n_bytes, HUGE_BYTES)]
        self.advise(mmap.MADV_NOHUGEPAGE)
        if not all(split):
            self.advise(mmap.MADV_DONTNEED)
            self._touch()

    def _touch(self) -> None:
        self.array(np.uint64)[:: PAGE_BYTES // 8] = 1

    def protect(self, protection: int, offset: int = 0, n_bytes: int | None = None) -> None:
        """mprotect(2) with ``protection`` for ``n_bytes`` from ``offset`` on; None: to the end. KvmError."""
        self._call("mprotect", protection, offset, n_bytes)

    def _call(self, name: str, argument: int, offset: int, n_bytes: int | None) -> int:
        """0, or EINVAL of madvise."""
        length = self.n_bytes - offset if n_bytes is None else n_bytes
        code = ctypes.get_errno() if getattr(_LIBC, name)(self.address + offset, length, argument) else 0
        if code and (name, code) != ("madvise", errno.EINVAL):
            raise refusal(name, os.strerror(code))
        return code

    def close(self) -> None:
        """Unmap; more than once is fine."""
        address, n_bytes = self._mapped
        if n_bytes:
            _LIBC.munmap(address, n_bytes)
            self._mapped = (0, 0)


def _mmap(n_bytes: int, flags: int, descriptor: int, offset: int) -> int:
    address = _LIBC.mmap(None, n_bytes, _READ_WRITE, flags, descriptor, offset)
    if address == _FAILED:
        raise refusal(f"mmap of {n_bytes} bytes", os.strerror(ctypes.get_errno()), "ask for a smaller VM")
    return int(address)
