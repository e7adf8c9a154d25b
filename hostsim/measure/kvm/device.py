"""/dev/kvm, and every ioctl with an error that names the call, its failure and the remedy."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
from types import TracebackType
from typing import Self

from hostsim.core.errors import HostsimError
from hostsim.measure.kvm import abi

DEVICE = "/dev/kvm"
NO_DEVICE = (
    "load the module kvm_intel or kvm_amd; in a virtual machine its host has to allow nested virtualization; a container "
    f"is started with --device {DEVICE}"
)
NO_RIGHT = "join the group kvm (sudo usermod -aG kvm $USER) and log in again; hostsim never needs root"
NEEDED = {
    "KVM_CAP_USER_MEMORY": "KVM of Linux 2.6.25 or later",
    "KVM_CAP_IMMEDIATE_EXIT": "Linux 4.12 or later",
    "KVM_CAP_BINARY_STATS_FD": "Linux 5.14 or later: KVM's counters prove what happened",
}
"""Capabilities without which nothing is measured, and kernels that have them."""
REMEDIES = {
    ("KVM_CREATE_VM", errno.EBUSY): "another hypervisor holds the processor's virtualization (VirtualBox, VMware): end it",
    ("KVM_CREATE_VM", errno.ENOTTY): f"{DEVICE} is no KVM device",
    ("KVM_CREATE_VCPU", errno.EEXIST): "a defect of hostsim: this vCPU exists",
    ("KVM_SET_USER_MEMORY_REGION", errno.ENOMEM): "memory of the kernel is used up: ask for a smaller VM",
    ("KVM_RUN", errno.EFAULT): "the host has no memory for a page of the guest, or took it away",
}


_ioctl = ctypes.CDLL(None, use_errno=True).ioctl
_ioctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)
"""Not fcntl.ioctl: that takes no address of 64 bits. A function of a CDLL releases the GIL as well."""


class KvmError(HostsimError):
    """KVM is missing, may not be used, or fails: a message for people, exit code 2."""


def refusal(tried: str, reason: str, remedy: str = "") -> KvmError:
    """``tried: reason; remedy``."""
    return KvmError(f"{tried}: {reason}{f'; {remedy}' if remedy else ''}")


def _failed(tried: str, code: int) -> KvmError:
    general = {errno.ENOMEM: "memory is used up", errno.EPERM: NO_RIGHT, errno.EACCES: NO_RIGHT}.get(code, "")
    return refusal(tried, os.strerror(code), REMEDIES.get((tried, code), general))


def ioctl(descriptor: int, request: int, argument: ctypes.Structure | int = 0) -> int:
    """The ioctl of number ``request``; argument: a whole number or a structure, changed in place. It releases the GIL.

    Raises KvmError, and InterruptedError for a signal.
    """
    result = _ioctl(descriptor, request, argument if isinstance(argument, int) else ctypes.byref(argument))
    if result < 0:
        code = ctypes.get_errno()
        if code == errno.EINTR:
            raise InterruptedError(code, os.strerror(code))
        raise _failed(abi.IOCTL_NAMES.get(request, hex(request)), code)
    return int(result)


def check_platform(machine: str | None = None, system: str | None = None) -> None:
    """KvmError where the guest's program cannot run: it is x86-64 code, and KVM is Linux.

    machine, system: as platform.machine and sys.platform name them; None: this machine's.
    """
    machine, system = machine or platform.machine(), system or sys.platform
    if system != "linux" or machine not in {"x86_64", "AMD64"}:
        raise refusal("KVM", f"this is {machine} under {system}", "hostsim measures KVM on x86-64 Linux only")


class Kvm:
    """The system descriptor of KVM; a context manager."""

    def __init__(self, descriptor: int) -> None:
        """descriptor: of /dev/kvm, opened to read and write; it is closed with the object."""
        self.fd = descriptor
        self._check()

    @classmethod
    def open(cls) -> Self:
        """Open /dev/kvm. Raises KvmError with the cause and the remedy."""
        check_platform()
        path = DEVICE
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            remedy = NO_RIGHT if error.errno in {errno.EACCES, errno.EPERM} else NO_DEVICE
            raise refusal(path, os.strerror(error.errno or 0), remedy) from error
        try:
            return cls(descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def _check(self) -> None:
        version = ioctl(self.fd, abi.KVM_GET_API_VERSION)
        if version != abi.KVM_API_VERSION:
            raise refusal("KVM_GET_API_VERSION", f"got {version}, wanted {abi.KVM_API_VERSION}", "use a newer kernel")
        for name, kernels in NEEDED.items():
            if not self.has(getattr(abi, name)):
                raise refusal("KVM_CHECK_EXTENSION", f"KVM lacks {name}", f"this needs {kernels}")

    def has(self, capability: int) -> int:
        """The answer of KVM_CHECK_EXTENSION: 0 if the capability is missing."""
        return ioctl(self.fd, abi.KVM_CHECK_EXTENSION, capability)

    def close(self) -> None:
        """Give the descriptor back; more than once is fine."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
