"""Text to quantities and back: integer bytes, bytes/s and ns; rates are exact fractions per second.

k, M, G, T are powers of 1000, Ki, Mi, Gi, Ti powers of 1024; B is a byte, bit is a bit. A number without its unit is an
error, but for 0. Formatting is exact, so that the text parses to an equal value, unless ``digits`` is given.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction

from hostsim.core.constants import NS_PER_S, PAGE_BYTES
from hostsim.core.errors import UnitError

UNLIMITED = "unlimited"
INT_MAX = (1 << 63) - 1
"""Largest quantity: arrays hold int64."""
TEXT_MAX = 64
SHOWN_MAX = 60
LEAST = 1e-3
"""Smaller figures are printed as 0: they are noise, or the limit of a solver."""

_NUMBER = re.compile(r"([+-]?)((?:\d[\d_]*)(?:\.\d+)?|\.\d+)(?:[eE]([+-]?\d{1,2})(?![\d.]))?\s*(\S*)", re.ASCII)
_DECIMAL = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
_PREFIX = {"": 1, **_DECIMAL, **_BINARY}

BYTE_UNITS = {f"{prefix}B": Fraction(factor) for prefix, factor in _PREFIX.items()}
BANDWIDTH_UNITS = {f"{unit}/s": factor for unit, factor in BYTE_UNITS.items()} | {
    f"{prefix}bit/s": Fraction(factor, 8) for prefix, factor in _PREFIX.items()
}
DURATION_UNITS = {
    "ns": Fraction(1), "us": Fraction(10**3), "ms": Fraction(10**6), "s": Fraction(NS_PER_S),
    "min": Fraction(60 * NS_PER_S), "h": Fraction(3600 * NS_PER_S), "d": Fraction(86400 * NS_PER_S),
}  # fmt: skip
RATE_UNITS = {f"{prefix}/s": Fraction(factor) for prefix, factor in {"": 1, **_DECIMAL}.items()}
SAID_BANDWIDTH_UNITS = BANDWIDTH_UNITS | {
    f"{prefix}{unit}": Fraction(factor, 8) for prefix, factor in _DECIMAL.items() for unit in ("bit", "bps")
}
"""Bandwidths as people say them: a link of 10 Gbit, or of 10 Gbps. Gb and mbps stay out: bits or bytes, milli or mega?"""
SAID_DIRTY_UNITS = (
    {unit: factor / PAGE_BYTES for unit, factor in SAID_BANDWIDTH_UNITS.items()} | RATE_UNITS
    | {f"{prefix}pages/s": Fraction(factor) for prefix, factor in {"": 1, **_DECIMAL}.items()}
)  # fmt: skip

_WRITTEN_BYTES = tuple((f"{prefix}B", Fraction(factor)) for prefix, factor in reversed(_BINARY.items()))
_WRITTEN_BANDWIDTH = tuple((f"{unit}/s", factor) for unit, factor in _WRITTEN_BYTES) + tuple(
    (f"{prefix}bit/s", Fraction(factor, 8)) for prefix, factor in reversed(_DECIMAL.items())
)
_WRITTEN_DURATION = tuple(reversed(DURATION_UNITS.items()))[1:-1]

BYTES_WANTED = ("a size with its unit (B, kB, MB, GB, TB or KiB, MiB, GiB, TiB)", "4GiB")
BANDWIDTH_WANTED = ("a bandwidth with its unit (Gbit/s, MiB/s, ...)", "10Gbit/s")
DURATION_WANTED = ("a duration with its unit (ns, us, ms, s, min, h or d)", "300ms")
RATE_WANTED = ("a rate per second (/s, k/s, M/s or G/s)", "50000/s")
SAID_BANDWIDTH_WANTED = ("a bandwidth with its unit: bits as Gbit/s, Gbit or Gbps, bytes as GB/s, MiB/s", "10Gbit/s")
SAID_DIRTY_WANTED = ("a dirty rate with its unit: GB/s, MiB/s, Gbit/s, or pages/s", "4GB/s")
FRACTION_WANTED = ("a share from 0 to 1, or a percentage", "70%")


def shown(value: object) -> str:
    """``value`` as error messages show it: short, on one line."""
    try:
        text = repr(value)
    except ValueError:  # an integer with more digits than Python prints
        text = "a number of thousands of digits"
    return text if len(text) <= SHOWN_MAX else f"{text[: SHOWN_MAX - 3]}..."


def parse_bytes(value: object) -> int:
    """Bytes of "4GiB", "4096B". UnitError for anything else."""
    return _whole(value, BYTE_UNITS, BYTES_WANTED)


def parse_word(value: object, word: str, parse: Callable[[object], int]) -> int:
    """0 for ``word``, else the value that ``parse`` reads. UnitError, also for a 0 in figures, which is not ``word``."""
    if value == word:
        return 0
    try:
        number = parse(value)
    except UnitError as error:
        raise UnitError(error.got, f"{error.wanted}, or '{word}'", error.example) from None
    if number == 0:
        raise UnitError(shown(value), f"more than 0, or the word '{word}'", word)
    return number


def parse_speed(value: object) -> int:
    """Bytes per second of "10Gbit/s", "32MiB/s", 0 of "0B/s". UnitError for anything else."""
    return _whole(value, BANDWIDTH_UNITS, BANDWIDTH_WANTED)


def parse_bandwidth(value: object) -> int:
    """Bytes per second of "10Gbit/s"; 0 for "unlimited" alone, as in QEMU's max-bandwidth. UnitError otherwise."""
    return parse_word(value, UNLIMITED, parse_speed)


