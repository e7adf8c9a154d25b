"""The modules that a help text loads, listed by a process of its own."""

from __future__ import annotations

HEAVY = {"numba", "llvmlite", "simpy", "pyarrow", "matplotlib", "scipy", "numpy"}
"""Packages that no help text needs."""

LOADED = """\
import contextlib, io, json, sys
from hostsim.cli.main import main
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
    main()
assert "Usage" in out.getvalue()
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
"""Python that prints the names of all loaded packages after the command of its arguments, which ask for help."""
