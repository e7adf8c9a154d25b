"""Which visits of a sweep go to armed pages: a tree of bits, so that the next armed visit is found in a few steps."""

from __future__ import annotations

from hostsim.compiled.bits import bit_length
from hostsim.compiled.jit import inlined, inlined_and_called
from hostsim.guest.touch import CYCLE, N_PAGES, START_PAGE, STRIDE_GCD, STRIDE_INVERSE
from hostsim.kvm.loops.layout import Ints, TouchClass

WORD_BITS = 32


@inlined_and_called
def visit_of(row: Ints, page: int) -> int:
    """Number of a sweep's visit to ``page`` within its cycle, or -1 if the sweep leaves the page out.

    row: int64[N_INTS], the touch class of the sweep.
    page: counted from FIRST_GFN of the class.
    """
    distance = (page - row[START_PAGE]) % row[N_PAGES]
    if distance % row[STRIDE_GCD] != 0:
        return -1
    return int(((distance // row[STRIDE_GCD]) * row[STRIDE_INVERSE]) % row[CYCLE])


@inlined_and_called
def set_visit(bits: Ints, levels: TouchClass, visit: int) -> None:
    """Mark ``visit`` in ``bits``, the tape of the VM, in place; levels: the class of the sweep."""
    at = visit
    for level in range(levels.n_levels):
        word = levels.level_at[level] + at // WORD_BITS
        before = bits[word]
        bits[word] = before | (1 << (at % WORD_BITS))
        if before != 0:  # the levels above have a mark for this word already
            return
        at = at // WORD_BITS


@inlined_and_called
def clear_visit(bits: Ints, levels: TouchClass, visit: int) -> None:
    """Take the mark of ``visit`` out of ``bits``, the tape of the VM, in place; levels: the class of the sweep."""
    at = visit
    for level in range(levels.n_levels):
        word = levels.level_at[level] + at // WORD_BITS
        bits[word] = bits[word] & ~(1 << (at % WORD_BITS))
        if bits[word] != 0:  # the word keeps its mark in the level above
            return
        at = at // WORD_BITS


@inlined
def _lowest(word: int) -> int:
    """Place of the lowest bit set; ``word`` is not 0."""
    return int(bit_length(word & -word)) - 1


@inlined_and_called
def next_visit(bits: Ints, levels: TouchClass, visit: int) -> int:
    """First visit marked in ``bits`` at or after ``visit`` in the same cycle, or -1; levels: the class of the sweep."""
    # Up until a word has a mark at or behind the place, then down by the lowest marks: two words a level at most.
    level, at = 0, visit
    while level < levels.n_levels:
        n_words = levels.level_at[level + 1] - levels.level_at[level]
        if at // WORD_BITS < n_words:
            rest = bits[levels.level_at[level] + at // WORD_BITS] >> (at % WORD_BITS)
            if rest != 0:
                return _down(bits, levels, level, at + _lowest(rest))
        at = at // WORD_BITS + 1
        level += 1
    return -1


@inlined
def _down(bits: Ints, levels: TouchClass, level: int, at: int) -> int:
    """The first visit under entry ``at`` of ``level``."""
    while level > 0:
        level -= 1
        at = at * WORD_BITS + _lowest(bits[levels.level_at[level] + at])
    return at


def level_sizes(n_visits: int) -> list[int]:
    """Words of each level of the tree, the last level one word."""
    sizes = [-(-n_visits // WORD_BITS)]
    while sizes[-1] > 1:
        sizes.append(-(-sizes[-1] // WORD_BITS))
    return sizes


