"""The guest's program: the bytes of guest.asm, and the mailbox through which the host commands it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from enum import IntEnum

CODE_GPA = 0x10000
"""Where the program is loaded; its addresses are fixed."""
DOORBELL_PORT, EVENT_PORT = 0xE0, 0xE1
PROGRAM = bytes.fromhex("""
48c7474801000000f39048837f380074f748c74748000000004c8b47084c8b4f104c8b57184c8b5f204c8b67284c8b6f30488b1f0faee80f
3148c1e2204809d00faee84989c6ff24dd700101000faee80f3148c1e2204809d00faee84c8977504889475848c7473800000000e6e0eb90
4c89c34c89d148890b4c01cb48ffc975f549ffcc75eaebc54c89c34c89d1488b034c01cb48ffc975f549ffcc75eaebad4c89c34c89d1ba01
00000048ffca7412488b034c01cb48ffc975f049ffcc75e0eb8b48890b4c89daebe94d89f74d01dff3900faee80f3148c1e2204809d00fae
e84c39f872ea4889c64d89100faee80f3148c1e2204809d00faee84829f0418945004983c5044d01c849ffca75bfe93affffff31c04c89c3
4c89d148837f40000f8527ffffff48ffc0488903488947604c01cb48ffc975e3ebdbe6e149ffca75f9e907ffffff31db4c89d1498d52ff48
89d8490fafc149890c004c01db4821d348ffc975eae9e3feffff9090909090904d0001000000000070000100000000008800010000000000
a000010000000000ca0001000000000013010100000000003a010100000000004601010000000000
""")
"""guest.asm, assembled; tests assemble it again."""


class Command(IntEnum):
    """Entries of guest.asm's table."""

    NOTHING, WRITE, READ, MIXED, PACED, SPIN, EVENT, SCATTER = range(8)


class Mailbox(ctypes.Structure):
    """One page of guest memory a vCPU; the fields are described in guest.asm."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "command", "base", "stride", "count", "every", "passes", "samples", "go", "stop", "ready", "begin", "end",
            "progress",
        )
    )  # fmt: skip


@dataclass(frozen=True)
class Work:
    """One command: count accesses, stride_bytes apart, from virtual address base on, passes times over.

    every: of MIXED, one access in so many writes; of PACED, ticks from one write to the next; of SCATTER, pages from one
    write to the next, odd, and count is a power of two.
    """

    command: Command
    base: int = 0
    count: int = 1
    every: int = 1
    passes: int = 1
    stride_bytes: int = 4096
