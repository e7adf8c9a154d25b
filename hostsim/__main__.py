"""``python -m hostsim``: the command line."""

from __future__ import annotations

from hostsim.cli.main import main

main()
