"""KVM's own counters of a VM or a vCPU, through KVM_GET_STATS_FD.

Linux virt/kvm/binary_stats.c, Documentation/virt/kvm/api.rst 4.133.
"""

from __future__ import annotations

import ctypes
import os
from collections import Counter

from hostsim.measure.kvm import abi
from hostsim.measure.kvm.device import ioctl


class Counters:
    """The scalar counters behind one descriptor."""

    def __init__(self, owner_fd: int) -> None:
        """owner_fd: of a VM or of a vCPU. Raises KvmError."""
        self._fd = ioctl(owner_fd, abi.KVM_GET_STATS_FD)
        header = abi.kvm_stats_header.from_buffer_copy(os.pread(self._fd, ctypes.sizeof(abi.kvm_stats_header), 0))
        size = ctypes.sizeof(abi.kvm_stats_desc) + header.name_size
        raw = os.pread(self._fd, size * header.num_desc, header.desc_offset)
        found = [_described(raw[i * size : (i + 1) * size]) for i in range(header.num_desc)]
        self._offsets = {name: at for name, at, n_values in found if n_values == 1}
        self._from, self._n_bytes = header.data_offset, max((at + 8 * n for _, at, n in found), default=0)

    def read(self) -> Counter[str]:
        """All values now."""
        data = os.pread(self._fd, self._n_bytes, self._from)
        return Counter({name: int.from_bytes(data[at : at + 8], "little") for name, at in self._offsets.items()})

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)


def _described(raw: bytes) -> tuple[str, int, int]:
    """(name, offset, number of values) of a descriptor and the name behind it."""
    desc = abi.kvm_stats_desc.from_buffer_copy(raw)
    name = raw[ctypes.sizeof(abi.kvm_stats_desc) :].split(b"\0")[0].decode("ascii", "replace")
    return name, desc.offset, desc.size


def changed(before: Counter[str], after: Counter[str]) -> dict[str, int]:
    """Counters that moved from ``before`` to ``after``, and by how much; gauges may have fallen."""
    return {name: delta for name in after if (delta := after[name] - before[name])}
