"""The timeline of a run: read back it nests, holds the run's own figures to the nanosecond, and changes nothing."""

from __future__ import annotations

import math
import sys
from functools import cache
from typing import Any

import numpy as np
import pytest

from hostsim import simulation
from hostsim.core.errors import MissingExtraError
from hostsim.core.timeline import Span, Track
from hostsim.machine import recording as recording_module
from hostsim.machine.recording import Recording, Sampled, chosen_of
from hostsim.report.perfetto import sampling_lines, trace_bytes
from hostsim.results.encode import json_bytes
from hostsim.results.tables import RunResult
from hostsim.scenario import Scenario
from tests.helpers.perfetto import Row, Slice, Timeline, read

LOAD = {"pattern": "uniform", "write_rate": "5000/s", "read_rate": "20000/s"}
CROWDED = {
    "vm": {"memory": "4MiB", "vcpus": 2, "dirty_tracking": "get-dirty-log", "workload": [LOAD]},
    "neighbour": [{"memory": "2MiB", "workload": [LOAD]}],
    "host": {"memory": {"size": "4MiB", "swap": "sata-ssd"}, "setup_ns": 100_000, "switchover_ns": 100_000},
    "ageing": {"period": "50ms"}, "duration": "400ms", "migration": {"start": "50ms", "bandwidth": "60MB/s"},
}  # fmt: skip
"""Two VMs short of memory, aged, one of them migrated: all kinds of tracks."""
THROTTLED = {
    "vm": {"memory": "16MiB", "vcpus": 2, "workload": [{"pattern": "uniform", "write_rate": "8000/s"}]},
    "duration": "4s", "migration": {"bandwidth": "10MB/s", "auto_converge": True, "downtime_limit": "10ms"},
}  # fmt: skip


@cache
def recorded(name: str) -> tuple[RunResult, Recording, bytes]:
    found = Recording()
    result = simulation.run(Scenario.model_validate(globals()[name]), recording=found)
    return result, found, trace_bytes(found, result)


@cache
def timeline(name: str) -> Timeline:
    return read(recorded(name)[2])


def rows_of(name: str, process: str, thread: str) -> list[Row]:
    found = timeline(name).rows.values()
    return [row for row in found if row.process == process and row.thread.partition(" (")[0] == thread]


def lengths(slices: list[Slice], name: str) -> int:
    return sum(one.end_ns - one.begin_ns for one in slices if one.name == name)


@pytest.mark.parametrize("name", ["CROWDED", "THROTTLED"])
def test_a_recording_changes_no_result_and_comes_out_alike(name: str) -> None:
    result, _, content = recorded(name)
    plain = simulation.run(Scenario.model_validate(globals()[name]))
    assert json_bytes(plain.to_dict()) == json_bytes(result.to_dict())
    again = Recording()
    assert trace_bytes(again, simulation.run(Scenario.model_validate(globals()[name]), recording=again)) == content


@pytest.mark.parametrize("name", ["CROWDED", "THROTTLED"])
def test_counters_equal_the_series(name: str) -> None:
    result, found = recorded(name)[0], timeline(name)
    (migration,) = result.migrations
    start_ns = next(one.begin_ns for one in found.slices("setup"))
    columns = migration.series.columns
    for column in ("remaining_bytes", "dirtied_pages_per_s", "bandwidth_bytes_per_s", "throttle_percent"):
        each = zip(columns["t_ns"].tolist(), columns[column].tolist(), strict=True)
        assert found.counters["vm", column] == [(t + start_ns, value) for t, value in each if not math.isnan(value)]
    assert found.units["vm", "remaining_bytes"] == "bytes"


def test_free_frames_equal_the_series_of_the_host() -> None:
    result, found = recorded("CROWDED")[0], timeline("CROWDED")
    assert result.host is not None
    columns = result.host.tables["memory_series"].columns
    rows = columns["vm"] == "vm"
    expected = list(zip(columns["t_ns"][rows].tolist(), columns["free_frames"][rows].tolist(), strict=True))
    assert found.counters["host", "free_frames"] == expected


def test_times_of_vcpus_are_those_of_the_results_to_the_nanosecond() -> None:
    result = recorded("CROWDED")[0]
    assert result.host is not None
    times = result.host.tables["vcpu_times"].columns
    for number, (vm, vcpu) in enumerate(zip(times["vm"].tolist(), times["vcpu"].tolist(), strict=True)):
        (row,) = rows_of("CROWDED", vm, f"vCPU {vcpu}")
        figures: dict[str, Any] = {key: int(column[number]) for key, column in times.items() if key.endswith("_ns")}
        assert lengths(row.slices, "KVM_RUN") == figures["elapsed_ns"] - figures["user_space_ns"]
        assert lengths(row.slices, "kvm_faultin_pfn") == figures["page_wait_ns"]
        exits = lengths(row.slices, "fast_page_fault") + lengths(row.slices, "kvm_page_fault")
        assert 0.9 * figures["exit_ns"] < exits <= figures["exit_ns"], "IPIs and the exit under way are not drawn"


