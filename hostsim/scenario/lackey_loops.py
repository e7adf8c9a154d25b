"""Lines of ``valgrind --tool=lackey --trace-mem=yes``, byte by byte.

    I  04000b70,3      an instruction; the other three are indented by one blank and followed by one
     L 1fff000d08,8    load
     S 04025b60,8      store
     M 04033e06,1      modify: load and store of one instruction

Source: valgrind 3.19, lackey/lk_main.c::trace_load and its neighbours (" L %08lx,%lu").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit, part

PAGE_SHIFT = 12
AT, REFERENCES, LINES = range(3)
N_STATE = 3
NEWLINE, BLANK, COMMA, EQUALS, MINUS = 10, 32, 44, 61, 45
LOAD, STORE, MODIFY, INSTRUCTION = 76, 83, 77, 73
DIGITS_MAX = 15
"""An address of 15 digits is beyond any user space and still an int64."""


@part
def parse_number(text: NDArray[np.uint8], at: int, base: int) -> tuple[int, int]:
    """(number in ``base``, lower-case digits; index behind it); the index is ``at`` if no or too many digits stand there."""
    value, i = 0, at
    while i < len(text) and i - at <= DIGITS_MAX:
        digit = int(text[i]) - 48
        if digit > 9:
            digit -= 39
            if digit < 10:
                break
        if digit < 0 or digit >= base:
            break
        value = value * base + digit
        i += 1
    return value, (i if i - at <= DIGITS_MAX else at)


@jit
def parse_lines(
    text: NDArray[np.uint8],
    instructions: bool,
    state: NDArray[np.int64],
    pages: NDArray[np.int64],
    is_write: NDArray[np.bool_],
) -> bool:
    """Page references of whole lines; an access that crosses into the next page is one reference to each page.

    text: uint8[n]. In place: state int64[N_STATE], the next byte, references written, lines read; pages int64[m] and
    is_write bool[m], m at least 2 n / 7 + 2 (a line has 7 bytes or more). Returns False at a line that lackey does not
    write; lines that begin with = or - (valgrind's own) and empty lines are skipped.
    """
    while state[AT] < len(text):
        i = state[AT]
        mark = text[i]
        if mark in (EQUALS, MINUS, NEWLINE):
            while i < len(text) and text[i] != NEWLINE:
                i += 1
            state[AT] = min(i + 1, len(text))
            state[LINES] += 1
            continue
        if i + 3 >= len(text) or text[i + 2] != BLANK:
            return False
        kind = text[i + 1]
        if mark == INSTRUCTION and kind == BLANK:
            kind = np.uint8(INSTRUCTION)
        elif mark != BLANK or kind not in (LOAD, STORE, MODIFY):
            return False
        address, comma = parse_number(text, i + 3, 16)
        if comma == i + 3 or comma >= len(text) or text[comma] != COMMA:
            return False
        size, end = parse_number(text, comma + 1, 10)
        if end == comma + 1 or size == 0 or (end < len(text) and text[end] != NEWLINE):
            return False
        if kind != INSTRUCTION or instructions:
            first, last = address >> PAGE_SHIFT, (address + size - 1) >> PAGE_SHIFT
            if last - first > 1:
                return False
            for page in range(first, last + 1):
                pages[state[REFERENCES]] = page
                is_write[state[REFERENCES]] = kind in (STORE, MODIFY)
                state[REFERENCES] += 1
        state[AT] = min(end + 1, len(text))
        state[LINES] += 1
    return True
