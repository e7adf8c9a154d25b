"""Suite ``oracles``: every row passes, and wrong samples would not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hostsim.core.errors import InputError
from hostsim.theory.page_classes import PageClasses
from hostsim.validation import run_suites
from hostsim.validation.oracles_forms import drawn_rows
from hostsim.validation.rows import Row
from hostsim.validation.samples import (
    closed_requester_row,
    distinct_rows,
    harvest_row,
    little_row,
    mean_z,
    page_bits_row,
    page_bits_z,
    pages_sent_row,
    throughput_row,
    variance_z,
)


@pytest.fixture
def rows(oracle_rows: list[Row]) -> list[Row]:
    return oracle_rows


def test_rows_pass(rows: list[Row]) -> None:
    assert [row for row in rows if not (row.passed and row.scored)] == []
    assert len({(row.id, row.quantity) for row in rows}) == len(rows)


def test_every_form_has_a_row(rows: list[Row]) -> None:
    wanted = {"O1", "O2", "O3", "O4", "O5", "O6", "O7", "O8", "O29", "O32", "O33", "O34"}
    on_the_engine = {f"{form}-run" for form in ("O1", "O2", "O3", "O4", "O5", "O6", "O8", "O29", "O30", "O32", "O33", "O34")}
    wanted |= {"O19", "O20", "O26", "O28", "O35"}
    on_the_engine |= {f"{form}-run" for form in ("O19", "O20", "O21", "O26", "O28", "O35")}
    wanted |= {"O13", "O15", "O15b", "O16", "O17", "O23", "O25"}
    on_the_engine |= {f"{form}-run" for form in ("O12", "O13", "O15", "O15b", "O16", "O17", "O18")}
    on_the_engine |= {"O14-run", "O23-run", "O24-run", "O25-run", "O12-kvm", "O13-kvm", "O14-kvm", "O22-kvm"}
    assert {row.id.split("/")[0] for row in rows} == wanted | on_the_engine


def test_the_same_seed_gives_the_same_rows(rows: list[Row]) -> None:
    again = list(drawn_rows())
    assert again == [row for row in rows if row in again]


def test_progress_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    rows = run_suites(["published"], ["K7"], progress=lambda *args: told.append(args))
    assert len(rows) == 3
    assert told == [("published", 3, 3)]


@pytest.mark.parametrize(("names", "cases", "key"), [(["nope"], None, "--suite"), (["published"], ["K99"], "id")])
def test_what_does_not_exist_is_refused(names: list[str], cases: list[str] | None, key: str) -> None:
    with pytest.raises(InputError) as caught:
        run_suites(names, cases)
    assert [problem.key for problem in caught.value.problems] == [key]


def test_z_scores_by_hand() -> None:
    assert mean_z([1.0, 3.0, 2.0, 2.0], 1.0, 4.0) == 1.0
    assert variance_z([1.0, 3.0], 2.0, 2.0) == -0.5
    assert mean_z([2.0, 2.0], 2.0, 0.0) == 0.0
    assert math.isinf(mean_z([2.0, 2.1], 2.0, 0.0))


def test_page_bits_by_hand() -> None:
    """One page, p = 1/2, 100 replications, 60 dirty: chi-square 4, its variance 2 - 0.5/25."""
    assert page_bits_z([60], 100, [0.5]) == pytest.approx(3.0 / math.sqrt(1.98))


@pytest.mark.parametrize("counts", [[50, 99], [50, 0]])
def test_a_page_that_must_be_dirty_or_clean_is_not(counts: list[int]) -> None:
    assert math.isinf(page_bits_z(counts, 100, [0.5, 1.0]))
    assert math.isinf(page_bits_z([50, 1], 100, [0.5, 0.0]))


@pytest.mark.parametrize("bias", [0.97, 1.03])
def test_a_biased_rate_is_seen(bias: float) -> None:
    """3% more or fewer writes than the form assumes: 400 replications of 2000 pages show it."""
    rng, classes = np.random.default_rng(7), PageClasses.uniform(2000, 2000.0)
    bits = rng.poisson(bias, (400, 2000)) > 0
    mean_row = next(iter(distinct_rows("O2/biased", bits.sum(axis=1), classes, 1.0)))
    assert not mean_row.passed
    assert abs(mean_z(bits.sum(axis=1), float(classes.mean_pages(1.0)), float(classes.variance_pages(1.0)))) > 5


def test_pages_that_move_together_are_seen() -> None:
    """All pages of a replication dirty or all clean: the mean is right, the variance is not."""
    rng, classes = np.random.default_rng(7), PageClasses.uniform(100, 100 * math.log(2.0))
    samples = np.where(rng.random(400) < 0.5, 100, 0)
    _, variance_row = distinct_rows("O2/together", samples, classes, 1.0)
    assert not variance_row.passed


def test_pages_with_the_wrong_share_are_seen() -> None:
    """Half the pages too hot, half too cold: the total is right, the pages are not."""
    counts = np.repeat([240, 160], 50)
    assert not page_bits_row("O2/skewed", counts, 400, np.full(100, 0.5)).passed
    assert page_bits_row("O2/even", np.repeat([210, 190], 50), 400, np.full(100, 0.5)).passed


def test_broken_conservation_is_seen() -> None:
    assert harvest_row("O32", 10, 10).passed
    assert not harvest_row("O32", 10, 11).passed
    assert pages_sent_row("O32", 100, [0, 20, 3], 123).passed
    assert not pages_sent_row("O32", 100, [0, 20, 3], 122).passed


def test_broken_queues_are_seen() -> None:
    assert little_row("O33", [0, 5], [4, 9], 8).passed
    assert not little_row("O33", [0, 5], [4, 9], 9).passed
    assert closed_requester_row("O33", 10, 100, 30, 70).passed
    assert not closed_requester_row("O33", 10, 100, 30, 71).passed


def test_a_wrong_throughput_is_seen() -> None:
    assert throughput_row("O34", 8.0, 1_000_000, 1010, 10, 1e-9).passed
    assert not throughput_row("O34", 8.0, 1_000_000, 1000, 10, 1e-3).passed
