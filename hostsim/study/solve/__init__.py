"""The least change that makes a migration reach a target: ``target`` reads it, ``candidates`` and ``frontier`` search,
``solve`` confirms by runs with other seeds.
"""

from hostsim.study.solve.solution import Change, Solution
from hostsim.study.solve.solve import solve

__all__ = ["Change", "Solution", "solve"]
