from __future__ import annotations

import math
import re
import tomllib
from importlib.resources import files
from math import log2
from typing import Any

import numpy as np
import pytest

from hostsim.core.errors import InputError
from hostsim.costs import costs, exits
from hostsim.costs.cost_rules import RULES, Rule, exclusive_base_ns
from hostsim.costs.costs import CostSheet, flush_ns, load_costs, log_costs, sheet_names
from hostsim.costs.era import load_era
from hostsim.costs.exit_costs import caches_at, crowd_table_ns, exit_costs, handover_ns, queue_table_ns, readers_hold_ns

SHEETS = ("arm64-jing", "cascade-lake", "haswell", "nehalem-2010", "skylake", "zen4-pvm")
UNIT = re.compile(r"_(ns|bytes|share|ratio|vcpus|flushes|regions|entries|lines|sockets)$")
PAGES = 262_144
"""4 KiB pages of 1 GiB."""


@pytest.fixture
def cascade() -> CostSheet:
    return load_costs("cascade-lake")


def entries(sheet: str) -> dict[str, dict[str, Any]]:
    text = (files("hostsim") / "data" / "costs" / f"{sheet}.toml").read_text(encoding="utf-8")
    return {key: entry for key, entry in tomllib.loads(text).items() if isinstance(entry, dict)}


def test_the_sheets_there_are() -> None:
    assert sheet_names() == SHEETS


@pytest.mark.parametrize("sheet", SHEETS)
def test_every_number_has_unit_and_source(sheet: str) -> None:
    for number in load_costs(sheet).numbers.values():
        assert UNIT.search(number.name), number.name
        assert len(number.source) > 5, number.name
        assert math.isfinite(number.value), number.name
        assert number.value >= 0, number.name


@pytest.mark.parametrize("sheet", SHEETS)
def test_an_entry_is_a_value_a_total_a_rule_or_another_sheets(sheet: str) -> None:
    shapes = {frozenset({"value"}), frozenset({"total", "count"}), frozenset({"rule"}), frozenset({"as"})}
    for key, entry in entries(sheet).items():
        assert frozenset(entry) - {"source", "fitted_on"} in shapes, key
        assert ("rule" in entry) <= (entry.get("rule") in RULES), key
        assert not ("rule" in entry and "fitted_on" in entry), f"{key}: its rows are those of its inputs"


@pytest.mark.parametrize("sheet", SHEETS)
def test_a_number_taken_from_a_published_row_names_it(sheet: str) -> None:
    for key, entry in entries(sheet).items():
        row = re.match(r"(K\d+b?)(:| with)", entry.get("source", ""))
        if row and ("total" in entry or ("value" in entry and key.endswith("_ns") and entry["value"])):
            assert [set_on.split()[0] for set_on in entry["fitted_on"]] == [row.group(1)], key


@pytest.mark.parametrize("sheet", SHEETS)
def test_derived_numbers_are_recomputed_from_their_inputs(sheet: str) -> None:
    numbers, derived = load_costs(sheet).numbers, 0
    for key, entry in entries(sheet).items():
        if "rule" in entry:
            rule = RULES[entry["rule"]]
            inputs = [costs.number(sheet, name) for name in rule.inputs]
            assert numbers[key].value == rule.compute(*(used.value for used in inputs))
            assert set(numbers[key].fitted_on) == {row for used in inputs for row in used.fitted_on}
            derived += 1
    assert derived >= 2


def by_its_formula(formula: str, inputs: dict[str, float]) -> float:
    """What the text says: an expression, perhaps with ", X = expression" behind it, each of which may use those before."""
    what, *meanings = re.split(r", ([A-Z]) = ", formula)
    known = {**inputs, "log2": math.log2, "max": max}
    for letter, meaning in zip(meanings[::2], meanings[1::2], strict=True):
        known[letter] = eval(meaning, {"__builtins__": {}}, known)  # noqa: S307
    return float(eval(what, {"__builtins__": {}}, known))  # noqa: S307


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_computes_what_its_formula_says(rule: Rule) -> None:
    vcpus = {"few_vcpus": 1.0, "many_vcpus": 10.0, "shared_vcpus": 11.0}
    inputs = {name: vcpus.get(name, 9_000.0 * 0.3**n) for n, name in enumerate(rule.inputs)}
    assert rule.compute(*inputs.values()) == pytest.approx(by_its_formula(rule.formula, inputs))


