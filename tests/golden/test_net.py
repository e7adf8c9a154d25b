"""No result moves unseen. ``python -m tests.golden.test_net`` writes net.json anew; the changelog then says what moved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.golden.net_cases import cases, small_cases
from tests.golden.net_digest import kept_of
from tests.helpers.plain import plain_output

PATH = Path(__file__).with_name("net.json")
CASES = cases()
WRITE = "python -m tests.golden.test_net keeps the results of today; a moved hash needs a line under Model in CHANGELOG.md"
PLAIN = "import json; from tests.golden.test_net import small_now; print(json.dumps(small_now()))"


@pytest.fixture(scope="module")
def kept() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(PATH.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_result_is_what_it_was(name: str, kept: dict[str, dict[str, str]]) -> None:
    assert kept_of(CASES[name]) == kept.get(name), f"a result has moved, or the case is new: {WRITE}"


def test_every_result_kept_has_its_case(kept: dict[str, dict[str, str]]) -> None:
    assert list(kept) == list(CASES), f"cases of net_cases.py came or went: {WRITE}"


def test_small_cases_are_the_same_without_the_jit(kept: dict[str, dict[str, str]]) -> None:
    assert json.loads(plain_output("tests.helpers.evaluate", PLAIN)) == {name: kept[name] for name in small_cases()}


def test_a_hash_sees_a_figure_that_moved() -> None:
    """Two seeds differ in every part that depends on draws: the hash is no constant."""
    case = CASES["small get-dirty-log"]
    assert kept_of(case)["run"] != kept_of({**case, "seed": case["seed"] + 1})["run"]


def small_now() -> dict[str, dict[str, str]]:
    """The hashes of the small cases in this process."""
    return {name: kept_of(case) for name, case in small_cases().items()}


if __name__ == "__main__":
    text = json.dumps({name: kept_of(case) for name, case in CASES.items()}, indent=1)
    PATH.write_text(f"{text}\n", encoding="utf-8")
