"""Plug-ins: workloads, ageing policies and daemons of other distributions, found by their entry points.

Names are loaded when first asked for: the registry is read by ``hostsim --help``, which loads no NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hostsim.plugins.registry import PluginError, use
    from hostsim.plugins.workload import PageClass, Region, Touches

_LAZY = {
    "PageClass": "hostsim.plugins.workload",
    "PluginError": "hostsim.plugins.registry",
    "Region": "hostsim.plugins.workload",
    "Touches": "hostsim.plugins.workload",
    "use": "hostsim.plugins.registry",
}
__all__ = ["PageClass", "PluginError", "Region", "Touches", "use"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module 'hostsim.plugins' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
