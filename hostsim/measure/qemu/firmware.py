"""The guest of real migrations: the bytes of firmware.asm, its parameters, and the mailbox in which it counts."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

from hostsim.core.constants import PAGE_BYTES

IMAGE_BYTES, RESET_OFFSET = 1 << 16, 0xFFF0
"""QEMU maps an image of 64 KiB right below 1 MiB and below 4 GiB; the processor begins 16 bytes below its end."""
PROGRAM = bytes.fromhex("""
41bf00000200488b35e3ffffff48bf2d7f954c2df4515848b94f8167f77e7b0514488b1d80ffffff4c8b0d81ffffff49c1e109741a480faf
f74801ce4889f04883c8014889034883c30849ffc975e6488b1d62ffffff4c8b0d63ffffff49c1e109741a480faff74801ce4889f04883c8
014889034883c30849ffc975e64c8b0534ffffff4c8b0d35ffffff4c8b1536ffffff4c8b1d37ffffff4c8b2538ffffff4c8b2d39ffffff48
8b2d4affffff0f3148c1e2204809d04989c64989471049c707010000004983fa037506f390ebfcf390498b5f100f3148c1e2204809d04989
47104829c348f7db483b1df9feffff76034901de4889c34c29f078d34d01ee4983fa01742d77434889e848ffc54c39cd720231ed48c1e00c
49ff040049ff47080f3148c1e2204809d04829d849014718eb9f480faff74801ce4889f048c1e821490fafc148c1e81febcaba0000008048
0faff74801ce4889f048c1e821480fafc248c1e81f4c39e07318480faff74801ce4889f048c1e821490fafc348c1e81feb924c89ca4c29da
480faff74801ce4889f048c1e821480fafc248c1e81f4c01d8e96efffffffa2e660f0116e8020f20c00c010f22c066ea16020f00080066b8
10008ed88ec08ed0bc00800100c7050080000007900000c7050090000007a00000bf00a00000b887000000b900020000890783c708050000
20004975f3b8008000000f22d8b8200600000f22e0b9800000c0b80109000031d20f30b8330005800f22c0ea82020f00180048be00000f00
00000000bf00000100b940000000f348a56a2b68008001006a026a33685800010048cf90909090900000000000000000ffff0000009bcf00
ffff00000093cf00ffff0000009baf000000000000000000ffff000000f3cf00ffff000000fbaf003700b0020f00
""")
"""firmware.asm, assembled, behind the parameters; tests assemble it again."""
RESET = bytes.fromhex("eafe0100f0")
"""The jump at RESET_OFFSET."""
MAILBOX = 0x20000
"""Guest-physical address of four 64-bit words: see ``Mailbox``."""
BASE_BYTES = 4 << 20
"""The filled memory begins here; below lie page tables, the program and the mailbox."""
PATTERNS = {"seq": 0, "rand": 1, "hotcold": 2, "none": 3}
"""Patterns of measured cases, and their numbers in firmware.asm."""
ALL_EARNS = 1 << 63
GAP_S = Fraction(1, 5000)
"""With pace ``cpu`` a guest that did not look at the clock for longer was not running."""


@dataclass(frozen=True)
class Guest:
    """Parameters of the guest.

    mem_mib: memory [MiB], at most 1024.
    fill_pages: pages that are filled and not written afterwards, from BASE_BYTES on.
    set_pages: pages of the working set, behind them.
    pattern: key of PATTERNS.
    rate: page writes a second; 0: as fast as it goes.
    pace: ``wall``: a guest that is late catches up; ``cpu``: time in which it did not run earns nothing.
    hot_pages, hot_share: of ``hotcold``: so many pages get that share of the writes.
    seed: of the drawn pages; first: page where a sweep begins.
    """

    mem_mib: int = 128
    fill_pages: int = 8192
    set_pages: int = 8192
    pattern: str = "rand"
    rate: int = 0
    pace: str = "wall"
    hot_pages: int = 0
    hot_share: float = 0.0
    seed: int = 1
    first: int = 0

    @property
    def set_address(self) -> int:
        """Guest-physical address of the working set."""
        return BASE_BYTES + self.fill_pages * PAGE_BYTES

    def image(self, tsc_hz: int) -> bytes:
        """The firmware for a host whose time stamp counter ticks ``tsc_hz`` times a second."""
        assert self.set_address + self.set_pages * PAGE_BYTES <= self.mem_mib << 20 <= 1 << 30
        period = round(tsc_hz / self.rate) if self.rate else 0
        gap = round(GAP_S * tsc_hz) if self.pace == "cpu" and self.rate else ALL_EARNS
        words = (
            BASE_BYTES, self.fill_pages, self.set_address, self.set_pages, PATTERNS[self.pattern], self.hot_pages,
            round(self.hot_share * (1 << 31)), period, gap, self.seed, self.first,
        )  # fmt: skip
        head = struct.pack("<11Q", *words) + PROGRAM
        return head.ljust(RESET_OFFSET, b"\xff") + RESET.ljust(IMAGE_BYTES - RESET_OFFSET, b"\xff")


@dataclass(frozen=True)
class Mailbox:
    """The guest's counts: begun: memory is filled; writes: pages; now, writing: ticks, of the last look and in writes."""

    begun: bool
    writes: int
    now: int
    writing: int

    @classmethod
    def of(cls, words: list[int]) -> Mailbox:
        """From the four words of the mailbox."""
        state, writes, now, writing = words
        return cls(state == 1, writes, now, writing)

    def rate_since(self, before: Mailbox, tsc_hz: int) -> float:
        """Writes a second since ``before``; 0 without time between."""
        ticks = self.now - before.now
        return (self.writes - before.writes) * tsc_hz / ticks if ticks > 0 else 0.0

    def write_ns_since(self, before: Mailbox, tsc_hz: int) -> float:
        """Mean time of a write since ``before`` [ns], faults included; 0 without a write."""
        writes = self.writes - before.writes
        return (self.writing - before.writing) * 1e9 / tsc_hz / writes if writes else 0.0
