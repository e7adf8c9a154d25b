"""Post-copy against real runs and published rates."""

from __future__ import annotations

from hostsim.validation.kvm_postcopy import postcopy_rows
from hostsim.validation.published_postcopy import postgres_rows, userfault_rows
from hostsim.validation.qemu import rows

CASES = (
    "postcopy_n3", "postcopy_n1_preempt", "link_postcopy_n3", "v10_postcopy_n3", "v10_postcopy_n3_preempt",
    "postcopy_n3_bw0",
)  # fmt: skip


def test_the_six_cases_of_qemu() -> None:
    found = {(row.id, row.quantity): row for row in rows(CASES)}
    assert {case for case, _ in found} == set(CASES)
    assert not [key for key, row in found.items() if not row.passed]
    assert all(abs(found[case, name].error) < 0.02 for case in CASES for name in ("total_time_ms", "transferred_bytes"))


def test_a_guest_under_real_kvm() -> None:
    assert all(row.passed for row in postcopy_rows())


def test_a_postgresql_guest_and_one_userfaultfd() -> None:
    found = [*postgres_rows(), *userfault_rows()]
    assert sum(row.scored for row in found) > 15
    assert all(row.passed for row in found if row.scored)
