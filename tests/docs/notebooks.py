"""The gallery of notebooks: run in one kernel, and the outputs that a reader sees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.docs.blocks import ROOT

FOLDER = ROOT / "docs" / "notebooks"
PATIENCE_S = 300
SHOWN = ("text/plain", "text/html", "text/markdown")
"""Kinds of output that are kept and compared; pictures are not."""


def notebooks() -> list[Path]:
    return sorted(FOLDER.glob("*.ipynb"))


def executed(paths: Sequence[Path], folder: Path) -> list[Any]:
    """The notebooks with the outputs that they have today, run one after the other in one kernel, in ``folder``."""
    import nbformat
    from nbclient import NotebookClient

    found = [nbformat.read(path, as_version=4) for path in paths]
    together = nbformat.v4.new_notebook(cells=[cell for one in found for cell in one.cells])
    where = {"metadata": {"path": str(folder)}}
    client = NotebookClient(together, timeout=PATIENCE_S, kernel_name="python3", resources=where)
    client.execute()
    for one in found:
        _tidy(one)
    return found


def outputs(notebook: Any) -> list[list[dict[str, Any]]]:
    """The outputs of each cell of code that are text."""
    return [_joined(map(_shown, cell.outputs)) for cell in notebook.cells if cell.cell_type == "code"]


def _joined(shown: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pieces of one stream that follow each other as one: a busy kernel sends a stream in pieces as time allows."""
    found: list[dict[str, Any]] = []
    for one in shown:
        if found and "stream" in one and found[-1].get("stream") == one["stream"]:
            found[-1] = {**one, "text": found[-1]["text"] + one["text"]}
        else:
            found.append(one)
    return found


def _shown(output: Any) -> dict[str, Any]:
    if output.output_type == "stream":
        return {"stream": output.name, "text": output.text}
    data = output.get("data", {})
    return {kind: data[kind] for kind in SHOWN if kind in data} or {"error": output.get("ename", "")}


def _tidy(notebook: Any) -> None:
    """No times of execution; counts as if the notebook had a kernel to itself."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, 1):
        cell.execution_count = number
        cell.metadata.pop("execution", None)
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
