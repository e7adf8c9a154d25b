"""Plug-ins: workloads, ageing policies and daemons of other distributions, found by their entry points."""

from __future__ import annotations

from hostsim.plugins.registry import PluginError, use
from hostsim.plugins.workload import PageClass, Region, Touches

__all__ = ["PageClass", "PluginError", "Region", "Touches", "use"]
