"""Write hostsim/data/modes.json, from which helps list the modes of ``compare --modes``; ``--check`` only compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from written import write_or_compare  # noqa: E402  beside this tool

from hostsim.study.compare.modes import MODES, TIMED  # noqa: E402  the package of this checkout

FILE = ROOT / "hostsim" / "data" / "modes.json"


def content() -> str:
    """The whole file: all modes, and those that take ``@N``."""
    return json.dumps({"modes": list(MODES), "at": list(TIMED)}, indent=1) + "\n"


def main(arguments: list[str]) -> int:
    """Write the file, or with ``--check`` return 1 if it is out of date."""
    return write_or_compare(FILE, content(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
