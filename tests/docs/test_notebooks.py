"""Every notebook of the gallery runs, and shows the outputs that are kept in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.notebooks import executed, notebooks, outputs
from tests.helpers.needs import needs_notebooks

GALLERY = ("ageing-study", "dirty-curve", "first-migration", "own-policy", "own-workload")


@pytest.mark.long
@needs_notebooks
def test_the_notebooks_show_what_they_keep(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(root))
    paths = notebooks()
    assert tuple(path.stem for path in paths) == GALLERY
    for path, notebook in zip(paths, executed(paths, tmp_path), strict=True):
        kept = nbformat.read(path, as_version=4)
        stale = f"{path.name} is out of date: python docs/tools/run_notebooks.py"
        assert any(outputs(kept)), stale
        assert outputs(notebook) == outputs(kept), stale
