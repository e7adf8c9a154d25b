"""Files that tools write from the code: written anew, or compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def write_or_compare(path: Path, content: str, arguments: Sequence[str], remedy: str = "make docs") -> int:
    """Write ``content`` to ``path``, or with ``--check`` say whether it stands there; returns the exit code.

    remedy: the command that writes the file.
    """
    if "--check" not in arguments:
        path.write_text(content, encoding="utf-8")
        return 0
    is_current = path.exists() and path.read_text(encoding="utf-8") == content
    print(f"{path.name} is current" if is_current else f"{path.name} is out of date: run `{remedy}`")
    return 0 if is_current else 1
