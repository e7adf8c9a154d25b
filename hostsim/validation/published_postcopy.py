"""U and PG rows of suite ``published``: faults resolved in user space, and post-copy of a PostgreSQL guest.

U: through one userfaultfd and by exits to user space. PG: under KVM, the host's rate taken from one of five runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from importlib.resources import files
from typing import Any

import numpy as np

from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import HostSheet
from hostsim.costs.postcopy_sheet import load_postcopy
from hostsim.guest.workload import Workload
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.mechanisms.postcopy import NAME
from hostsim.qemu.parameters import MigrationParameters
from hostsim.theory.userfault import fault_path, peak_vcpus
from hostsim.validation.rows import Row, published, relative

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


TIME, BYTES = 0.10, 0.02
UNIX_SOCKET_BYTES = 212_992
"""net.core.wmem_default."""
AFTER_NS = 250_000_000
"""The answer at 201 ms is active, and precopy-bytes of all runs are three windows: the fourth, at 301 ms, switches."""
FILLED_FROM = 3_000
"""Zero pages before the memory that is not zero: 2441 to 4438 were sent by 201 ms, among 7526 that are not zero."""
READS = (0, 10)
"""Least and most reads for each write: the source does not give the share of reads (assumed)."""


def postgres_rows() -> Iterator[Row]:
    """Time and bytes of each run; requests as the range over the unknown share of reads."""
    data = _data()
    few, many = (_figures(data, reads) for reads in READS)
    for run in data["runs"]:
        for name, tolerance in (("total_time_ms", TIME), ("transferred_bytes", BYTES)):
            row = relative("published", f"PG/{run['run']}", name, run[name], few[name], tolerance)
            yield row.unscored("the host's rate was set on it") if run["run"] == 1 else row
        yield _requests(run, few["postcopy_requests"], many["postcopy_requests"])


def _requests(run: dict[str, int], low: int, high: int) -> Row:
    wanted = run["postcopy_requests"]
    miss = max(low - wanted, wanted - high, 0) / wanted
    note = f"share beyond the range of {READS[0]} to {READS[1]} reads for each write"
    row_id, got = f"PG/{run['run']}", f"{low} to {high}"
    return Row("published", row_id, "postcopy_requests", wanted, got, round(miss, 4), 0.0, miss == 0, note=note)


def _data() -> dict[str, Any]:
    text = (files("hostsim") / "data" / "kvm_postgres" / "postcopy.json").read_text(encoding="utf-8")
    return json.loads(text)  # type: ignore[no-any-return]


def host_rates(polls: list[list[int]]) -> tuple[int, int]:
    """(time of a page, time of a zero page) [ns] of one run: least squares over the time between polls in post-copy."""
    steps = np.diff(np.asarray(polls[1:], np.float64), axis=0)
    times, _, _, _ = np.linalg.lstsq(steps[:, 1:], steps[:, 0] * 1e6, rcond=None)
    return round(float(times[0])), round(float(times[1]))


def _figures(data: dict[str, Any], reads: int) -> dict[str, int]:
    machine = Machine(_spec(data, reads))
    machine.run()
    assert machine.migration is not None
    found = machine.migration.counters()
    return {
        "total_time_ms": found.total_time_ms, "transferred_bytes": found.transferred,
        "postcopy_requests": found.ram.get("postcopy-requests", 0),
    }  # fmt: skip


def _spec(data: dict[str, Any], reads: int) -> MachineSpec:
    """YCSB's Zipf over the memory that is not zero; ``reads`` touches that read for each that writes.

    The measured rate is that of the slower of sender and loader; both get it.
    # Model limit: the source gives only the first page of the memory that is not zero; here it lies in one stretch.
    """
    page_ns, zero_ns = host_rates(data["polls_of_run_1"])
    filled, ram = round(sum(data["non_zero_pages"]) / len(data["non_zero_pages"])), data["ram_pages"]
    writes = Fraction(data["dirty_pages_per_s"])
    load = Workload("ycsb", "zipf", (0, 1, 2, 3), FILLED_FROM, filled, writes, writes * reads, exponent=0.99)
    return MachineSpec(
        lay_out([("pc.ram", ram, [(FILLED_FROM, filled)])]), (load,), 4,
        HostSheet(page_ns, 0, zero_ns, 1_000_000, 100_000, 3_000_000, 60_000, 60_000, 125_900, 60_000), 1, 20_000_000_000,
        link=LinkSpec(0, 0, UNIX_SOCKET_BYTES),
        migration=MigrationParameters(qemu="10.0", postcopy_ram=True, postcopy_after_ns=AFTER_NS),
        inputs={NAME: load_postcopy("generic", {"place_page_ns": page_ns, "place_zero_ns": zero_ns})},
    )  # fmt: skip
