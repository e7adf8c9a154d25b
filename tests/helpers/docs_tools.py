"""The programs of docs/tools as modules."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

TOOLS = Path(__file__).resolve().parents[2] / "docs" / "tools"


def docs_tool(name: str) -> ModuleType:
    """The program ``name``, without ``.py``; it finds those beside it as when it is started."""
    if str(TOOLS) not in sys.path:
        sys.path.insert(0, str(TOOLS))
    return importlib.import_module(name)
