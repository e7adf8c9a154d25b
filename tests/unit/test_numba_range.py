"""The installed numba is one that hostsim supports, and has all the private names that hostsim uses."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba.core import codegen, compiler
from numba.core.registry import cpu_target
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, jit, part
from hostsim.compiled.linked import NEEDLESS, LinkedCompiler, LoopCompiler

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "background" / "design-choices.md"
NAMES = re.findall(r"^\| `(numba\.[\w.]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
FILES = (
    "jit.py", "linked.py", "by_address.py", "by_reference.py", "from_front.py", "fields.py", "prefetch.py", "code_store.py",
    "compiling.py", "scipy_later.py", "late.py", "remembered.py", "lighter.py", "arithmetic.py",
)  # fmt: skip


def numbers(version: str) -> tuple[int, int]:
    major, minor = re.match(r"(\d+)\.(\d+)", version).groups()  # type: ignore[union-attr]
    return int(major), int(minor)


def supported() -> tuple[str, str]:
    """(first version, first one that is not supported any more) of pyproject.toml."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (wanted,) = (needs for needs in project["dependencies"] if needs.startswith("numba"))
    low, high = re.fullmatch(r"numba>=([\d.]+),<([\d.]+)", wanted).groups()  # type: ignore[union-attr]
    return low, high


def range_problem(installed: str) -> str:
    low, high = supported()
    if numbers(low) <= numbers(installed) < numbers(high):
        return ""
    return (
        f"numba {installed} is installed, hostsim supports >={low},<{high} (pyproject.toml): it uses private names of "
        f"numba, see {PAGE.name}. Install a supported version, or try this one and widen the range"
    )


def test_the_installed_version_is_supported() -> None:
    assert range_problem(numba.__version__) == ""


@pytest.mark.parametrize(
    ("installed", "is_supported"), [("0.58.1", False), ("0.59.0", True), ("0.68.1", True), ("0.69.0", False)]
)
def test_a_version_outside_is_named(installed: str, is_supported: bool) -> None:
    assert (range_problem(installed) == "") == is_supported


@pytest.mark.parametrize("name", NAMES)
def test_the_installed_version_has_it(name: str) -> None:
    parts = name.split(".")
    found: Any = None
    for at in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:at]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[at:]:
            assert hasattr(found, attribute), f"numba {numba.__version__} has no {name}: {range_problem(numba.__version__)}"
            found = getattr(found, attribute)
        return
    pytest.fail(f"no module of numba {numba.__version__} holds {name}")


@pytest.mark.parametrize("file", FILES)
def test_the_page_lists_each_file_that_uses_private_names(file: str) -> None:
    assert f"| `{file}` |" in PAGE.read_text(encoding="utf-8")


@part
def twice(value: int) -> int:
    """Only compiled code calls it."""
    return 2 * value


@inlined
def thrice(value: int) -> int:
    """Only compiled code calls it."""
    return 3 * value


@jit
def both(value: int) -> int:
    """The sum of both."""
    return twice(value) + thrice(value)


def test_what_is_only_inlined_has_no_machine_code_and_refuses_python() -> None:
    assert both(7) == 35
    if numba.config.DISABLE_JIT:
        return
    for function in (twice, thrice):
        copies = list(function.overloads.values())
        assert len(copies) <= 1  # none where the machine code of ``both`` was read from disk
        assert all(isinstance(copy.library, codegen.JITCodeLibrary) for copy in copies)
        with pytest.raises(TypeError):
            function(7)


def pipeline(of: Any) -> list[Any]:
    """The passes of compiler class ``of``."""
    context, flags = cpu_target, compiler.Flags()
    (found,) = of(context.typing_context, context.target_context, None, (), None, flags, {}).define_pipelines()
    return [one for one, _ in found.passes]


@pytest.mark.parametrize("of", [LoopCompiler, LinkedCompiler])
def test_a_loop_is_compiled_by_all_passes_but_those_that_find_nothing(of: Any) -> None:
    whole, kept = pipeline(compiler.Compiler), pipeline(of)
    assert {one for one in whole if one not in kept} == NEEDLESS
    assert kept == [one for one in whole if one not in NEEDLESS]


@part
def four_times(value: int) -> int:
    """Only compiled code calls it."""
    return 4 * value


@jit
def of_all_kinds(words: NDArray[np.uint8]) -> int:
    """Calls with constants and with a short integer."""
    return four_times(3) + four_times(4) + four_times(words[0])


def test_constants_and_widths_share_a_copy() -> None:
    assert of_all_kinds(np.full(1, 5, np.uint8)) == 4 * (3 + 4 + 5)
    if not numba.config.DISABLE_JIT:
        assert len(four_times.overloads) <= 1  # none where the caller's machine code was read from disk


def test_scipy_is_left_until_a_loop_needs_a_blas(tmp_path: Path) -> None:
    """In a process of its own: hostsim's loops run without scipy.linalg, another author's np.dot then finds it."""
    program = """
import sys
import numpy as np
import hostsim
vm = {"memory": "1MiB", "workload": [{"pattern": "uniform", "write_rate": "10/s"}]}
hostsim.run(hostsim.Scenario.model_validate({"vm": vm, "link": {"bandwidth": "1Gbit/s"}}))
print("scipy.linalg" in sys.modules)
import numba
print(numba.njit(lambda a: np.dot(a, a))(np.ones(3)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["False", "3.0"]
