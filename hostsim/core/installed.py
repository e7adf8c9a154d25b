"""The way in which hostsim was installed, and the command that installs missing packages."""

from __future__ import annotations

import re
import shutil
import sys
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

PACKAGE = "hostsim"
_REQUIREMENT = re.compile(r"""(?P<wanted>[^;]+);\s*extra\s*==\s*['"](?P<extra>[\w-]+)['"]""")


def extra_command(extra: str, *packages: str) -> str:
    """The command that installs the packages of ``extra``.

    packages: their names, for a checkout that was never installed and so has no metadata.

    The command names the packages one by one: a package index may lack hostsim, and the folder from which hostsim was
    installed may be gone.
    """
    return f"{_installer()} {' '.join(quote(text) for text in _requirements(extra) or packages)}"


def _requirements(extra: str) -> list[str]:
    try:
        noted = requires(PACKAGE) or []
    except PackageNotFoundError:  # run from a checkout that was never installed
        return []
    found = (_REQUIREMENT.fullmatch(text.strip()) for text in noted)
    wanted = [match["wanted"].strip() for match in found if match and match["extra"] == extra]
    return [text for text in wanted if not text.startswith(PACKAGE)]


def _installer() -> str:
    """The pip of this interpreter; uv if the interpreter has no pip."""
    if find_spec("pip") is None:
        return f"uv pip install --python {quote(sys.executable)}"
    found = shutil.which("python")
    is_this = found is not None and Path(found).absolute() == Path(sys.executable).absolute()
    return f"{'python' if is_this else quote(sys.executable)} -m pip install"
