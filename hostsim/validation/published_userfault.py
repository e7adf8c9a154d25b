"""U rows of suite ``published``: faults resolved in user space, through one userfaultfd and by exits to user space."""

from __future__ import annotations

from collections.abc import Iterator

from hostsim.theory.userfault import fault_path, peak_vcpus
from hostsim.validation.data import published
from hostsim.validation.rows import Row

FACTOR = 2.0
ROWS = {"one-userfaultfd": "U1", "exit-to-user-space": "U2"}


def userfault_rows() -> Iterator[Row]:
    """Rates at each number of vCPUs, and the number with the highest rate; within a factor of 2."""
    data = published("userfault")
    counts = tuple(data["vcpus"])
    for name, row_id in ROWS.items():
        path = fault_path(name)
        for vcpus, measured in zip(counts, data["thousand_pages_per_s"][name], strict=True):
            row = _row(f"{row_id}/{vcpus}", "pages/s", measured * 1000, round(path.faults_per_s(vcpus)))
            is_set_on = vcpus in data["set_on"][name]
            yield row.unscored("a constant was set on it") if is_set_on else row
        rates = data["thousand_pages_per_s"][name]
        yield _row(f"{row_id}/peak", "vCPUs at the peak", counts[rates.index(max(rates))], peak_vcpus(path, counts))


def _row(row_id: str, quantity: str, expected: float, got: float) -> Row:
    factor = max(expected / got, got / expected)
    note = "error and tolerance as a factor"
    return Row("published", row_id, quantity, expected, got, round(factor, 3), FACTOR, factor <= FACTOR, note=note)