def test_every_rule_is_used() -> None:
    assert {entry["rule"] for sheet in SHEETS for entry in entries(sheet).values() if "rule" in entry} == set(RULES)


def test_what_another_sheet_lends_is_assumed_and_keeps_its_rows() -> None:
    lent, own = load_costs("haswell").numbers["lockless_hold_ns"], load_costs("cascade-lake").numbers["lockless_hold_ns"]
    assert lent.assumed
    assert not own.assumed
    assert (lent.value, lent.fitted_on, lent.rests_on) == (own.value, own.fitted_on, own.rests_on)


def test_assumed_inputs_are_named(cascade: CostSheet) -> None:
    assert set(cascade.numbers["exit_ns"].rests_on) == {"round_trip_ns", "exit_share"}
    assert load_costs("nehalem-2010").numbers["exit_ns"].rests_on == ("exit_share",)
    assert cascade.numbers["eager_split_ns"].rests_on == ()


def outside_ns(sheet: CostSheet) -> float:
    return sheet.loop_ns + sheet.exit_ns + sheet.entry_ns


def test_k1_lockless_fault(cascade: CostSheet) -> None:
    assert outside_ns(cascade) + cascade.lockless_hold_ns == pytest.approx(0.315e9 / PAGES)


def test_k1_turns_of_the_lock_word_fill_a_pass_of_64_readers_on_56_cores(cascade: CostSheet) -> None:
    hold_ns = 3.545e9 / PAGES - outside_ns(cascade)
    readers = 1 + 63 * hold_ns / (3.545e9 / PAGES)
    cores = readers - 8 * readers * (readers - 1) / (64 * 63)
    assert cascade.shared_turn_ns * cores == pytest.approx(hold_ns)


def test_k3_and_k4_with_2_vcpus(cascade: CostSheet) -> None:
    holds = {0.3466e9: cascade.exclusive_base_ns, 0.3692e9: cascade.exclusive_map_ns, 0.326e9: cascade.direct_map_ns}
    for pass_ns, hold_ns in holds.items():
        assert outside_ns(cascade) + hold_ns == pytest.approx(pass_ns / PAGES)
    assert cascade.direct_wp_ns < cascade.direct_map_ns < cascade.exclusive_map_ns


SATURATED = {
    "exclusive_base_ns": [
        (1.4338, 8, 1), (3.4242, 16, 1), (8.1429, 32, 1), (19.3421, 64, 1),
        (0.0641, 8, 20), (0.1315, 16, 20), (0.4221, 32, 20), (0.9849, 64, 20),
    ],
    "exclusive_map_ns": [(1.6056, 8, 1), (3.4998, 16, 1), (9.2190, 32, 1), (20.8761, 64, 1)],
    "direct_map_ns": [(1.392, 8, 1), (2.891, 16, 1), (7.0775, 32, 1), (17.9071, 64, 1)],
}  # fmt: skip
"""Passes of K3 and K4 in which mmu_lock is never free, by the hold of the fault: seconds, vCPUs, one write of so many."""