def test_syncs_and_phases_are_those_of_the_results() -> None:
    result, recording, _ = recorded("CROWDED")
    found, (migration,) = timeline("CROWDED"), result.migrations
    syncs = sorted(found.slices("migration_bitmap_sync"), key=lambda one: one.begin_ns)
    assert len(syncs) == migration.query["ram"]["dirty-sync-count"]
    (thread,) = rows_of("CROWDED", "vm", "migration thread")
    ends = [one for one in thread.events if one.name == "migration_bitmap_sync_end"]
    assert all(a.begin_ns <= b.begin_ns <= a.end_ns for a, b in zip(syncs, ends, strict=True))
    (down,) = found.slices("downtime")
    assert down.end_ns // 1_000_000 - down.begin_ns // 1_000_000 == migration.downtime_ms
    assert recording.end_ns == result.end_ns
    sent = sum(one.args["bytes"] for one in found.slices("bytes of ram_save_iterate"))
    others = migration.query["ram"]["transferred"] - sent
    assert 0 <= others < 140_000, "the list of RAMBlocks and the state of the devices"


def test_every_exit_is_there_and_each_retried_one_ends_a_flow() -> None:
    _, recording, _ = recorded("CROWDED")
    assert not sampling_lines(recording)
    for exits in recording.exits:
        drawn = [one for row in timeline("CROWDED").rows.values() if row.process == exits.vm.name
                 for one in row.slices if "exit" in one.args]  # fmt: skip
        assert len(drawn) == sum(exits.counts.values())
        retried = [one for one in drawn if one.args["exit"] == "retried"]
        assert len(retried) == exits.counts["retries"]
    flows = {flow for row in timeline("CROWDED").rows.values() for one in row.slices for flow in one.begins}
    ends = [flow for row in timeline("CROWDED").rows.values() for one in row.slices for flow in one.ends]
    assert ends, "the scenario is crowded enough for faults that are sent back"
    assert set(ends) == flows


def test_swap_requests_that_overlap_get_rows_of_their_own() -> None:
    rows = rows_of("CROWDED", "host", "swap device")
    result = recorded("CROWDED")[0].to_dict()
    counts = {one["what"]: one["count"] for one in result["latencies"]}
    drawn = [one for row in rows for one in row.slices]
    assert len(drawn) == counts["swap_read"] + counts["swap_write"]
    assert len(rows) > 1
    assert all(one.depth == 0 for one in drawn)


def test_a_throttled_vcpu_sleeps_where_auto_converge_says() -> None:
    (row,) = rows_of("THROTTLED", "vm", "vCPU 1")
    (thread,) = rows_of("THROTTLED", "vm", "migration thread")
    steps = [one.begin_ns for one in thread.events if one.name == "migration_throttle"]
    sleeps = [one for one in row.slices if one.name == "cpu_throttle_thread"]
    assert len(sleeps) > 10
    assert sleeps[0].begin_ns == steps[0]


def test_what_is_left_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_module, "EXITS_MAX", 100)
    monkeypatch.setattr(recording_module, "SLICES_MAX", 50)
    found = Recording()
    result = simulation.run(Scenario.model_validate(CROWDED), recording=found)
    content = trace_bytes(found, result)
    lines = sampling_lines(found)
    exits = next(line for line in lines if "exits of vm" in line and "retried" not in line)
    assert exits.startswith("kept 1 of ")
    assert exits.endswith(f" of {sum(found.exits[0].counts.values()) - found.exits[0].counts['retries']}")
    (about,) = (row for row in read(content).rows.values() if row.process == "hostsim")
    assert set(lines) <= set(about.events[0].args.values())
    assert len(content) < len(recorded("CROWDED")[2]) / 3


def test_a_sample_keeps_one_of_its_stride_evenly_over_actors_in_turn() -> None:
    sample: Sampled[int] = Sampled(1000)
    for number in range(50_000):
        sample.add(number)
    assert sample.stride == 64
    assert 0.9 * 50_000 / 64 < len(sample.kept) < 1.1 * 50_000 / 64
    shares = np.bincount(np.array(sample.kept) % 4) / len(sample.kept)
    assert (abs(shares - 0.25) < 0.05).all(), "four vCPUs that exit in turn are all seen"
    assert chosen_of(np.array(sample.kept, np.uint64), 32).all(), "a smaller sample is a part of a larger one"


def test_slices_that_overlap_but_do_not_nest_get_a_second_row() -> None:
    found, (result, _, _) = Recording(), recorded("THROTTLED")
    track, found.end_ns = Track("vm", "thread"), 100
    for begin_ns, end_ns in ((0, 50), (10, 50), (40, 60), (60, 60), (50, 70)):
        found.span(track, f"{begin_ns}", begin_ns, end_ns)
    open_span = found.begin(track, "open", 90)
    assert isinstance(open_span, Span)
    read_back = read(trace_bytes(found, result))
    first, second = (row for row in read_back.rows.values() if row.process == "vm")
    assert [(one.name, one.depth) for one in first.slices] == [("0", 0), ("10", 1), ("50", 0), ("open", 0)]
    assert [one.name for one in second.slices] == ["40"]
    assert first.slices[-1].end_ns == 100, "a slice under way ends with the run; one of no length is left out"


def test_without_the_package_the_command_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "perfetto", None)
    monkeypatch.setitem(sys.modules, "perfetto.trace_builder.proto_builder", None)
    result, found, _ = recorded("THROTTLED")
    with pytest.raises(MissingExtraError, match="extra 'trace'"):
        trace_bytes(found, result)
