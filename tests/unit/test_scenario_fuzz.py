from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostsim.core.errors import InputError, Problem
from hostsim.kvm.interfaces import INTERFACES
from hostsim.scenario import Scenario, load_scenario, load_trace
from hostsim.scenario.complete import APPLIES
from hostsim.scenario.guest_schema import Vm, Workload
from hostsim.scenario.host_schema import Host, Link, Migration
from hostsim.scenario.kvm_schema import Mmu
from tests.unit.test_scenario_load import FULL

KEYS = sorted({*Scenario.model_fields, *Vm.model_fields, *Workload.model_fields, *Migration.model_fields,
               *Link.model_fields, *Host.model_fields, *Mmu.model_fields, *APPLIES, "workload", "nonsense"})  # fmt: skip
TEXTS = st.sampled_from(
    ["4GiB", "1MiB", "10Gbit/s", "300ms", "50000/s", "70%", "all", "0-3", "uniform", "hotcold", "trace", "open", "0",
     "unlimited", "", "-1B", "1e99B", "7.2", "nova", "t.csv", *INTERFACES]
)  # fmt: skip
LEAVES = st.one_of(TEXTS, st.text(max_size=8), st.integers(), st.floats(), st.booleans(), st.none())
KEY = st.sampled_from(KEYS) | st.text(max_size=6)
JSON_LIKE = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY, inner, max_size=5), max_leaves=25
)
MMU = st.fixed_dictionaries(
    {}, optional={
        "era": st.sampled_from(["E0", "E3", "E4", "5.10", "2.6.32", "7.0", "5", 5.1]),
        "costs": st.sampled_from(["haswell", "x"]),
        "mode": st.sampled_from(["tdp", "shadow"]), "page_size": st.sampled_from(["4KiB", "2MiB", "1GiB"]),
        "write_tracking": st.sampled_from(["pml", "d-bit", "write-protect"]), "eager_split": st.booleans(),
        "ring_entries": st.sampled_from([64, 128, 512, 1000, 65536]),
    },
)  # fmt: skip
TRACKED = {"memory": st.sampled_from(["3MiB", "1GiB"]), "dirty_tracking": st.sampled_from(INTERFACES)}
KVM = st.fixed_dictionaries(
    {"vm": st.fixed_dictionaries(TRACKED, optional={"mmu": MMU})}
)  # fmt: skip
SECTIONS = st.fixed_dictionaries(
    {"vm": st.fixed_dictionaries({"memory": TEXTS, "workload": st.lists(st.dictionaries(KEY, LEAVES), max_size=2)})},
    optional={"migration": st.dictionaries(KEY, LEAVES), "link": st.dictionaries(KEY, LEAVES), "host": JSON_LIKE},
)


def problems_of(load: Callable[[], object]) -> list[Problem]:
    """The problems that ``load`` reports; none if it loads. Any other error is the test's failure."""
    try:
        load()
    except InputError as error:
        return error.problems or [Problem("", "", "an InputError without problems", "")]
    return []


def check_explained(load: Callable[[], object]) -> None:
    """``load`` returns, or says in one line each what was wanted."""
    for problem in problems_of(load):
        assert problem.wanted
        assert "\n" not in str(problem)


def reload(data: object) -> None:
    """A scenario of ``data`` is the same scenario when made of what it resolves to."""
    resolved = Scenario.model_validate(data).resolved()
    assert Scenario.model_validate(resolved).resolved() == resolved


@settings(max_examples=300)
@given(JSON_LIKE | SECTIONS | KVM)
def test_any_mapping_loads_or_is_an_input_error(data: object) -> None:
    check_explained(lambda: reload(data))


@given(st.binary(max_size=200))
def test_any_bytes_load_or_are_an_input_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_bytes(content)
    check_explained(lambda: load_scenario(path))
    check_explained(lambda: load_trace(path))


@settings(max_examples=200)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_a_mutated_file_loads_or_is_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, seed: int, mutations: int
) -> None:
    draw = random.Random(seed)
    text = list(FULL)
    for _ in range(mutations):
        at = draw.randrange(len(text))
        text[at : at + draw.choice([0, 1, 5])] = draw.choice(["", "[", "]", '"', "\n", "=", "9", "-", "x", "é", "{", "nan"])
    path = tmp_path_factory.getbasetemp() / "mutated.toml"
    path.write_text("".join(text), encoding="utf-8")
    check_explained(lambda: load_scenario(path))


@settings(max_examples=200)
@given(st.lists(st.text(max_size=30) | st.builds("{}={}".format, KEY, TEXTS), max_size=3))
def test_any_override_loads_or_is_an_input_error(tmp_path_factory: pytest.TempPathFactory, overrides: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "whole.toml"
    path.write_text(FULL)
    check_explained(lambda: load_scenario(path, overrides))
