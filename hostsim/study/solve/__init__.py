"""The least change with which a migration reaches a target: read, searched (candidates, frontier), confirmed by runs."""

from hostsim.study.solve.solution import Change, Solution
from hostsim.study.solve.solve import solve

__all__ = ["Change", "Solution", "solve"]
