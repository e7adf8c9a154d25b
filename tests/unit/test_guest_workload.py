from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from hostsim.guest import touch
from hostsim.guest.popularity import scatter_step, zipf_shares
from hostsim.guest.workload import TouchTrace, Workload, build_guest, part_sizes

UNIFORM = Workload("load", "uniform", (0, 1, 2), 10, 90, Fraction(900))


def column(loads: list[Workload], field: int) -> list[int]:
    return build_guest(loads, 1).table.ints[:, field].tolist()


def test_a_shared_region_is_one_class_whatever_the_number_of_vcpus() -> None:
    assert column([UNIFORM], touch.CLOCK_COUNT) == [3]
    assert column([UNIFORM], touch.N_PAGES) == [90]


def test_a_split_region_is_one_class_a_vcpu() -> None:
    split = replace(UNIFORM, split=True)
    assert column([split], touch.FIRST_GFN) == [10, 40, 70]
    assert column([split], touch.N_PAGES) == [30, 30, 30]
    assert column([split], touch.CLOCK_FIRST) == [0, 1, 2]


SWEEP = replace(UNIFORM, pattern="sequential", start_page=80)


def test_sweeps_of_a_shared_region_begin_where_the_seed_says() -> None:
    starts = [build_guest([SWEEP], seed).table.ints[:, touch.START_PAGE].tolist() for seed in range(200)]
    assert {first for first, *_ in starts} == {80}
    others = np.array([one for _, *rest in starts for one in rest])
    assert (others.min(), others.max()) == (0, 89)
    assert abs(others.mean() - 44.5) < 4 * np.sqrt(90**2 / 12 / len(others))


def test_reads_and_writes_of_a_sweep_stand_at_the_same_page() -> None:
    starts = column([replace(SWEEP, read_rate_per_s=Fraction(5))], touch.START_PAGE)
    assert starts[:3] == starts[3:]


def test_strided_sweeps_of_a_shared_region_meet_the_same_pages() -> None:
    starts = column([replace(SWEEP, pattern="strided", stride_pages=6, start_page=1)], touch.START_PAGE)
    assert {start % 6 for start in starts} == {1}
    assert len(set(starts)) == 3


@pytest.mark.parametrize(
    ("n_pages", "stride", "sizes"),
    [(90, 1, (30, 30, 30)), (92, 1, (31, 31, 30)), (3, 1, (1, 1, 1)), (96, 6, (36, 30, 30)), (97, 6, (33, 32, 32)),
     (12, 6, (4, 4, 4))],
)  # fmt: skip
def test_parts_are_dealt_out_as_a_static_schedule_does(n_pages: int, stride: int, sizes: tuple[int, ...]) -> None:
    load = replace(SWEEP, pattern="strided", n_pages=n_pages, stride_pages=stride, start_page=0, split=True)
    assert part_sizes(load) == sizes
    table = build_guest([load], 1).table.ints
    assert table[:, touch.FIRST_GFN].tolist() == [10, 10 + sizes[0], 10 + sizes[0] + sizes[1]]
    assert table[:, touch.START_PAGE].tolist() == [0, 0, 0]


def test_reads_are_classes_that_arm_nothing() -> None:
    reads = replace(UNIFORM, write_rate_per_s=Fraction(0), read_rate_per_s=Fraction(5))
    guest = build_guest([reads], 1)
    assert guest.table.ints[:, touch.IS_WRITE].tolist() == [0]
    assert (guest.pending_size, guest.paced_size) == (0, 0)


def test_an_idle_workload_has_clocks_and_no_class() -> None:
    guest = build_guest([replace(UNIFORM, pattern="idle")], 1)
    assert len(guest.table.ints) == 0
    assert guest.clock_vcpu.tolist() == [0, 1, 2]


def test_slots_of_classes_do_not_overlap() -> None:
    loads = [replace(UNIFORM, name=f"load-{i}", arrivals="poisson", n_pages=20 + i) for i in range(4)]
    guest = build_guest(loads, 1)
    offsets, sizes = (guest.table.ints[:, field] for field in (touch.OFFSET, touch.N_PAGES))
    assert offsets.tolist() == [0, *np.cumsum(sizes)[:-1].tolist()]
    assert guest.pending_size == sizes.sum()


def test_draws_are_keyed_by_name_and_not_by_position() -> None:
    other = replace(UNIFORM, name="other")
    alone = column([UNIFORM], touch.KEY0)
    assert column([other, UNIFORM], touch.KEY0)[1:] == alone
    assert column([other], touch.KEY0) != alone


def test_hot_and_cold_pages_share_the_rate_as_stated() -> None:
    load = replace(UNIFORM, pattern="hotcold", arrivals="poisson", hot_pages=9, hot_share=0.75)
    table = build_guest([load], 1).table
    sizes = table.ints[:, touch.N_PAGES]
    per_class = sizes / table.mean_ns * 3e9
    assert sizes.tolist() == [9, 81]
    assert per_class == pytest.approx([675.0, 225.0])


def test_a_trace_is_one_class_a_vcpu_and_kind_that_spans_its_pages() -> None:
    trace = TouchTrace(
        np.array([5, 1, 9, 7], np.int64), np.array([0, 0, 1, 0], np.int32), np.array([12, 20, 15, 12], np.int64),
        np.array([True, True, True, False]),
    )  # fmt: skip
    load = replace(UNIFORM, pattern="trace", trace=trace)
    assert column([load], touch.FIRST_GFN) == [12, 12, 15]
    assert column([load], touch.N_PAGES) == [9, 1, 1]
    assert column([load], touch.IS_WRITE) == [1, 0, 1]
    assert build_guest([load], 1).table.trace_ns.tolist() == [5, 1, 7, 9]


def test_tables_are_read_only() -> None:
    assert not any(array.flags.writeable for array in build_guest([UNIFORM], 1).table)


@pytest.mark.parametrize("n_pages", [1, 2, 3, 10, 997, 4096])
def test_zipf_shares_sum_to_one_and_scatter_moves_every_rank(n_pages: int) -> None:
    ranked, scattered = zipf_shares(n_pages, 0.9, scatter=False), zipf_shares(n_pages, 0.9)
    step = scatter_step(n_pages)
    assert ranked.sum() == pytest.approx(1.0)
    assert ranked[0] / ranked[-1] == pytest.approx(n_pages**0.9)
    assert scattered[np.arange(n_pages) * step % n_pages] == pytest.approx(ranked)
