"""Every dependency is locked."""

from __future__ import annotations

import re
import tomllib

from tests.tidy.source import ROOT


def plain(name: str) -> str:
    """Name of a requirement, as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=!\[; ]", name, maxsplit=1)[0]).lower()


def pinned() -> set[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {plain(line) for line in lines if re.fullmatch(r"[\w.-]+==[\w.]+", line)}


def test_every_line_is_an_exact_version() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert len(pinned()) == len([line for line in lines if not line.startswith("#")])


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    lists = [project["build-system"]["requires"], project["project"]["dependencies"], *extras]
    wanted = {plain(name) for names in lists for name in names} - {"hostsim"}
    assert wanted - pinned() == set()
