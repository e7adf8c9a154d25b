"""numba without scipy.linalg, which it imports only to see whether a BLAS is there: a third of a second of each command."""

from __future__ import annotations

import sys
from functools import cache
from importlib.util import find_spec

SOUGHT = "scipy.linalg"


@cache
def spare_scipy() -> None:
    """Import the module of numba that looks for a BLAS, and answer for scipy that it has one if it is installed.

    The answer decides how loops of other authors are compiled (``np.dot``), which then import scipy themselves. Loops of
    hostsim call no BLAS.
    """
    if SOUGHT in sys.modules or "numba.np.arraymath" in sys.modules:
        return
    sys.modules[SOUGHT] = None  # type: ignore[assignment]  # an import of it is an ImportError, documented by Python
    try:
        from numba.np import arraymath
    finally:
        del sys.modules[SOUGHT]
    arraymath._HAVE_BLAS = find_spec("scipy") is not None  # noqa: SLF001  scipy has had a BLAS since 0.16
