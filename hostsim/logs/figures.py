"""Figures as logs print them: with any unit, or broken; a broken figure counts as missing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

NUMBER = r"[-+]?(?:nan|inf|\d[\d.,]*(?:[eE][+-]?\d+)?)"
QUANTITY = re.compile(rf"\s*(?P<number>{NUMBER})\s*(?P<unit>%|\(?[A-Za-z][A-Za-z/]*\)?)?\s*", re.IGNORECASE)
THOUSANDS = re.compile(r"\d{1,3}(?:(?P<sign>[.,'])\d{3})(?:(?P=sign)\d{3})*")
WHOLE = ("kbytes", "bytes", "pages", "ms", "milliseconds")
"""Units in which QEMU prints whole numbers."""
EXPONENT = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}
DECIMAL = re.compile(r"([kmgtpe])b(?:/s)?", re.IGNORECASE)
DECIMALS = re.compile(rf"\d\s?{DECIMAL.pattern}(?!\w)", re.IGNORECASE)
DECIMAL_READ = "kB, MB and GB of this log are read as powers of 1000 (KiB, MiB and GiB would be powers of 1024)"
FIGURE_MAX = 2.0**63
"""No counter of QEMU or libvirt exceeds 63 bits; larger is -1 read as unsigned, or a broken log."""
TIME_MS = {"": 1.0, "ms": 1.0, "milliseconds": 1.0, "s": 1000.0, "sec": 1000.0, "seconds": 1000.0, "us": 0.001}


def sane(value: Any) -> float:
    """``value`` as a float if a migration can have it: a number from 0 to below 2^63; else NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value) if 0 <= value < FIGURE_MAX else math.nan


def quantity(text: str, kind: str) -> float:
    """The figure in ``text`` in the unit of ``kind`` (bytes, ms, us, mbps, plain); NaN if ``text`` is no figure."""
    match = QUANTITY.fullmatch(text)
    if match is None:
        return math.nan
    unit = (match["unit"] or "").strip("()")
    return sane(number(match["number"], whole=kind == "plain" or unit.lower() in WHOLE) * FACTORS[kind](unit))


def written(text: str, kind: str) -> float:
    """As ``quantity``, of a text in no tool's form: kB, MB and GB are powers of 1000 there, KiB, MiB and GiB of 1024."""
    match = QUANTITY.fullmatch(text)
    decimal = DECIMAL.fullmatch((match["unit"] or "").strip("()")) if match else None
    return quantity(text, kind) * ((1000 / 1024) ** EXPONENT[decimal[1].lower()] if decimal else 1.0)


def decimal_read(texts: Iterable[str]) -> str:
    """A remark if one of ``texts`` has a size that ``written`` reads as a power of 1000, else ""."""
    return DECIMAL_READ if any(map(DECIMALS.search, texts)) else ""


def number(digits: str, *, whole: bool = False) -> float:
    """``digits`` with a decimal point or comma, or with either between thousands; NaN if that is no number.

    whole: the program prints no decimals there, so that three digits behind a comma are thousands.
    """
    grouped = THOUSANDS.fullmatch(digits)
    if grouped and (whole or digits.count(grouped["sign"]) > 1) and (whole or not digits.startswith("0")):
        digits = digits.replace(grouped["sign"], "")
    elif "," in digits and digits.rfind(",") > digits.rfind("."):
        digits = digits.replace(".", "").replace(",", ".", 1) if digits.count(",") == 1 else digits
    try:
        return float(digits.replace(",", ""))
    except ValueError:
        return math.nan


def bytes_factor(unit: str) -> float:
    """Powers of 1024: virsh prints KiB, MiB .., the monitor "kbytes", vdsm and old Proxmox "MB" for 2^20."""
    match = re.fullmatch(r"([kmgtpe]?)(?:i?b|bytes?)?", unit.lower())
    return float(1024 ** EXPONENT[match.group(1)]) if match else math.nan


def _ms_factor(unit: str) -> float:
    return TIME_MS.get(unit.lower(), math.nan)


def _us_factor(unit: str) -> float:
    return TIME_MS.get(unit.lower() or "us", math.nan) * 1000


def _mbps_factor(unit: str) -> float:
    if unit.lower() in ("", "mbps", "mbit/s"):
        return 1.0
    per_s = bytes_factor(unit[:-2]) if unit.endswith("/s") else math.nan
    return per_s * 8 / 1e6


def _plain_factor(_unit: str) -> float:
    return 1.0


FACTORS = {"bytes": bytes_factor, "ms": _ms_factor, "us": _us_factor, "mbps": _mbps_factor, "plain": _plain_factor}
