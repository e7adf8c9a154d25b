"""Reading ``Label: value`` text: what virsh and the monitor print for people."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from hostsim.logs.model import broken, checked_figure

QUANTITY = re.compile(r"\s*([0-9][0-9.,]*(?:[eE][+-]?\d+)?)\s*([A-Za-z%][A-Za-z/%]*)?\s*")
EXPONENT = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}


@dataclass(frozen=True)
class Label:
    """Where a labelled figure goes: its column, and the kind of unit it is printed with."""

    name: str
    kind: str
    """One of: bytes (B, KiB, kbytes ..), ms (ms, s), MiB/s (to megabits), plain (no unit counts)."""


def read_quantity(text: str, label: Label, source: str, line: int, key: str) -> float:
    """The figure in ``text``, in the unit of its column. Raises InputError."""
    match = QUANTITY.fullmatch(text)
    if match is None:
        raise broken(source, line, key, repr(text.strip()), "a number with its unit", "123.456 MiB")
    number = _number(match.group(1), source, line, key)
    return checked_figure(number * _factor(label, match.group(2) or "", source, line, key), source, line, key)


def _number(digits: str, source: str, line: int, key: str) -> float:
    try:
        return float(digits.replace(",", "."))
    except ValueError as error:
        raise broken(source, line, key, repr(digits), "a number", "123.456") from error


def _factor(label: Label, unit: str, source: str, line: int, key: str) -> float:
    factor = {"bytes": _bytes_factor, "ms": _ms_factor, "MiB/s": _mbps_factor}.get(label.kind, _plain)(unit)
    if math.isnan(factor):
        raise broken(source, line, key, repr(unit), f"a unit of {label.kind}", "MiB")
    return factor


def _plain(_unit: str) -> float:
    return 1.0


def _bytes_factor(unit: str) -> float:
    """Where virsh prints KiB, MiB .., the monitor prints "kbytes" for 1024 bytes."""
    match = re.fullmatch(r"([KMGTPE]?)(?:iB|B|bytes)?", unit.replace("kbytes", "KiB").replace("bytes", "B"))
    return float(1024 ** EXPONENT[match.group(1)]) if match else math.nan


def _ms_factor(unit: str) -> float:
    return {"": 1.0, "ms": 1.0, "s": 1000.0, "us": 0.001}.get(unit, math.nan)


def _mbps_factor(unit: str) -> float:
    per_s = _bytes_factor(unit.removesuffix("/s")) if unit.endswith("/s") else math.nan
    return per_s * 8 / 1e6
