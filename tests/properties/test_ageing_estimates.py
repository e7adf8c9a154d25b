"""An estimate of a working set counts pages: it is never above the guest's, and its errors add up."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostsim.core.errors import InvariantError
from hostsim.machine.machine import Machine
from hostsim.memory.policies.protocol import AgeingPolicy, check_estimate, held_in_use
from hostsim.memory.policies.registry import SAMPLES_A_PERIOD, policy_names, policy_of
from hostsim.scenario import Scenario
from hostsim.scenario.build import build
from hostsim.study.ageing.guest import UNDER, AgedGuest, Load
from hostsim.study.ageing.measure import Truth
from hostsim.study.ageing.preset import age_plan
from hostsim.theory.far_memory import AgeHistograms
from tests.helpers.aged import SMALL, aged_figures

CASES = st.fixed_dictionaries({
    "policy": st.sampled_from(policy_names("age")),
    "vcpus": st.sampled_from(["1", "2", "3", "8"]),
    "mem_per_vcpu": st.sampled_from(["1MiB", "1028KiB"]),
    "era": st.sampled_from(["E0b", "E4", "E6"]),
    "a_bits": st.booleans(),
    "under": st.sampled_from(UNDER),
    "load": st.sampled_from(["uniform", "zipf:0.9"]),
    "rate": st.sampled_from(["5k/s", "400k/s"]),
    "period": st.sampled_from(["1ms", "20ms"]),
    "passes": st.sampled_from([2, 5]),
})  # fmt: skip


@given(case=CASES, seed=st.integers(1, 1000))
@settings(max_examples=25, deadline=None)
def test_no_estimate_is_above_the_guests_pages(case: dict[str, Any], seed: int) -> None:
    found, n_pages = aged_figures(seed, **case), age_plan(replace(SMALL, **case)).scenario(0).vm.memory_pages
    assert 0 <= found["young_pages"] <= found["working_set_pages"] <= n_pages
    assert found["false_young_pages"] <= found["working_set_pages"] + 1e-6
    error = found["working_set_pages"] - found["used_pages"]
    assert found["false_young_pages"] - found["false_old_pages"] == pytest.approx(error, abs=1e-6)


@given(
    name=st.sampled_from(policy_names("age")), era=st.sampled_from(["E4", "E6"]), n_pages=st.integers(1, 700),
    seed=st.integers(0, 99), share=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_policy_takes_no_page_for_used_twice(name: str, era: str, n_pages: int, seed: int, share: float) -> None:
    """Pages are touched again between the questions of a pass, as a guest does that is not stopped for it."""
    passes = policy_of(name, era, "age").passes
    assert passes is not None
    policy = passes.make(n_pages, seed)
    policy.insert(np.arange(n_pages))
    draw, seen = np.random.default_rng(seed), AgeHistograms(n_pages, 4)
    for _ in range(2 * SAMPLES_A_PERIOD):
        young = (draw.random(n_pages) < share).astype(np.uint8)
        found = _pass(policy, young.copy())
        check_estimate(len(found), n_pages, "pages")
        check_estimate(len(found | set(held_in_use(policy).tolist())), n_pages, "pages")
        seen.note(young)
    assert 0 <= seen.working_set <= n_pages
    assert seen.promoted.max() <= seen.young


def _pass(policy: AgeingPolicy, young: np.ndarray[Any, Any]) -> set[int]:
    """Distinct pages that one step asked about and that were young."""
    before = young.copy()
    return {page for page in policy.age(young).asked.tolist() if before[page]}


BUSY = AgedGuest(
    2, 256, "touching", Load(0.0, Fraction(1_000_000)),
    {"era": "E4", "costs": "cascade-lake", "index": "measured", "a_bits": False}, 2_000_000, 8,
)  # fmt: skip
"""Each page is touched several times a pass, and the two lists ask for many twice."""


def busy() -> tuple[Machine, Truth]:
    machine = Machine(build(Scenario.model_validate(BUSY.table("two-list"))))
    truth = Truth(machine)
    machine.run()
    return machine, truth


def test_a_page_that_is_young_twice_in_a_pass_is_one_page() -> None:
    machine, truth = busy()
    passes, found = machine.daemons[0].passes, truth.figures()
    assert len(passes) == 8
    n_young = sum(done.young for done in passes)
    assert machine.notifiers[0].young > n_young, "calls that find a page young are more than pages"
    assert all(done.young <= done.asked <= 512 for done in passes)
    assert any(done.asked < done.calls for done in passes), "pages were asked for twice"
    assert found["working_set_pages"] <= 512
    assert found["working_set_pages"] == pytest.approx(found["used_pages"], rel=0.1)


def test_an_estimate_of_calls_is_found() -> None:
    machine, _ = busy()
    truth, (first, second, *_) = Truth(machine), machine.daemons[0].passes
    truth.note(first, np.empty(0, np.int64))
    with pytest.raises(InvariantError, match="pages are taken for used, of 512 pages of the guest"):
        truth.note(replace(second, young=2 * 512), np.empty(0, np.int64))


def test_a_pass_that_counts_more_young_pages_than_it_asked_for_is_found() -> None:
    check_estimate(4.0, 4, "pages")
    with pytest.raises(InvariantError, match="5 pages are taken for used, of 4 pages"):
        check_estimate(5, 4, "pages")
