"""hostsim: a discrete-event simulator of a virtualized host.

``Scenario`` and ``run`` are the typed API that the command line uses; both are loaded when first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
_LAZY = {
    "Scenario": "hostsim.scenario",
    "load_scenario": "hostsim.scenario",
    "run": "hostsim.simulation",
    "RunResult": "hostsim.results.tables",
    "predict": "hostsim.study.predict",
    "solve": "hostsim.study.solve",
    "fit": "hostsim.fitting.fitted",
    "whatif": "hostsim.fitting.whatif",
}
__all__ = ["RunResult", "Scenario", "__version__", "fit", "load_scenario", "predict", "run", "solve", "whatif"]


def __dir__() -> list[str]:
    """Public names, loaded or not: what completion and ``dir(hostsim)`` show."""
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``hostsim --help`` loads nothing."""
    if name not in _LAZY:
        raise AttributeError(f"module 'hostsim' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
