"""Imports go down the floors, and third-party modules stay in their homes."""

from __future__ import annotations

import pytest

from tests.tidy.floors import floor_problems, third_party_problems
from tests.tidy.source import package_sources, report, source_of


def test_imports_go_down() -> None:
    report([problem for source in package_sources() for problem in floor_problems(source)])


def test_third_party_modules_stay_home() -> None:
    report([problem for source in package_sources() for problem in third_party_problems(source)])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("hostsim/guest/touch.py", "from hostsim.host.link import Link"),
        ("hostsim/guest/touch.py", "from ..host import link"),
        ("hostsim/guest/touch.py", "from hostsim import host"),
        ("hostsim/kernels/send.py", "def f():\n    import hostsim.results.tables"),
        ("hostsim/errors.py", "import hostsim.mmu"),
        ("hostsim/novel/thing.py", ""),
        ("hostsim/host/vm.py", "from hostsim import run_everything"),
    ],
)
def test_an_import_that_goes_up_is_found(path: str, text: str) -> None:
    assert len(floor_problems(source_of(text, path))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("hostsim/host/vm.py", "from hostsim.host.vcpu import Vcpu\nfrom hostsim.kernels import send"),
        ("hostsim/cli/run_cmd.py", "from hostsim.results.tables import Table"),
        ("hostsim/__init__.py", "from hostsim.cli.main import main"),
        ("hostsim/results/provenance.py", "from hostsim import __version__"),
    ],
)
def test_an_import_that_goes_down_is_fine(path: str, text: str) -> None:
    assert floor_problems(source_of(text, path)) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("hostsim/kernels/send.py", "import numba"),
        ("hostsim/guest/touch.py", "import simpy"),
        ("hostsim/host/link.py", "from rich.console import Console"),
        ("hostsim/results/store.py", "import pyarrow.parquet"),
        ("hostsim/results/store.py", "try:\n    import pyarrow\nexcept ImportError:\n    pyarrow = None"),
    ],
)
def test_a_stray_third_party_import_is_found(path: str, text: str) -> None:
    assert len(third_party_problems(source_of(text, path))) == 1


def test_an_extra_imported_where_it_is_used_is_fine() -> None:
    source = source_of("def f():\n    import pyarrow.parquet", "hostsim/results/store.py")
    assert third_party_problems(source) == []
