"""hostsim: a discrete-event simulator of a virtualized host.

The typed API of the command line: ``Scenario`` and the questions as functions, each loaded when first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hostsim.api.explained import explain
    from hostsim.api.host_studies import HostStudy, age, reclaim
    from hostsim.api.runs import Result, run
    from hostsim.api.studies import Study, compare, sweep
    from hostsim.core.errors import HostsimError, InputError
    from hostsim.fitting.fitted import fit
    from hostsim.fitting.whatif import whatif
    from hostsim.results.tables import RunResult
    from hostsim.scenario import Scenario, load_scenario
    from hostsim.study.predict.predict import predict
    from hostsim.study.solve.solve import solve

__version__ = "0.1.0"
_LAZY = {
    "HostStudy": "hostsim.api.host_studies",
    "HostsimError": "hostsim.core.errors",
    "InputError": "hostsim.core.errors",
    "Result": "hostsim.api.runs",
    "RunResult": "hostsim.results.tables",
    "Scenario": "hostsim.scenario",
    "Study": "hostsim.api.studies",
    "age": "hostsim.api.host_studies",
    "compare": "hostsim.api.studies",
    "explain": "hostsim.api.explained",
    "load_scenario": "hostsim.scenario",
    "predict": "hostsim.study.predict",
    "reclaim": "hostsim.api.host_studies",
    "run": "hostsim.api.runs",
    "solve": "hostsim.study.solve",
    "sweep": "hostsim.api.studies",
    "fit": "hostsim.fitting.fitted",
    "whatif": "hostsim.fitting.whatif",
}
__all__ = [
    "HostStudy",
    "HostsimError",
    "InputError",
    "Result",
    "RunResult",
    "Scenario",
    "Study",
    "__version__",
    "age",
    "compare",
    "explain",
    "fit",
    "load_scenario",
    "predict",
    "reclaim",
    "run",
    "solve",
    "sweep",
    "whatif",
]


def __dir__() -> list[str]:
    """Public names, loaded or not: what completion and ``dir(hostsim)`` show."""
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``hostsim --help`` loads nothing."""
    if name not in _LAZY:
        raise AttributeError(f"module 'hostsim' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
