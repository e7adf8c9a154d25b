"""Write constraints.txt: what a fresh environment resolves today for `.[dev]`, all of it pinned.

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = ("pip==", "wheel==", "hostsim")
HEADER = """\
# Exact versions of everything `pip install -e '.[dev]'` brings, transitive ones too.
# Written by `make lock`; the versions suit Python 3.11 to 3.13.
"""


def wanted_requirements() -> list[str]:
    """Return the requirements of the project, its extras and its build, without the project itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [project["build-system"]["requires"], project["project"]["dependencies"]]
    lists += project["project"]["optional-dependencies"].values()
    return sorted({name for names in lists for name in names if not name.startswith("hostsim")})


def resolve(requirements: list[str]) -> list[str]:
    """Install ``requirements`` into a throw-away environment and return its pinned packages."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        pip = [str(Path(folder) / "bin" / "python"), "-m", "pip"]
        subprocess.run([*pip, "install", "--quiet", *requirements], check=True)
        listed = subprocess.run([*pip, "freeze", "--all"], check=True, capture_output=True, text=True)
    return [line for line in listed.stdout.splitlines() if not line.startswith(LEFT_OUT)]


def main() -> int:
    """Write constraints.txt beside pyproject.toml."""
    pins = sorted(resolve(wanted_requirements()), key=str.lower)
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(pins) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
