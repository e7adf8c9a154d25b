"""Host sheets: the constants of a machine, each with unit (in its name) and source."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.resources import files

from hostsim.core.errors import InputError, Problem


@dataclass(frozen=True)
class HostSheet:
    """Constants of one machine; sources in hostsim/data/hosts/<name>.toml.

    The constants with a default serve multifd or XBZRLE alone.
    A spread is the standard deviation of a lateness (hostsim.qemu.lateness); 0: the lateness is always its mean.
    """

    page_send_ns: int
    first_copy_ns: int
    zero_page_ns: int
    setup_ns: int
    vm_stop_ns: int
    switchover_ns: int
    sleep_overshoot_ns: int
    throttle_overshoot_ns: int
    device_state_bytes: int
    throttle_timer_late_ns: int
    queue_page_ns: int = 0
    zlib_page_ns: int = 0
    zstd_page_ns: int = 0
    zero_copy_page_ns: int = 0
    xbzrle_encode_ns: int = 0
    xbzrle_run_ns: int = 0
    xbzrle_insert_ns: int = 0
    sleep_overshoot_spread_ns: int = 0
    throttle_overshoot_spread_ns: int = 0
    throttle_timer_late_spread_ns: int = 0


CONSTANTS = tuple(field.name for field in fields(HostSheet))
SPREADS: Mapping[str, str] = {
    "sleep_overshoot_spread_ns": "sleep_overshoot_ns",
    "throttle_overshoot_spread_ns": "throttle_overshoot_ns",
    "throttle_timer_late_spread_ns": "throttle_timer_late_ns",
}
"""The constant that each spread belongs to."""


@cache
def sheet_names() -> tuple[str, ...]:
    """Names of the sheets that hostsim ships."""
    folder = files("hostsim") / "data" / "hosts"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


@cache
def sheet_entries(name: str) -> Mapping[str, Mapping[str, object]]:
    """Every constant of sheet ``name`` as {constant: {value, source}}, some with a range. InputError if there is none."""
    if name not in sheet_names():
        wanted = "one of " + ", ".join(sheet_names())
        raise InputError([Problem("scenario", "host.machine", name, wanted, 'machine = "generic"')])
    text = (files("hostsim") / "data" / "hosts" / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def sheet_range(name: str, constant: str) -> tuple[int, int] | None:
    """(least, most) that sheet ``name`` takes for likely of ``constant``; None where it gives one value only."""
    bounds = sheet_entries(name)[constant].get("range")
    if not isinstance(bounds, list):
        return None
    least, most = bounds
    return int(least), int(most)


def load_sheet(name: str, overrides: Mapping[str, int] | None = None, *, drawn: bool = False) -> HostSheet:
    """The sheet ``name`` with some constants replaced. InputError for an unknown sheet.

    drawn: latenesses have the spreads of the sheet, at most their mean, else none but those in ``overrides``.
    """
    entries, written = sheet_entries(name), overrides or {}
    values = {**{key: int(str(entry["value"])) for key, entry in entries.items()}, **written}
    for key, of in SPREADS.items() if drawn else ():
        values.setdefault(key, min(int(str(entries[of].get("spread", 0))), values[of]))
    return HostSheet(**values)


def punctual(sheet: HostSheet) -> HostSheet:
    """``sheet`` without any lateness: timers and sleeps are exact."""
    return replace(sheet, **dict.fromkeys([*SPREADS, *SPREADS.values()], 0))
