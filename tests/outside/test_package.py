"""The published files: an sdist, a wheel built from it elsewhere, and the command that this wheel brings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import hostsim
from tests.helpers.command import QUICK, ROOT

SHARED = {
    "share/man/man1/hostsim.1", "share/bash-completion/completions/hostsim", "share/zsh/site-functions/_hostsim",
    "share/fish/vendor_completions.d/hostsim.fish",
}  # fmt: skip


BOTH = """
import hostsim
from hostsim.cli.errors_cli import exit_code_of
from hostsim.cli.main import build_app
import sys

print(hostsim.__file__, flush=True)
for line in ("scenarios", "run quick.toml --no-files --no-confirm"):
    sys.argv = ["hostsim", *line.split()]
    assert exit_code_of(build_app()) == 0
"""
"""Two commands in one process: a process takes more than a second to start."""


def done(command: list[str], folder: Path, **variables: str) -> str:
    found = subprocess.run(command, cwd=folder, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources, from an sdist, outside the checkout."""
    folder = tmp_path_factory.mktemp("sdist")
    made = ["-q", "egg_info", "--egg-base", str(folder), "sdist", "--dist-dir", str(folder)]
    done([sys.executable, "setup.py", *made], ROOT)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (found,) = (path for path in folder.iterdir() if path.is_dir() and (path / "pyproject.toml").exists())
    return found


@pytest.fixture(scope="module")
def wheel(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done([*pip, "--wheel-dir", str(folder), "."], unpacked)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's package, unpacked: its dependencies are those of the environment of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)  # noqa: S202  # the wheel built above
    return folder


def data_files(package: Path) -> set[str]:
    wanted = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(package)) for path in wanted}


def test_the_sdist_has_what_a_build_and_a_reader_need(unpacked: Path) -> None:
    for name in ("LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "SECURITY.md", "docs/man/hostsim.1"):
        assert (unpacked / name).read_bytes() == (ROOT / name).read_bytes()


def test_the_wheel_has_all_of_the_package_with_scenarios_types_manual_and_completions(installed: Path) -> None:
    scenarios = {f"data/scenarios/{path.name}" for path in (ROOT / "scenarios").iterdir() if path.is_file()}
    assert data_files(installed / "hostsim") == data_files(ROOT / "hostsim") | scenarios
    assert (installed / "hostsim" / "py.typed").exists()
    (data,) = installed.glob("*.data")
    assert data_files(data / "data") == SHARED


def test_the_metadata_document_the_extras(installed: Path) -> None:
    (info,) = installed.glob("*.dist-info")
    metadata = (info / "METADATA").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(re.findall(r"^Provides-Extra: (.+)$", metadata, re.MULTILINE)) == set(project["optional-dependencies"])
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", (ROOT / "docs/howto/install.md").read_text(), re.MULTILINE))
    assert set(told) == set(project["optional-dependencies"])
    for name in ("report", "stats", "trace", "live", "cluster", "frames", "docs"):
        packages = {re.split(r"[<>=]", wanted)[0] for wanted in project["optional-dependencies"][name]}
        assert set(told[name].split(", ")) == packages
    assert (info / "entry_points.txt").read_text().strip() == "[console_scripts]\nhostsim = hostsim.cli.main:main"


def test_the_command_works_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text(QUICK)
    printed = done([sys.executable, "-P", "-c", BOTH], tmp_path, PYTHONPATH=str(installed), COLUMNS="80")
    assert printed.startswith(str(installed)), "the wheel's package, not the checkout's"
    assert "precopy_convergence.toml" in printed
    assert "VERDICT: completed" in printed


def test_manual_and_completions_are_those_of_the_command() -> None:
    check = [sys.executable, str(ROOT / "docs" / "tools" / "write_man.py"), "--check"]
    found = subprocess.run(check, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, ""), found.stderr


def test_the_citation_has_the_version() -> None:
    assert f"\nversion: {hostsim.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_each_dependency_has_a_lower_bound_that_can_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "tools"))
    import lock
    import oldest

    pins = dict(pin.split("==") for pin in oldest.pins(lock.wanted_requirements()))
    assert {"numba", "numpy", "pydantic", "perfetto", "sphinx", "pytest"} <= set(pins)
    assert list(oldest.pins(["a>=1.9", "a>=1.10,<2"])) == ["a==1.10"]
    with pytest.raises(SystemExit, match="no lower bound"):
        list(oldest.pins(["numpy"]))
