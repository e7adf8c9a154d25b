"""Every table and object of results by name, with its columns: the reference page and the names of files follow it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hostsim.results.ageing import AGE_MAP, AGEING, PASSES
from hostsim.results.columns import Columns
from hostsim.results.dirty_rate import RATES
from hostsim.results.guest import GUEST
from hostsim.results.kvm import INDEX, KVM_ROUNDS, PAGE_TABLES
from hostsim.results.latencies import DISTRIBUTION, LATENCIES
from hostsim.results.mechanism import mechanisms, tables_of_runs
from hostsim.results.memory import MEMORY, MEMORY_SERIES, VCPU_TIMES, VMS
from hostsim.results.rounds import ROUNDS
from hostsim.results.sender import SENDER
from hostsim.results.series import EVENTS, KVM_SERIES, SERIES

OF_MIGRATIONS: Mapping[str, Columns[Any]] = {
    "rounds": ROUNDS, "series": SERIES, **{one.name: one.table for one in mechanisms() if one.table},
}  # fmt: skip
"""Tables with files of their own for each migration."""
UNDER_KVM: Mapping[str, Columns[Any]] = {"rounds": KVM_ROUNDS, "series": KVM_SERIES}
"""Further columns of these tables where KVM finds the dirty pages."""
WITH_MECHANISMS: Mapping[str, Columns[Any]] = {f"{one.name}.rounds": one.rounds for one in mechanisms() if one.rounds}
"""Further columns of the table behind the point in a migration with the mechanism before it."""
OF_HOST: Mapping[str, Columns[Any]] = {
    "latencies": LATENCIES, "memory_series": MEMORY_SERIES, "vcpu_times": VCPU_TIMES, "ageing_passes": PASSES,
    "age_map": AGE_MAP,
}  # fmt: skip
"""Tables with files of a host with [host.memory], [ageing] or neighbours."""
IN_RUN_JSON: Mapping[str, Columns[Any]] = {
    "guest[]": GUEST, **{f"{one.key}[]": one.columns for one in tables_of_runs()},
    "calc_dirty_rate[]": RATES, "events[][]": EVENTS, "kvm[].index": INDEX,
    "kvm[].page_tables": PAGE_TABLES,
    **{f"{one.name}[]": one.figures for one in mechanisms() if one.figures}, "sender[]": SENDER, "memory": MEMORY,
    "memory.vms[]": VMS, "ageing[]": AGEING, "latencies[]": DISTRIBUTION,
}  # fmt: skip
"""Objects of run.json that have no file, or not in this form; ``rounds`` and ``kvm`` have the columns above."""