def parse_said_bandwidth(value: object) -> int:
    """Bytes per second of "10Gbit", "25Gbps", "40MiB/s", more than 0. UnitError for anything else."""
    found = _whole(value, SAID_BANDWIDTH_UNITS, SAID_BANDWIDTH_WANTED)
    if found == 0:
        raise UnitError(shown(value), "a bandwidth above 0", SAID_BANDWIDTH_WANTED[1])
    return found


def parse_said_dirty_rate(value: object) -> Fraction:
    """Pages per second of "6.5Gbit", "4GB/s", "200k pages/s", "200k/s", "0". UnitError for anything else."""
    found = _quantity(_without_gap(value), SAID_DIRTY_UNITS, SAID_DIRTY_WANTED)
    if found > INT_MAX:
        raise UnitError(shown(value), f"{SAID_DIRTY_WANTED[0]}, below 2^63 pages/s", SAID_DIRTY_WANTED[1])
    return found


def _without_gap(value: object) -> object:
    """"200k pages/s" as "200kpages/s"."""
    return re.sub(r"\s+pages/s$", "pages/s", value) if isinstance(value, str) else value


def parse_duration(value: object) -> int:
    """Nanoseconds of "300ms", "10min". UnitError for anything else."""
    return _whole(value, DURATION_UNITS, DURATION_WANTED)


def parse_rate(value: object) -> Fraction:
    """Exact rate per second of "50000/s", "2.5k/s". UnitError for anything else."""
    rate = _quantity(value, RATE_UNITS, RATE_WANTED)
    if rate > INT_MAX:
        raise UnitError(shown(value), f"{RATE_WANTED[0]} below 2^63", RATE_WANTED[1])
    return rate


def parse_fraction(value: object) -> float:
    """Share from 0 to 1 of "70%", 0.7 or "0.7". UnitError for anything else."""
    share = _share(value)
    if share is None or not 0 <= share <= 1:
        raise UnitError(shown(value), *FRACTION_WANTED)
    return float(share)


def _share(value: object) -> Fraction | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Fraction(value) if abs(value) <= 1 else None
    found = _split(value)
    if found is None or found[1] not in {"", "%"}:
        return None
    return found[0] / 100 if found[1] == "%" else found[0]


def _split(value: object) -> tuple[Fraction, str] | None:
    """Number and unit of a text, None if it is not of that shape."""
    if not isinstance(value, str) or len(value) > TEXT_MAX:
        return None
    match = _NUMBER.fullmatch(value.strip())
    if match is None:
        return None
    sign, digits, exponent, unit = match.groups()
    number = Fraction(digits.replace("_", "")) * Fraction(10) ** int(exponent or 0)
    return (-number if sign == "-" else number), unit.replace("\u00b5s", "us").replace("\u03bcs", "us")


def _quantity(value: object, units: Mapping[str, Fraction], wanted: tuple[str, str]) -> Fraction:
    if (isinstance(value, int) and not isinstance(value, bool) and value == 0) or value == "0":
        return Fraction(0)
    found = _split(value)
    if found is None or found[1] not in units:
        raise UnitError(shown(value), *wanted)
    if found[0] < 0:
        raise UnitError(shown(value), f"{wanted[0]}, not negative", wanted[1])
    return found[0] * units[found[1]]


def _whole(value: object, units: Mapping[str, Fraction], wanted: tuple[str, str]) -> int:
    exact = _quantity(value, units, wanted)
    rounded = round(exact)
    if rounded > INT_MAX or (rounded == 0 and exact > 0):
        raise UnitError(shown(value), f"{wanted[0]}, at least 1 and below 2^63 of the smallest", wanted[1])
    return rounded


