"""The part of linux/kvm.h that is used here: ioctl numbers and structures, named as in the kernel.

Linux Documentation/virt/kvm/api.rst, include/uapi/linux/kvm.h, arch/x86/include/uapi/asm/kvm.h.
"""

from __future__ import annotations

import ctypes

U8, U16, U32, U64 = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64
KVMIO = 0xAE
KVM_API_VERSION = 12

KVM_CAP_USER_MEMORY = 3
KVM_CAP_IMMEDIATE_EXIT = 136
KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 = 168
KVM_CAP_DIRTY_LOG_RING = 192
KVM_CAP_BINARY_STATS_FD = 203
KVM_CAP_DIRTY_LOG_RING_ACQ_REL = 223

KVM_MEM_LOG_DIRTY_PAGES = 1
KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE = 1
KVM_DIRTY_LOG_INITIALLY_SET = 2
KVM_DIRTY_GFN_F_DIRTY, KVM_DIRTY_GFN_F_RESET = 1, 2
KVM_DIRTY_LOG_PAGE_OFFSET = 64
"""Page of a vCPU's file descriptor where its dirty ring is mapped (x86)."""
KVM_EXIT_IO, KVM_EXIT_DIRTY_RING_FULL = 2, 31
KVM_IOEVENTFD_FLAG_PIO, KVM_IOEVENTFD_FLAG_DEASSIGN = 1 << 1, 1 << 2
MSR_STAR = 0xC0000081


def _names(text: str) -> list[str]:
    """Names with spaces between them, as structures of registers list them."""
    return text.split()


class kvm_userspace_memory_region(ctypes.Structure):  # noqa: N801  the kernel's names
    """A memslot: guest-physical range and the host's memory behind it."""

    _fields_ = (
        ("slot", U32), ("flags", U32), ("guest_phys_addr", U64), ("memory_size", U64), ("userspace_addr", U64),
    )  # fmt: skip


class kvm_dirty_log(ctypes.Structure):  # noqa: N801
    """Argument of KVM_GET_DIRTY_LOG."""

    _fields_ = (("slot", U32), ("padding1", U32), ("dirty_bitmap", U64))


class kvm_clear_dirty_log(ctypes.Structure):  # noqa: N801
    """Argument of KVM_CLEAR_DIRTY_LOG."""

    _fields_ = (("slot", U32), ("num_pages", U32), ("first_page", U64), ("dirty_bitmap", U64))


class kvm_enable_cap(ctypes.Structure):  # noqa: N801
    """Argument of KVM_ENABLE_CAP."""

    _fields_ = (("cap", U32), ("flags", U32), ("args", U64 * 4), ("pad", U8 * 64))


class kvm_ioeventfd(ctypes.Structure):  # noqa: N801
    """Argument of KVM_IOEVENTFD."""

    _fields_ = (
        ("datamatch", U64), ("addr", U64), ("len", U32), ("fd", ctypes.c_int32), ("flags", U32), ("pad", U8 * 36),
    )  # fmt: skip


class kvm_regs(ctypes.Structure):  # noqa: N801
    """General registers."""

    _fields_ = tuple(
        (name, U64)
        for name in _names("rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags")
    )  # fmt: skip


class kvm_segment(ctypes.Structure):  # noqa: N801
    """A segment register with its hidden part."""

    _fields_ = (
        ("base", U64), ("limit", U32), ("selector", U16), ("type", U8), ("present", U8), ("dpl", U8), ("db", U8), ("s", U8),
        ("l", U8), ("g", U8), ("avl", U8), ("unusable", U8), ("padding", U8),
    )  # fmt: skip


class kvm_dtable(ctypes.Structure):  # noqa: N801
    """GDTR or IDTR."""

    _fields_ = (("base", U64), ("limit", U16), ("padding", U16 * 3))


class kvm_sregs(ctypes.Structure):  # noqa: N801
    """Segments and control registers."""

    _fields_ = (
        *((name, kvm_segment) for name in _names("cs ds es fs gs ss tr ldt")), ("gdt", kvm_dtable), ("idt", kvm_dtable),
        *((name, U64) for name in _names("cr0 cr2 cr3 cr4 cr8 efer apic_base")), ("interrupt_bitmap", U64 * 4),
    )  # fmt: skip


