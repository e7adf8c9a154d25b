"""Swap devices by name: hostsim/data/swap/<name>.toml, each number with unit and source."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from hostsim.costs.era import unknown_name
from hostsim.memory.swap_service import Constant, Exponential, Lognormal, Service, Table

DISTRIBUTIONS: dict[str, Callable[[dict[str, Any]], Service]] = {
    "constant": lambda entry: Constant(entry["value_ns"]),
    "exponential": lambda entry: Exponential(entry["mean_ns"]),
    "lognormal": lambda entry: Lognormal(entry["p50_ns"], entry["p99_ns"]),
    "table": lambda entry: Table(tuple((percent, ns) for percent, ns in entry["percentiles_ns"])),
}


@dataclass(frozen=True)
class SwapSpec:
    """A swap device.

    depth: channels, requests in service at once.
    read, write: service times of a request of one page.
    more_page_ns: service of each further page.
    cache_ns: time of a fault on a page of the swap cache.
    rotational: read-ahead takes adjacent slots, else adjacent addresses.
    synchronous: the requesting thread does the transfer, and there is no read-ahead (SWP_SYNCHRONOUS_IO).
    """

    name: str
    depth: int
    read: Service
    write: Service
    more_page_ns: int = 0
    cache_ns: int = 1000
    rotational: bool = False
    synchronous: bool = False


@cache
def swap_names() -> tuple[str, ...]:
    """Names of the devices that hostsim ships."""
    folder = files("hostsim") / "data" / "swap"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


@cache
def swap_entries(name: str) -> dict[str, Any]:
    """The table of the device's file. InputError names the nearest device for an unknown name."""
    if name not in swap_names():
        raise unknown_name("swap", name, swap_names())
    return tomllib.loads((files("hostsim") / "data" / "swap" / f"{name}.toml").read_text(encoding="utf-8"))


def load_swap(name: str) -> SwapSpec:
    """The device ``name``. InputError if it does not exist."""
    entries = swap_entries(name)
    read, write = (DISTRIBUTIONS[entries[key]["distribution"]](entries[key]) for key in ("read", "write"))
    numbers = {key: entries[key]["value"] for key in ("more_page_ns", "cache_ns", "rotational", "synchronous")}
    return SwapSpec(name, entries["depth"]["value"], read, write, **numbers)