def number_words(value: float, digits: int = 3) -> str:
    """0.56171 -> "0.562", 16623.4 -> "16,623", 3.7e-26 -> "0": for people, so never with an exponent.

    value: in any unit. digits: significant digits of a value below 10^digits; a larger value is rounded to a whole number.
    """
    if abs(value) >= 10**digits - 0.5:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}" if abs(value) >= LEAST else "0"


def bytes_words(count: float) -> str:
    """1074274304 -> "1.07 GB" (decimal units, as link speeds have them)."""
    return scaled_words(count, ("B", "kB", "MB", "GB", "TB", "PB"))


def scaled_words(value: float, units: tuple[str, ...]) -> str:
    """``value`` in the largest of ``units``, each a thousand of the one before, in which it is at least 1."""
    power = 0
    while value >= 999.5 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    space = " " if units[0] else ""
    return f"{digits_words(value)}{space}{units[power]}"


def digits_words(value: float, digits: int = 3) -> str:
    """Three significant digits, no comma, no exponent."""
    if value >= 10 ** (digits - 1):
        return f"{value:.0f}"
    return f"{value:.{digits}g}" if value >= LEAST else "0"


def rounded_up(value: float, digits: int = 2) -> float:
    """The least number of ``digits`` significant digits that is not below ``value``."""
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) + 1 - digits)
    return math.ceil(value / step - 1e-9) * step


def format_bytes(value: int, digits: int | None = None) -> str:
    """"4GiB", exactly; with ``digits`` rounded to that many significant digits ("1.18MiB")."""
    return _written(Fraction(value), _WRITTEN_BYTES, "B", digits)


def format_bandwidth(value: int, digits: int | None = None) -> str:
    """"10Gbit/s", "32MiB/s", "unlimited" for 0, exactly; with ``digits`` rounded, in bits."""
    if value == 0:
        return UNLIMITED
    written = _WRITTEN_BANDWIDTH if digits is None else _WRITTEN_BANDWIDTH[len(_BINARY) :]
    return _written(Fraction(value), written, "B/s", digits)


def format_duration(value: int, digits: int | None = None) -> str:
    """"300ms", exactly; with ``digits`` rounded."""
    return "0s" if value == 0 else _written(Fraction(value), _WRITTEN_DURATION, "ns", digits)


def format_rate(value: Fraction, digits: int | None = None) -> str:
    """"50000/s", exactly where a decimal can say it (else to 15 digits); with ``digits`` rounded."""
    if digits is not None:
        return _written(value, tuple((f"{k}/s", Fraction(v)) for k, v in reversed(_DECIMAL.items())), "/s", digits)
    return f"{_decimal(value)}/s"


def _written(value: Fraction, units: tuple[tuple[str, Fraction], ...], base: str, digits: int | None) -> str:
    if digits is not None:
        return _rounded(value, units, base, digits)
    fitting = [(_decimal(value / factor), unit) for unit, factor in units if value >= factor and _is_short(value / factor)]
    number, unit = min([*fitting, (_decimal(value), base)], key=lambda pair: len(pair[0]))
    return f"{number}{unit}"


def _rounded(value: Fraction, units: tuple[tuple[str, Fraction], ...], base: str, digits: int) -> str:
    unit, factor = next(((u, f) for u, f in units if value >= f), (base, Fraction(1)))
    number = f"{float(value / factor):.{digits}g}"
    return f"{float(number):.0f}{unit}" if "e" in number else f"{number}{unit}"


def _is_short(number: Fraction) -> bool:
    return (number * 1000).denominator == 1


def _decimal(number: Fraction) -> str:
    """Shortest decimal of ``number``, exact if it has one of at most 120 places, else 15 significant digits."""
    if number.denominator == 1:
        return str(number.numerator)
    places = _places(number.denominator)
    if places is None:
        return f"{float(number):.15g}"
    digits = str(number.numerator * 10**places // number.denominator).rjust(places + 1, "0")
    text = f"{digits[:-places]}.{digits[-places:]}".rstrip("0")
    return text if len(text) <= TEXT_MAX - 4 else f"{float(number):.15g}"


def _places(denominator: int) -> int | None:
    """Decimal places of a fraction in lowest terms, None if they do not end."""
    twos = fives = 0
    while denominator % 2 == 0:
        denominator, twos = denominator // 2, twos + 1
    while denominator % 5 == 0:
        denominator, fives = denominator // 5, fives + 1
    return max(twos, fives) if denominator == 1 else None
