"""The command that adds what is missing, by how hostsim was installed."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError

import pytest

from hostsim.core import installed

NOTED = [
    "numba>=0.59", 'matplotlib>=3.8; extra == "report"', "pyarrow>=15; extra == 'report'", 'hostsim[report]; extra == "all"',
]  # fmt: skip


def test_it_names_the_packages_that_the_installation_has_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "requires", lambda _: NOTED)
    monkeypatch.setattr(installed.shutil, "which", lambda _: sys.executable)
    assert installed.extra_command("report") == "python -m pip install 'matplotlib>=3.8' 'pyarrow>=15'"


def test_another_interpreter_is_named_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "requires", lambda _: NOTED)
    monkeypatch.setattr(installed.shutil, "which", lambda _: "/somewhere/else/python")
    assert installed.extra_command("report").startswith(f"{sys.executable} -m pip install ")


def test_without_pip_it_is_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "find_spec", lambda _: None)
    assert installed.extra_command("report").startswith(f"uv pip install --python {sys.executable} ")


def test_a_checkout_that_was_never_installed_has_the_names_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> list[str]:
        raise PackageNotFoundError

    monkeypatch.setattr(installed, "requires", missing)
    assert installed.extra_command("report", "matplotlib").endswith(" install matplotlib")
