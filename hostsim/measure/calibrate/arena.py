"""Memory to measure: of one's own, written once, in huge pages where the kernel gives them."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

HUGE_BYTES = 2 << 20
WORD_BYTES = 8
ROLLUP = Path("/proc/self/smaps_rollup")


def fresh(n_bytes: int, *, huge: bool) -> Words:
    """uint64[n_bytes / 8], not touched yet, from a multiple of 2 MiB on. MemoryError if there is no room.

    huge: True: ask for 2 MiB pages; False: for none; both override the default of the machine.
    """
    try:
        mapping = mmap.mmap(-1, n_bytes + HUGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"{n_bytes >> 20} MiB to measure: {error.strerror}") from error
    if advice := getattr(mmap, "MADV_HUGEPAGE" if huge else "MADV_NOHUGEPAGE", None):
        _advise(mapping, advice)
    words = np.frombuffer(mapping, np.uint64)  # keeps the mapping alive until its last view is freed
    first = -words.ctypes.data % HUGE_BYTES // WORD_BYTES
    return words[first : first + n_bytes // WORD_BYTES]


def _advise(mapping: mmap.mmap, advice: int) -> None:
    try:
        mapping.madvise(advice)
    except OSError:  # a kernel without huge pages
        return


def written(n_bytes: int) -> Words:
    """As ``fresh`` with huge pages, every page written: none is the shared page of zeroes."""
    words = fresh(n_bytes, huge=True)
    words[:] = 1
    return words


def huge_bytes() -> int:
    """Bytes of this process in huge pages now; 0 where the kernel does not report them."""
    try:
        lines = ROLLUP.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    found = [line.split() for line in lines if line.startswith("AnonHugePages:")]
    return int(found[0][1]) << 10 if found else 0


def make_cycle(words: Words, n_lines: int, rng: np.random.Generator) -> None:
    """Link ``n_lines`` lines of ``words`` into one random cycle, drawn by ``rng``.

    words: uint64[n_lines x 8], in place: the first word of each line gets the index of the next line's first word.
    """
    order = rng.permutation(n_lines).astype(np.uint64) * np.uint64(64 // WORD_BYTES)
    words[order] = np.roll(order, -1)