def test_the_hand_over_between_sockets_is_where_the_errors_of_sixteen_rows_are_least(cascade: CostSheet) -> None:
    def squares(doubling_ns: float) -> float:
        return sum(
            ((getattr(cascade, hold) + doubling_ns * log2(n / 4)) / (took_s * 1e9 / (-(-PAGES // every) * n)) - 1) ** 2
            for hold, rows in SATURATED.items() for took_s, n, every in rows
        )  # fmt: skip

    best_ns = cascade.handover_ns
    assert squares(best_ns) < min(squares(best_ns - 1), squares(best_ns + 1))
    assert squares(best_ns) / 16 < 0.1**2


def test_a_hand_over_grows_without_a_step(cascade: CostSheet) -> None:
    added = [handover_ns(cascade, n) for n in range(1, 257)]
    assert added[:4] == [0.0] * 4
    assert added[7] == pytest.approx(cascade.handover_ns)
    steps = np.diff(added)
    assert np.all(steps >= 0)
    assert max(steps) < 0.15 * cascade.direct_map_ns


def test_k2_two_constants() -> None:
    sheet = load_costs("arm64-jing")
    assert sheet.direct_wp_ns == pytest.approx(1221.7, abs=0.1)
    assert outside_ns(sheet) == pytest.approx(544.5, abs=0.1)


@pytest.mark.parametrize(
    ("sheet", "name", "value"),
    [
        ("cascade-lake", "eager_split_ns", 25_989), ("cascade-lake", "clear_rmap_ns", 30.64),
        ("cascade-lake", "clear_tree_cmpxchg_ns", 74.91), ("cascade-lake", "clear_tree_atomic_ns", 42.72),
        ("skylake", "protect_page_ns", 13.71), ("skylake", "initially_set_ratio", 10 / 460),
        ("haswell", "recover_region_ns", 36_541), ("haswell", "flush_thread_ns", 67.5),
        ("nehalem-2010", "round_trip_ns", 682.6),
    ],
)  # fmt: skip
def test_published_arithmetic(sheet: str, name: str, value: float) -> None:
    assert load_costs(sheet).numbers[name].value == pytest.approx(value, rel=1e-3)


def test_k6_and_k7_flushes() -> None:
    sheet = load_costs("haswell")
    assert flush_ns(sheet, 64, n_vcpus=64) == pytest.approx(72_819, abs=1)
    assert flush_ns(sheet, 0, n_vcpus=96) == 661 + 95 * (2 * sheet.atomic_ns + sheet.visit_ns)
    assert [flush_ns(sheet, n, in_guest_mode=False) for n in (0, 1, 3)] == [661, 1436, 1571]
    assert flush_ns(sheet, 1) == flush_ns(sheet, 1, in_guest_mode=False)


@pytest.mark.parametrize(("era", "published_ns"), [("E4", 283), ("E6", 263)])
def test_k11_a_page_logged_by_the_processor(era: str, published_ns: int) -> None:
    sheet = load_costs("skylake")
    found = exit_costs(sheet, load_era(era), pml=True)
    full_ns = found.exit_ns + found.pml_drain_ns + found.entry_ns
    assert sheet.loop_ns + found.pml_ns + full_ns / 512 == pytest.approx(published_ns, abs=0.01)


def test_a_lock_without_room_does_not_give_its_service() -> None:
    assert exclusive_base_ns(1000.0, 2, 400.0, 100.0, 100.0) == 400.0
    with pytest.raises(AssertionError, match="saturated"):
        exclusive_base_ns(1000.0, 2, 300.0, 100.0, 100.0)


def test_kinds_and_modes_stand_in_the_engines_order() -> None:
    assert [getattr(exits, key.upper()) for key in exits.COST_KEYS] == list(range(exits.N_KINDS))
    assert [getattr(exits, mode.upper()) for mode in costs.MODES] == [0, 1, 2]


@pytest.mark.parametrize("sheet", SHEETS)
@pytest.mark.parametrize("mmu", ["tdp", "direct", "shadow"])
@pytest.mark.parametrize("era", ["E0", "E2", "E4", "E6"])
def test_the_engine_takes_them(sheet: str, era: str, mmu: str) -> None:
    taken = exit_costs(load_costs(sheet), load_era(era), mmu, n_vcpus=8)
    locks = load_era(era).locks(mmu)
    assert [costs.MODES[taken.mode[kind]] for kind in (exits.MAP, exits.TRACK, exits.WP, exits.SPLIT)] == [
        locks.map, locks.track, locks.wp, locks.split,
    ]  # fmt: skip
    assert taken.queue_ns.shape == (3, 8)
    assert min(taken.exit_ns, taken.entry_ns, taken.spurious_ns, taken.hold_ns.min()) >= 1
    assert taken.hold_ns[exits.SPLIT] > taken.hold_ns[exits.MAP]


def test_what_others_at_the_lock_add(cascade: CostSheet) -> None:
    none, shared, exclusive = queue_table_ns(cascade, 72, 64)
    assert none.sum() == 0
    assert set(exclusive[1:]) == {round(4 * cascade.handover_ns)}
    assert exclusive[0] == shared[0] == 0
    assert queue_table_ns(cascade, 12, 4)[2].sum() == 0
    alone, turn = cascade.shared_hold_ns, cascade.shared_turn_ns
    assert np.all(np.diff(shared[:60]) > 0)
    assert shared[63] == round(turn * 56 - alone)


def test_readers_slow_each_other_down_before_the_lock_word_is_saturated() -> None:
    holds = readers_hold_ns(1000.0, 100.0, 40)
    assert holds[0] == 1000.0
    assert holds[1] == pytest.approx(1000.0 + 100 * (0.1 - 0.05))
    assert 1000 < holds[7] < holds[9] < 1.6 * 1000
    assert holds[39] == pytest.approx(4000.0, rel=0.01)
    assert readers_hold_ns(1000.0, 0.0, 3).tolist() == [1000.0] * 3


def test_those_who_populate_memory_wait_for_its_shared_lines(cascade: CostSheet) -> None:
    a_turn_ns = cascade.populate_lines * cascade.shared_turn_ns / 2
    assert crowd_table_ns(cascade, 4).tolist() == [round(a_turn_ns * k) for k in range(4)]


def test_vcpus_of_two_sockets_share_fewer_lines(cascade: CostSheet) -> None:
    one_line_ns = cascade.shared_turn_ns / 2
    assert crowd_table_ns(cascade, 8)[2] == round((cascade.populate_lines - 0.5) * one_line_ns * 2)


def test_a_line_goes_round_among_cores(cascade: CostSheet) -> None:
    assert caches_at(cascade, 56, 56).tolist() == list(range(56))
    assert caches_at(cascade, 112, 112)[[0, 1, 111]].tolist() == pytest.approx([0, 1 - 1 / 111, 55])
    assert caches_at(cascade, 72, 64)[71] == pytest.approx(55 + 8), "threads of the host have caches of their own"
    assert caches_at(cascade, 208, 208)[207] == pytest.approx(103), "a host with so many threads has more cores"
    assert np.all(np.diff(caches_at(cascade, 90, 80)) >= 0)
    assert caches_at(load_costs("arm64-jing"), 200, 200).tolist() == list(range(200)), "a core has one thread"


def test_a_fault_of_the_tdp_mmu_looks_its_page_up_before_it_takes_the_lock(cascade: CostSheet) -> None:
    costs = exit_costs(cascade, load_era("E4"), n_vcpus=2)
    assert costs.before_ns[exits.MAP] + costs.hold_ns[exits.MAP] == pytest.approx(cascade.map_hold_ns, abs=1)
    assert costs.hold_ns[exits.MAP] == round(cascade.direct_map_ns)
    assert costs.before_ns[[exits.WP, exits.TRACK]].tolist() == [0, 0]
    assert exit_costs(cascade, load_era("E4"), "shadow", n_vcpus=2).before_ns.sum() == 0


def test_a_borrowed_part_of_a_fault_is_scaled_to_the_machine(cascade: CostSheet) -> None:
    arm = load_costs("arm64-jing")
    lent = arm.numbers["map_hold_ns"]
    assert lent.assumed
    assert lent.value / cascade.map_hold_ns == pytest.approx(arm.shared_hold_ns / cascade.shared_hold_ns)
    assert "scaled by shared_hold_ns" in lent.source


def test_a_fault_that_comes_alone_costs_more_where_that_was_measured(cascade: CostSheet) -> None:
    near_ns, far_ns = exit_costs(load_costs("zen4-pvm"), load_era("E6"), "shadow").lone_ns
    assert (near_ns, far_ns) == (457, 2000)
    assert exit_costs(cascade, load_era("E6")).lone_ns.tolist() == [0, 0]


def test_a_fault_far_from_the_one_before_costs_more_where_that_was_measured(cascade: CostSheet) -> None:
    assert exit_costs(load_costs("zen4-pvm"), load_era("E6"), "shadow").scattered_ns == 269
    assert exit_costs(cascade, load_era("E6")).scattered_ns == 0


def test_seven_prefetched_sptes_are_what_a_pass_without_a_log_takes_more_than_a_fault(cascade: CostSheet) -> None:
    zen4 = load_costs("zen4-pvm")
    assert zen4.prefetch_spte_ns == pytest.approx((8 * (563.8 - 11.57) - (2547 - 11.57)) / 7)
    assert exit_costs(zen4, load_era("E6"), "shadow").prefetch_ns == 269
    assert cascade.prefetch_spte_ns == zen4.prefetch_spte_ns
    assert cascade.numbers["prefetch_spte_ns"].assumed
    assert not zen4.numbers["prefetch_spte_ns"].assumed


def test_a_page_that_no_vm_has_mapped_costs_more_in_the_fault_and_beside_it() -> None:
    sheet, more_ns = load_costs("zen4-pvm"), round(982.1 - 563.8)
    assert round(sheet.measured_ns("first_map_ns")) == more_ns
    again = exit_costs(sheet, load_era("E6"), "shadow")
    first = again.of_new_pages(more_ns)
    assert first.prefetch_ns - again.prefetch_ns == more_ns
    added = first.hold_ns - again.hold_ns
    assert (added[exits.MAP], added[exits.WP], added[exits.SPLIT]) == (more_ns, 0, 0)


@pytest.mark.parametrize(
    ("era", "mmu", "name"),
    [
        ("E0", "tdp", "clear_rmap_ns"), ("E4", "tdp", "clear_tree_cmpxchg_ns"), ("E5", "tdp", "clear_tree_atomic_ns"),
        ("E5", "shadow", "clear_rmap_ns"), ("E4", "direct", "clear_rmap_ns"),
    ],
)  # fmt: skip
def test_clear_goes_the_eras_way(cascade: CostSheet, era: str, mmu: str, name: str) -> None:
    assert log_costs(cascade, load_era(era), mmu).clear_ns == getattr(cascade, name)


def test_costs_of_a_log(cascade: CostSheet) -> None:
    found = log_costs(cascade, load_era("E4"))
    assert found.all_set_ns == pytest.approx(found.protect_ns * 10 / 460)
    assert found.flush_ns + found.first_ipi_ns + 63 * found.more_ipi_ns == flush_ns(cascade, 64)
    assert found.remote_flush_ns(64, 64) == flush_ns(cascade, 64, n_vcpus=64)


@pytest.mark.parametrize("sheet", ["arm64-jing", "haswell", "nehalem-2010"])
def test_no_pml_where_the_machine_has_none(sheet: str) -> None:
    found = load_costs(sheet)
    assert not found.has_pml
    assert exit_costs(found, load_era("E4")).pml_drain_ns == 0
    with pytest.raises(InputError, match="cascade-lake, skylake"):
        exit_costs(found, load_era("E4"), pml=True)


def test_rows_that_are_no_prediction() -> None:
    assert {"K1 wp/shared", "K1 wp/lockless", "K3 on/2", "K3 on/16"} <= load_costs("cascade-lake").fitted_on()
    assert not {"K3 on/4", "K4 off/4", "K8 none/2", "K1 track/shared"} & load_costs("cascade-lake").fitted_on()


@pytest.mark.parametrize(
    ("name", "wanted"), [("cascade", "'cascade-lake'"), ("Haswel", "'haswell'"), ("xeon", "one of arm64")]
)
def test_an_unknown_sheet_names_the_nearest(name: str, wanted: str) -> None:
    with pytest.raises(InputError) as caught:
        load_costs(name)
    (problem,) = caught.value.problems
    assert problem.key == "sheet"
    assert problem.wanted.startswith(wanted)


def test_an_unknown_mmu_is_refused(cascade: CostSheet) -> None:
    for build in (exit_costs, log_costs):
        with pytest.raises(InputError, match="mmu"):
            build(cascade, load_era("E4"), "npt")