class kvm_cpuid_entry2(ctypes.Structure):  # noqa: N801
    """One leaf of CPUID."""

    _fields_ = (
        *((name, U32) for name in _names("function index flags eax ebx ecx edx")), ("padding", U32 * 3),
    )  # fmt: skip


CPUID_ENTRIES = 256


class kvm_cpuid2(ctypes.Structure):  # noqa: N801
    """CPUID as a guest is to see it; the ioctl's number counts the header alone."""

    _fields_ = (("nent", U32), ("padding", U32), ("entries", kvm_cpuid_entry2 * CPUID_ENTRIES))


class kvm_msrs(ctypes.Structure):  # noqa: N801
    """One MSR; the ioctl's number counts the header alone."""

    _fields_ = (("nmsrs", U32), ("pad", U32), ("index", U32), ("reserved", U32), ("data", U64))


class kvm_run(ctypes.Structure):  # noqa: N801
    """The head of a vCPU's shared page, as far as KVM_EXIT_IO needs it."""

    _fields_ = (
        ("request_interrupt_window", U8), ("immediate_exit", U8), ("padding1", U8 * 6), ("exit_reason", U32),
        ("ready_for_interrupt_injection", U8), ("if_flag", U8), ("flags", U16), ("cr8", U64), ("apic_base", U64),
        ("io_direction", U8), ("io_size", U8), ("io_port", U16), ("io_count", U32), ("io_data_offset", U64),
    )  # fmt: skip


class kvm_stats_header(ctypes.Structure):  # noqa: N801
    """struct kvm_stats_header, the head of the file of KVM_GET_STATS_FD; offsets in bytes."""

    _fields_ = tuple((name, U32) for name in _names("flags name_size num_desc id_offset desc_offset data_offset"))


class kvm_stats_desc(ctypes.Structure):  # noqa: N801
    """One counter; its name of ``name_size`` bytes follows."""

    _fields_ = (("flags", U32), ("exponent", ctypes.c_int16), ("size", U16), ("offset", U32), ("bucket_size", U32))


_HEADER_BYTES = 8
_READ, _WRITE = 2, 1


def _io(number: int, size: int = 0, direction: int = 0) -> int:
    """An ioctl number: _IO, _IOR, _IOW or _IOWR of asm-generic/ioctl.h."""
    return direction << 30 | size << 16 | KVMIO << 8 | number


def _iow(number: int, argument: type[ctypes.Structure]) -> int:
    return _io(number, ctypes.sizeof(argument), _WRITE)


KVM_GET_API_VERSION = _io(0x00)
KVM_CREATE_VM = _io(0x01)
KVM_CHECK_EXTENSION = _io(0x03)
KVM_GET_VCPU_MMAP_SIZE = _io(0x04)
KVM_GET_SUPPORTED_CPUID = _io(0x05, _HEADER_BYTES, _READ | _WRITE)
KVM_CREATE_VCPU = _io(0x41)
KVM_GET_DIRTY_LOG = _iow(0x42, kvm_dirty_log)
KVM_SET_NR_MMU_PAGES = _io(0x44)
KVM_SET_USER_MEMORY_REGION = _iow(0x46, kvm_userspace_memory_region)
KVM_IOEVENTFD = _iow(0x79, kvm_ioeventfd)
KVM_RUN = _io(0x80)
KVM_SET_REGS = _iow(0x82, kvm_regs)
KVM_GET_SREGS = _io(0x83, ctypes.sizeof(kvm_sregs), _READ)
KVM_SET_SREGS = _iow(0x84, kvm_sregs)
KVM_SET_MSRS = _io(0x89, _HEADER_BYTES, _WRITE)
KVM_SET_CPUID2 = _io(0x90, _HEADER_BYTES, _WRITE)
KVM_ENABLE_CAP = _iow(0xA3, kvm_enable_cap)
KVM_GET_TSC_KHZ = _io(0xA3)
KVM_CLEAR_DIRTY_LOG = _io(0xC0, ctypes.sizeof(kvm_clear_dirty_log), _READ | _WRITE)
KVM_RESET_DIRTY_RINGS = _io(0xC7)
KVM_GET_STATS_FD = _io(0xCE)

IOCTL_NAMES = {
    value: name for name, value in list(globals().items()) if name.startswith("KVM_") and value >> 8 & 0xFF == KVMIO
}
"""By number, for messages."""
