"""Memory of this process by address: mmap, madvise and mprotect, each call without the GIL."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        """madvise(2) with ``advice`` for ``n_bytes`` from ``offset`` on; None: to the end. KvmError."""
        self._call("madvise", advice, offset, n_bytes)

    def protect(self, protection: int, offset: int = 0, n_bytes: int | None = None) -> None:
        """mprotect(2) with ``protection`` for ``n_bytes`` from ``offset`` on; None: to the end. KvmError."""
        self._call("mprotect", protection, offset, n_bytes)

    def _call(self, name: str, argument: int, offset: int, n_bytes: int | None) -> None:
        length = self.n_bytes - offset if n_bytes is None else n_bytes
        if getattr(_LIBC, name)(self.address + offset, length, argument):
            code = ctypes.get_errno()
            if (name, code) != ("madvise", errno.EINVAL) or argument == mmap.MADV_DONTNEED:
                raise refusal(name, os.strerror(code))

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
