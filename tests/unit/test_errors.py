from __future__ import annotations

import re

from hostsim.core.errors import HostsimError, InputError, InvariantError, MissingExtraError, Problem


def test_a_problem_is_one_line() -> None:
    problem = Problem("a.toml", "vm.memory", "5", "a size", 'memory = "4GiB"')
    assert str(problem) == 'a.toml: vm.memory: got 5, wanted a size; example: memory = "4GiB"'
    assert str(Problem("a.toml", "", "x", "y")) == "a.toml: got x, wanted y"
    assert str(Problem("a.toml", "\n\x1b[31m", "\u2028", "y")) == r"a.toml: \n\x1b[31m: got \u2028, wanted y"


def test_an_input_error_lists_all_problems_up_to_a_bound() -> None:
    error = InputError(Problem("f", f"k{i}", "x", "y") for i in range(60))
    assert len(error.problems) == 60
    assert len(str(error).splitlines()) == 51
    assert str(error).endswith("and 10 more")


def test_exit_codes() -> None:
    assert (HostsimError.exit_code, InputError.exit_code, InvariantError.exit_code) == (2, 2, 3)


def test_a_missing_extra_names_the_command() -> None:
    told = str(MissingExtraError("pyarrow", "report"))
    assert re.search(r"pip install .*'matplotlib>=[\d.]+' 'pyarrow>=", told)
