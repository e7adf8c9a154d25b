"""The guest's program: the bytes of guest.asm, and the mailbox through which the host commands it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from enum import IntEnum

CODE_GPA = 0x10000
"""Where the program is loaded; its addresses are fixed."""
DOORBELL_PORT, EVENT_PORT = 0xE0, 0xE1
PROGRAM = bytes.fromhex("""
eb6d90909090909090909090909090900faee80f3148c1e2204809d00faee84989c0b9204e00009090909090909090909090909090909090
90909090909090904883c0014883c2014883c6014983c1014983f2054983f307ffc975e40faee80f3148c1e2204809d00faee84c29c0c348
8da70010000048c7474801000000f39048837f380074f748c7474800000000e87cffffff488947684c8b47084c8b4f104c8b57184c8b5f20
4c8b67284c8b6f30488b1f0faee80f3148c1e2204809d00faee84989c6ff24dd900201000faee80f3148c1e2204809d00faee84c89775048
894758e828ffffff4889477048c7473800000000e6e0e974ffffff4c89c34c89d148890b4c01cb48ffc975f549ffcc75eaebb94c89c34c89
d1488b034c01cb48ffc975f549ffcc75eaeba14c89c34c89d1ba0100000048ffca7415488b034c01cb48ffc975f049ffcc75e0e97cffffff
48890b4c89daebe64d89f74d01dff3900faee80f3148c1e2204809d00faee84c39f872ea4889c64d89100faee80f3148c1e2204809d00fae
e84829f0418945004983c5044d01c849ffca75bfe92bffffff31c04c89c34c89d148837f40000f8518ffffff48ffc0488903488947604c01
cb48ffc975e3ebdbe6e149ffca75f9e9f8feffff31db4c89d1498d52ff4889d8490fafc149890c004c01db4821d348ffc975eae9d4feffff
4c8b47084c8b4f104c8b57184c8b6f304d89ec488b1f0f3148c1e2204809d048894750ff24dd900201000f3148c1e2204809d04889475848
c7473800000000e6e0ebbd4c89c14d01c849ffca75f5ebda410f01384d01c849ffca75f4ebcc498b04244983c4084883f80075054d89eceb
ed4889c149ffca75e5ebaf498b04244983c4084883f80075054d89ecebed0f22d849ffca75e5eb92cc00010000000000fb00010000000000
13010100000000002b010100000000005801010000000000a101010000000000c801010000000000d4010100000000003b02010000000000
480201000000000056020100000000007302010000000000
""")
"""guest.asm, assembled; tests assemble it again."""
KERNEL_AT = 0x1F8
"""Where it begins in kernel mode."""
PACE_AT = 16
"""Where the subroutine ``pace`` begins; it names no address, so that the host can call a copy of it."""


class Command(IntEnum):
    """Entries of guest.asm's table."""

    NOTHING, WRITE, READ, MIXED, PACED, SPIN, EVENT, SCATTER, MOVE, INVALIDATE, TURN, LOAD = range(12)


OF_KERNEL = range(Command.MOVE, Command.LOAD + 1)
"""Commands of kernel mode, which has no other."""


class Mailbox(ctypes.Structure):
    """One page of guest memory a vCPU; the fields are described in guest.asm."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "command", "base", "stride", "count", "every", "passes", "samples", "go", "stop", "ready", "begin", "end",
            "progress", "before", "after",
        )
    )  # fmt: skip


@dataclass(frozen=True)
class Work:
    """One command: count accesses, stride_bytes apart, from virtual address base on, passes times over.

    every: of MIXED, one access in so many writes; of PACED, ticks from one write to the next; of SCATTER, pages from one
    write to the next, odd, and count is a power of two. TURN and LOAD go round the roots at the place of samples.
    """

    command: Command
    base: int = 0
    count: int = 1
    every: int = 1
    passes: int = 1
    stride_bytes: int = 4096
