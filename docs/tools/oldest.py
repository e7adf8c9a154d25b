"""Print constraints that pin each dependency to the oldest version that pyproject.toml allows: for `make oldest`.

Standard library only: it runs before anything is installed. What the dependencies need themselves is left to pip.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from lock import ROOT, wanted_requirements

LOWEST = re.compile(r"(?P<name>[\w.-]+)\s*>=\s*(?P<version>[\w.]+)")


def pins(requirements: list[str]) -> Iterator[str]:
    """``numpy==1.26`` for ``numpy>=1.26``; the highest of the lower bounds of a package that several lists name."""
    lowest: dict[str, str] = {}
    for requirement in requirements:
        match = LOWEST.match(requirement)
        if match is None:
            raise SystemExit(f"{ROOT / 'pyproject.toml'}: {requirement}: no lower bound, as in {requirement}>=1.0")
        name, version = match["name"], match["version"]
        lowest[name] = max(lowest.get(name, version), version, key=_ordered)
    return (f"{name}=={version}" for name, version in sorted(lowest.items()))


def _ordered(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def main() -> int:
    """Write the pins on standard output."""
    sys.stdout.write("".join(f"{pin}\n" for pin in pins(wanted_requirements())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
