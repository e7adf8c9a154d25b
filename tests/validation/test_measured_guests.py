"""Guests of measured cases that rest, move on, fill zero pages or have more than one vCPU."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hostsim.core.memory import make_memory
from hostsim.validation.qemu.cases import Case, third_cases
from hostsim.validation.qemu.guest import blocks_of, workloads_of

MS = 1_000_000


def case_of(name: str, **inputs: Any) -> Case:
    case = next(case for case in third_cases() if case.id == f"third_{name}")
    return replace(case, inputs={**case.inputs, **inputs})


def test_a_guest_that_rests_has_turns_that_began_before_migrate() -> None:
    case = case_of("phases_rand")
    repeat = {**case.repeats[0], "phase_ms": 600.0}
    *_, writer = workloads_of(case, repeat)
    assert writer.active is not None
    assert (writer.active.start_ns, writer.active.length_ns, writer.active.period_ns) == (-600 * MS, 1500 * MS, 2400 * MS)


def test_working_sets_are_written_in_turn_and_lie_one_behind_the_other() -> None:
    case = case_of("shift_rand")
    loads = [load for load in workloads_of(case, {**case.repeats[0], "phase_ms": 0.0}) if load.name.startswith("writer")]
    assert [load.first_gfn - loads[0].first_gfn for load in loads] == [0, 4000, 8000, 12_000]
    assert [load.active.start_ns for load in loads if load.active] == [0, 900 * MS, 1800 * MS, 2700 * MS]
    assert {load.active.period_ns for load in loads if load.active} == {3600 * MS}


def test_a_sweep_that_rests_begins_at_the_page_that_was_read() -> None:
    case = case_of("v10_phases_seq")
    repeat = {**case.repeats[0], "seq0": 0, "writes_at_start": 9000, "write_rate_before": 18_000.0, "phase_ms": 500.0}
    *_, writer = workloads_of(case, repeat)
    assert writer.start_page == 9000, "its clock stands at 0 when `migrate` is issued"
    assert writer.host_windows == (-500 * MS, 800 * MS, 2500 * MS)


def test_pages_that_the_guest_has_written_are_not_zero_in_an_unfilled_working_set() -> None:
    case = case_of("fills_zeros_seq")
    first, fill = int(case.inputs["ws_start_page"]), int(case.inputs["cold_fill_pages"])
    memory = make_memory(blocks_of(case, {**case.repeats[0], "seq0": 10, "writes_at_start": 300}))
    assert np.flatnonzero(memory.zero[first : first + 40_000] == 0).tolist() == list(range(10, 310))
    assert int(np.count_nonzero(memory.zero == 0)) == int(case.inputs["nonzero_pages"]) + 300
    assert not memory.zero[1024 : 1024 + fill].any()


def test_a_filled_working_set_counts_all_of_its_parts() -> None:
    case = case_of("shift_rand")
    memory = make_memory(blocks_of(case, case.repeats[0]))
    assert int(np.count_nonzero(memory.zero == 0)) == int(case.inputs["nonzero_pages"])


def test_all_vcpus_write_the_working_set() -> None:
    case = case_of("vcpus3_ring2048_rand")
    *_, writer = workloads_of(case, case.repeats[0])
    assert writer.vcpus == (0, 1, 2)
    assert writer.write_rate_per_s == case.repeats[0]["write_rate_before"]
