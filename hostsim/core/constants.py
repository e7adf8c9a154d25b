"""Numbers that many rooms need: time, and a page of guest memory as QEMU sends it."""

from __future__ import annotations

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
PAGE_BYTES = 4096
"""TARGET_PAGE_SIZE of x86, arm64 with 4 KiB pages and POWER under TCG; pages are counted in it everywhere."""
PAGE_HEADER_BYTES = 8
"""Offset of the page with its flags (migration/ram.c::save_page_header), the name of its block not repeated."""
PAGE_WIRE_BYTES = PAGE_HEADER_BYTES + PAGE_BYTES
ZERO_PAGE_BYTES = PAGE_HEADER_BYTES + 1
"""A page of zeros on the wire: the header and a fill byte (migration/ram.c::save_zero_page)."""
