"""Run the notebooks of the gallery and keep what they show today."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.docs.notebooks import executed, notebooks  # noqa: E402  the tests know how the gallery is run

if __name__ == "__main__":
    paths = notebooks()
    with tempfile.TemporaryDirectory() as folder:
        for path, notebook in zip(paths, executed(paths, Path(folder)), strict=True):
            nbformat.write(notebook, path)
            print(f"wrote {path.relative_to(ROOT)}")
