"""Draws that are pure functions of their key: no stream position, so no reader can shift another's draws.

A draw is keyed by (seed, name of the stream, page, work time of arming). A new actor has
another name, and a window or batch that is cut elsewhere uses equal keys.
"""

from __future__ import annotations

import hashlib

from hostsim.compiled.bits import exponent, mantissa, quotient
from hostsim.compiled.jit import jit

NEVER = 1 << 62
"""Work time [ns] of a touch that never happens."""

_SQRT_HALF = 0.7071067811865476
_LN2 = 0.6931471805599453
_TWO_POW_MINUS_53 = 1.0 / 9007199254740992.0


def stream_key(seed: int, name: str) -> tuple[int, int]:
    """Two 32-bit words for the named stream of ``seed``."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


@jit
def mix32(word: int) -> int:
    """Bijection of 32-bit words with low bias (constants: C. Wellons, "Prospecting for hash functions", 2018)."""
    word = int(word)  # NumPy's scalars would warn where Python's integers grow
    word = word ^ (word >> 16)
    word = (word * 0x7FEB352D) & 0xFFFFFFFF
    word = word ^ (word >> 15)
    word = (word * 0x846CA68B) & 0xFFFFFFFF
    return word ^ (word >> 16)


@jit
def keyed_word(key: int, page: int, after_ns: int) -> int:
    """32 bits keyed by (key, page, after_ns); a bijection of the page for fixed ``key`` and ``after_ns``."""
    page, after_ns = int(page), int(after_ns)
    word = mix32(key ^ (page & 0xFFFFFFFF))
    word = mix32(word ^ (page >> 32) ^ (after_ns & 0xFFFFFFFF))
    return mix32(word ^ (after_ns >> 32))


@jit
def natural_log(value: float) -> float:
    """Natural logarithm from additions and multiplications alone: equal bits compiled or not, on any libm.

    value: positive and not subnormal.
    ln m = 2 artanh((m-1)/(m+1)), m in [0.7, 1.4); grouped so that the terms do not wait for each other.
    """
    m: float = mantissa(value)
    e: int = exponent(value)
    if m < _SQRT_HALF:
        m = m * 2.0
        e = e - 1
    s: float = quotient(m - 1.0, m + 1.0)
    q = s * s
    q2 = q * q
    q4 = q2 * q2
    low = (1.0 + q * (1.0 / 3.0)) + q2 * (1.0 / 5.0 + q * (1.0 / 7.0))
    middle = (1.0 / 9.0 + q * (1.0 / 11.0)) + q2 * (1.0 / 13.0 + q * (1.0 / 15.0))
    high = (1.0 / 17.0 + q * (1.0 / 19.0)) + q2 * (1.0 / 21.0)
    return 2.0 * s * (low + q4 * (middle + q4 * high)) + e * _LN2


@jit
def uniform_of(high: int, low: int) -> float:
    """Uniform variate in (0, 1) of two 32-bit words: all of ``high``, then the upper 21 bits of ``low``."""
    return (float(high * 2097152 + (low >> 11)) + 0.5) * _TWO_POW_MINUS_53


@jit
def keyed_uniform(key0: int, key1: int, page: int, after_ns: int) -> float:
    """Uniform variate in (0, 1) keyed by ((key0, key1), page, after_ns)."""
    return uniform_of(keyed_word(key0, page, after_ns), keyed_word(key1, page, after_ns))


@jit
def keyed_exponential(key0: int, key1: int, page: int, after_ns: int) -> float:
    """Exponential variate of mean 1 keyed by ((key0, key1), page, after_ns)."""
    return -natural_log(keyed_uniform(key0, key1, page, after_ns))
