"""Scenarios: the description of a run, from a file or from Python."""

from __future__ import annotations

from hostsim.scenario.load import load_scenario
from hostsim.scenario.profiles import PROFILES, Profile
from hostsim.scenario.schema import Active, Fill, Host, Link, Migration, Mmu, RamBlock, Scenario, Vm, Workload
from hostsim.scenario.trace_csv import TraceColumns, load_trace

__all__ = [
    "PROFILES", "Active", "Fill", "Host", "Link", "Migration", "Mmu", "Profile", "RamBlock", "Scenario", "TraceColumns",
    "Vm", "Workload", "load_scenario", "load_trace",
]  # fmt: skip
