"""Imports go to rooms before, without circles, and third-party modules stay in their homes."""

from __future__ import annotations

import pytest

from tests.tidy.rooms import (
    TYPED_CIRCLES,
    TYPED_REASON,
    circles,
    drawing_problems,
    loop_problems,
    room_problems,
    third_party_problems,
    typed_circles,
)
from tests.tidy.source import package_sources, report, source_of


def test_imports_go_to_rooms_before() -> None:
    report([problem for source in package_sources() for problem in room_problems(source)])


def test_no_module_imports_itself_by_way_of_others() -> None:
    report(circles(package_sources()))


def test_imports_for_types_close_only_the_circles_that_are_listed() -> None:
    found = typed_circles(package_sources())
    listed = {f"hostsim.{name}" for name in TYPED_CIRCLES}
    assert set(found) == listed, "let the protocol or the dataclass stand in a module above"
    texts = {source.module: source.text for source in package_sources()}
    assert [module for module in found if TYPED_REASON not in texts[module]] == []


def test_a_circle_of_types_is_found() -> None:
    typed = "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from hostsim.core.b import B"
    texts = {"a": typed, "b": "from hostsim.core.c import x", "c": "import hostsim.core.a", "d": typed}
    package = tuple(source_of(text, f"hostsim/core/{name}.py") for name, text in texts.items())
    assert typed_circles(package) == ["hostsim.core.a"]


def test_compiled_loops_know_no_clock() -> None:
    report([problem for source in package_sources() for problem in loop_problems(source)])


def test_third_party_modules_stay_home() -> None:
    report([problem for source in package_sources() for problem in third_party_problems(source)])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("hostsim/guest/touch.py", "from hostsim.qemu.link import Link"),
        ("hostsim/guest/touch.py", "from ..qemu import link"),
        ("hostsim/guest/touch.py", "from hostsim import qemu"),
        ("hostsim/qemu/send.py", "def f():\n    import hostsim.results.tables"),
        ("hostsim/core/errors.py", "import hostsim.kvm"),
        ("hostsim/novel/thing.py", ""),
        ("hostsim/guest/vm.py", "from hostsim import run_everything"),
    ],
)
def test_an_import_that_goes_up_is_found(path: str, text: str) -> None:
    assert len(room_problems(source_of(text, path))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("hostsim/guest/vm.py", "from hostsim.guest.vcpu import Vcpu\nfrom hostsim.guest import armed"),
        ("hostsim/cli/run_cmd.py", "from hostsim.results.tables import Table"),
        ("hostsim/__init__.py", "from hostsim.cli.main import main"),
        ("hostsim/results/provenance.py", "from hostsim import __version__"),
    ],
)
def test_an_import_that_goes_down_is_fine(path: str, text: str) -> None:
    assert room_problems(source_of(text, path)) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("hostsim/qemu/send.py", "import numba"),
        ("hostsim/costs/era.py", "import simpy"),
        ("hostsim/qemu/link.py", "from rich.console import Console"),
        ("hostsim/results/store.py", "import pyarrow.parquet"),
        ("hostsim/results/store.py", "try:\n    import pyarrow\nexcept ImportError:\n    pyarrow = None"),
    ],
)
def test_a_stray_third_party_import_is_found(path: str, text: str) -> None:
    assert len(third_party_problems(source_of(text, path))) == 1


def test_only_the_modules_that_draw_import_matplotlib() -> None:
    report([problem for source in package_sources() for problem in drawing_problems(source)])
    stray = source_of("def draw():\n    from matplotlib.figure import Figure", "hostsim/report/age_report.py")
    assert len(drawing_problems(stray)) == 1


def test_an_extra_imported_where_it_is_used_is_fine() -> None:
    source = source_of("def f():\n    import pyarrow.parquet", "hostsim/results/store.py")
    assert third_party_problems(source) == []


def test_a_circle_is_found() -> None:
    texts = {"a": "from hostsim.core import b", "b": "from hostsim.core.c import x", "c": "import hostsim.core.a", "d": ""}
    package = tuple(source_of(text, f"hostsim/core/{name}.py") for name, text in texts.items())
    assert len(circles(package)) == 3
    assert circles(package[:2]) == circles(package[3:]) == []


def test_a_clock_beside_loops_is_found() -> None:
    text = "import simpy\nfrom hostsim.compiled.jit import jit"
    assert len(loop_problems(source_of(text, "hostsim/guest/touch.py"))) == 1
    assert loop_problems(source_of("import simpy", "hostsim/guest/vm.py")) == []
