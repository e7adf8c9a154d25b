"""Files that name a mechanism of migration in code: in a name, an import, or a string that is no docstring."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache

from tests.tidy.source import Source

OUTSIDE = ("hostsim/logs/", "hostsim/validation/", "hostsim/measure/", "hostsim/fitting/", "hostsim/theory/")
"""Rooms that read the world outside (logs, real QEMUs, what was measured) or have closed forms of their own."""


def namers(pattern: str, package: tuple[Source, ...]) -> list[str]:
    """Paths of the files of ``package`` whose code matches ``pattern``, without those of ``OUTSIDE``."""
    wanted = re.compile(pattern, re.IGNORECASE)
    inside = [source for source in package if not source.path.startswith(OUTSIDE)]
    return [source.path for source in inside if any(map(wanted.search, _words(source)))]


@cache
def _words(source: Source) -> frozenset[str]:
    """Names, imports and strings of ``source``, without docstrings."""
    prose = {id(node.value) for node in source.nodes if isinstance(node, ast.Expr)}
    values = [(id(node), node.value) for node in source.nodes if isinstance(node, ast.Constant)]
    strings = {value for key, value in values if isinstance(value, str) and key not in prose}
    names = {getattr(node, field, None) for node in source.nodes for field in ("id", "attr", "arg", "name", "module")}
    return frozenset(strings | {name for name in names if isinstance(name, str)})


@dataclass(frozen=True)
class Spread:
    """A mechanism: ``named`` matches its name in code, ``own`` the paths of its files; most: other files that name it."""

    name: str
    named: str
    own: str
    most: int

    def owns(self, path: str) -> bool:
        """Whether the file is the mechanism's own."""
        return re.search(self.own, path) is not None


SPREADS = (
    Spread("XBZRLE", "xbzrle", "xbzrle", 6),
    Spread("multifd", "multifd", "multifd|qemu/channels|qemu/compression|results/sender|verdict/channels", 7),
    Spread("dirty-limit", "dirty.?limit", "dirty_limit", 9),
    Spread("post-copy", "post.?copy", "postcopy", 4),
    Spread("checkpoints", "(?<!with )checkpoint(?!ed| to it|-delay)", "checkpoint", 5),  # COLO has checkpoints of its own
)
"""``most`` only falls. A mechanism that is added has an entry with 0."""
