"""K rows of suite ``published``: counts are exact, times are predicted, what misses is known and no more misses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hostsim.validation import run_suites
from hostsim.validation.kvm_machine import dirtied, logged, machine, measured, seconds, time_row
from hostsim.validation.published_kvm import ARM64, GROUPS, kvm_rows
from hostsim.validation.rows import Row, published
from tests.helpers.shared import once

FITTED = {
    "K1/wp/shared", "K1/wp/lockless", "K2/1", "K2/64", "K2b/1", "K2b/64", "K3/on/2", "K3/on/8", "K3/on/16",
    "K3/on-5%/2", "K3/on-5%/8", "K3/on-5%/16", "K3/off/2", "K3/off/8", "K3/off/16", "K4/off/2", "K4/off/8", "K4/off/16",
    *(f"{series}/{n}" for series in ("K3/on", "K3/on-5%", "K3/off", "K4/off") for n in (32, 64)),
    "K3b/enable/16", "K3b/clear/16", "K4/on/2", "K5/before", "K5/after", "K6/before", "K6/after", "K7/1", "K7/2", "K7/4",
    "K8/none/1", "K8/lockless/1/pass", "K9/1",
    "K10/protect", "K10/all-set", "K10/ratio", "K11/before", "K11/after",
}  # fmt: skip
MISSES = {
    "K4/on/16": 0.211, "K4/on/32": 0.212, "K4/on/64": 0.270, "K3/on-5%/16": 0.262, "K3/off-50%/8": 0.163, "K4/off/8": 0.183,
    "K3b/enable/64": 0.289, "K3b/clear/64": 0.206, "K6/before": 0.065,
}  # fmt: skip
"""Out of tolerance, and by how much.

K4 with 16 and 32 vCPUs that log with PML: the slowest of them takes 60 ns a page longer than with 2, with no lock in its
way; a store to memory of the other socket takes 50 ns longer (85 to 135 ns). Which vCPU lies apart from its memory is not
modelled. With 64 vCPUs a thread of the host needs 26 to 41 % longer, too (K3b): they outnumber the cores.
K3 on-5% with 16 vCPUs is out of its own series: 5 % of the pages took 3.8 % of the time of K3 on, where 8, 32 and 64 vCPUs
took 4.5 to 5.2 %. With 8 vCPUs the runs part: K4 off took 23 % longer than K4 off-5% for the same faults, K3 off-50% 10 %
longer than K3 off. The order in which 8 vCPUs queue decides 10 % of their time.
K6 before 6.13: the sheet's flush of 64 vCPUs was computed as if all of them were in guest mode at each flush; vCPUs that
write meanwhile are in exits for a part of the time, and no IPI goes to them. Each is asked all the same, at 13 ns, which
halved the error (it was 0.125).
"""
SPREAD = 0.262
"""Sixteen rows of K3 and K4 with 8 to 64 vCPUs set one number: none decides it, and each misses by so much at most."""


SHRINK = 64
"""Passes of the default run go over so many times less memory than those that were measured."""


SIZES = [pytest.param(SHRINK, marks=pytest.mark.long), pytest.param(1, marks=pytest.mark.swarm)]


@pytest.fixture(scope="module", params=SIZES, ids="1/{}".format)
def rows(request: pytest.FixtureRequest) -> list[Row]:
    return once(f"rows of KVM, 1 of {request.param}", lambda: list(kvm_rows(shrink=request.param)))


def test_the_table_is_complete(rows: list[Row]) -> None:
    assert {row.id.split("/")[0] for row in rows} == set(GROUPS) == {key for key in published("kvm") if key[0] == "K"}
    assert len({(row.id, row.quantity) for row in rows}) == len(rows)


def test_counts_are_exact(rows: list[Row]) -> None:
    counts = [row for row in rows if row.tolerance == 0.0]
    assert {row.id for row in counts if row.id.startswith("K3/off")} >= {f"K3/off/{n}/faults" for n in (2, 4, 8, 16)}
    assert len(counts) == 27 + 16 + 2 + 1
    assert [row for row in counts if not row.passed or not row.scored] == []


def test_rows_that_a_constant_was_set_on_are_not_scored(rows: list[Row]) -> None:
    assert {row.id for row in rows if not row.scored} == FITTED
    assert all("fitted" in row.note for row in rows if not row.scored)


def test_what_was_fitted_is_met(rows: list[Row]) -> None:
    off = {row.id: row.error for row in rows if not row.scored and (row.error or 0.0) > 0.02}
    assert off.pop("K6/before") == pytest.approx(MISSES["K6/before"], abs=0.005)
    assert {row_id.split("/")[2] for row_id in off} == {"8", "16", "32", "64"}
    assert max(off.values()) == pytest.approx(SPREAD, abs=0.005)


def test_rows_with_4_vcpus_and_all_of_k8_are_predictions(rows: list[Row]) -> None:
    scored = {row.id: row.error for row in rows if row.scored and row.tolerance}
    fours = {row_id: error for row_id, error in scored.items() if row_id[:2] in ("K3", "K4") and row_id.endswith("/4")}
    assert set(fours) == {"K3/on/4", "K3/off/4", "K3/on-5%/4", "K4/off/4", "K4/on/4"} | {"K3b/enable/4", "K3b/clear/4"}
    assert max(fours.values()) < 0.1
    populate = {row_id: error for row_id, error in scored.items() if row_id.startswith("K8/")}
    assert len(populate) == 26
    assert max(populate.values()) < 0.25


def test_what_misses_is_known(rows: list[Row]) -> None:
    missed = {row.id: row.error for row in rows if not row.passed}
    assert missed == pytest.approx(MISSES, abs=0.005)


def test_a_lock_word_that_costs_nothing_would_fail(tmp_path: Path) -> None:
    data = measured("K2b")
    free = tmp_path / "free.toml"
    free.write_text(f'machine = "free"\npml = false\notherwise = "{ARM64}"\n[shared_turn_ns]\nvalue = 0\nsource = "-"\n')
    pages = data["pages_per_vcpu"] // 64
    for sheet, passed in ((ARM64, True), (str(free), False)):
        got = 64 * seconds(dirtied(logged(machine(sheet, "E2", 16, pages))))
        assert time_row(ARM64, "K2b/16", "s", data["seconds"]["16"], got, data["tolerance"]).passed == passed


def test_only_what_is_asked_for_is_computed() -> None:
    assert [row.id for row in run_suites(["published"], ["K7"])] == ["K7/1", "K7/2", "K7/4"]


def test_rows_are_json(rows: list[Row]) -> None:
    written = json.loads(json.dumps([row.to_dict() for row in rows], allow_nan=False))
    assert all(isinstance(row["got"], int | float) for row in written)
