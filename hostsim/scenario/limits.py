"""Limits of real machines: figures with unit (in the name) and source, from hostsim/data/limits.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Limits:
    """Limits of real machines: a scenario beyond one of them gets a warning.

    page_touch_ns: a page in the fastest loop over pages.
    core_write_bytes_per_s: whole pages written by one core; host_write_bytes_per_s: by all cores.
    host_threads: CPUs of a server.
    tcp_flow_bytes_per_s: the fastest TCP flow of one core.
    reported_stream_*_bytes_per_s: least and most that users reported of migrations over one stream.
    """

    page_touch_ns: int
    core_write_bytes_per_s: int
    host_write_bytes_per_s: int
    host_threads: int
    tcp_flow_bytes_per_s: int
    reported_stream_least_bytes_per_s: int
    reported_stream_most_bytes_per_s: int

    @property
    def core_touches_per_s(self) -> int:
        """Pages that a core touches in a second."""
        return 1_000_000_000 // self.page_touch_ns


@cache
def machine_limits() -> Limits:
    """The figures of hostsim/data/limits.toml."""
    entries = tomllib.loads((files("hostsim") / "data" / "limits.toml").read_text(encoding="utf-8"))
    return Limits(**{field.name: int(entries[field.name]["value"]) for field in fields(Limits)})
