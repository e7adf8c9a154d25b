"""A 0 is either a true zero or an error: where it would mean "no limit" or "never", a word says so."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from hostsim.cli.main import build_app
from hostsim.core.errors import InputError
from hostsim.scenario import Scenario, reference
from hostsim.scenario.problems import model_in
from hostsim.study.reclaim.options import ReclaimOptions
from hostsim.study.reclaim.preset import reclaim_plan

ZEROS = ("0B/s", "0Gbit/s", "-0B/s", "0s", "0ms", "0B", "0GiB", "0/s", "0%", "0", 0)
TINY = ("0.0000001bit/s", "1e-9B/s", "0.1ns", "1e-30s", "0.01B")
NEGATIVE = ("-1Gbit/s", "-1s", "-4KiB", "-1/s", "-1%", -1, "-1ns")
IS_NONE = {
    "[[vm.fill]].at", "[[vm.ramblock]].filled_pages", "[[vm.workload]].at", "[[vm.workload]].write_rate",
    "[[vm.workload]].read_rate", "[[vm.workload]].hot_share", "[[vm.workload]].start_page", "[vm.workload.active].start",
    "[migration].start", "[migration].downtime_limit", "[migration].retries", "[migration].retry_after",
    "[[migration.set]].after", "[[migration.set]].downtime_limit", "[link].latency", "[link].socket_buffer",
    "[link].loss", "[[link.outage]].start",
    "[host].first_copy_ns", "[host].zero_page_ns", "[host].setup_ns", "[host].vm_stop_ns", "[host].switchover_ns",
    "[host].sleep_overshoot_ns", "[host].throttle_overshoot_ns", "[host].device_state_bytes",
    "[migration].postcopy_after", "[migration].postcopy_after_rounds", "[host].zlib_page_ns", "[host].zstd_page_ns",
    "[host].zero_copy_page_ns", "[host].queue_page_ns", "[host].xbzrle_encode_ns", "[host].xbzrle_run_ns",
    "[host].xbzrle_insert_ns",
    "[checkpoints].output_rate", "[checkpoints].copy_page_ns", "[checkpoints].detection", "[[vm.dirty_limit]].at",
    "[[vm.calc_dirty_rate]].start", "[[vm.workload]].operations",
    "[host].throttle_timer_late_ns", "[host].sleep_overshoot_spread_ns", "[host].throttle_overshoot_spread_ns",
    "[host].throttle_timer_late_spread_ns",
    "[host.memory].page_cluster", "[host.memory.reclaim].warm_up", "top level.seed", "[[vm.workload]].cr3_load_rate",
    "[[vm.workload]].invlpg_rate", "[[vm.workload]].fork_rate",
}  # fmt: skip
"""Keys whose 0 is a true zero. A key that is new stands here, or refuses 0."""
NEEDED = {"[[vm.workload]].stride", "[[vm.workload]].hot_size"}
"""0 stands for "not written"; the pattern that reads the key refuses it (workload_checks)."""
WORDS = {
    "[migration].bandwidth": "unlimited", "[link].bandwidth": "unlimited", "[migration].timeout": "never",
    "[migration].max_postcopy_bandwidth": "unlimited", "[migration].postcopy_link_fails": "never",
    "[migration].postcopy_recover_after": "never", "[checkpoints].fails_at": "never",
    "[migration].keepalive": "never", "[migration].continue_after": "never", "[migration].suspend_after": "never",
    "[[migration.set]].bandwidth": "unlimited", "[[migration.set]].avail_switchover_bandwidth": "measured",
    "[migration].avail_switchover_bandwidth": "measured", "[[vm.workload]].tick": "off",
    "[[vm.workload]].tick_late": "never", "[vm.workload.active].period": "never", "[host.memory].proactive": "off",
}  # fmt: skip
REQUIRED: dict[str, dict[str, Any]] = {
    "Scenario": {"vm": {"memory": "4MiB"}}, "Vm": {"memory": "4MiB"}, "Fill": {"size": "4KiB"},
    "RamBlock": {"name": "a", "size": "4KiB"}, "Active": {"length": "1s"}, "Workload": {"pattern": "idle"},
    "HostMemory": {"size": "8MiB"}, "LinkOutage": {"start": "1s", "length": "1s"},
    "Checkpoints": {"policy": "remus", "output_rate": "1/s"}, "DirtyLimit": {"quota": "1MiB/s"},
}  # fmt: skip


def leaves() -> Iterator[tuple[str, type[BaseModel], str]]:
    """(title of the table and key, model, key) of every key that is no table."""
    for title, model in reference.tables():
        for name, field in model.model_fields.items():
            if model_in(field.annotation) is None and name != "neighbour":
                yield f"{title}.{name}", model, name


KEYS = list(leaves())


def read(model: type[BaseModel], name: str, value: object) -> Any:
    """The value that ``model`` makes of ``value``; InputError."""
    return getattr(model.model_validate({**REQUIRED.get(model.__name__, {}), name: value}), name)


def accepted(model: type[BaseModel], name: str, values: tuple[object, ...]) -> list[object]:
    found = []
    for value in values:
        try:
            number = read(model, name, value)
        except InputError:
            continue
        if isinstance(number, int | float | Fraction):
            found.append(value)
    return found


@pytest.mark.parametrize(("where", "model", "name"), KEYS, ids=[key[0] for key in KEYS])
def test_a_zero_is_none_or_refused(where: str, model: type[BaseModel], name: str) -> None:
    zeros = accepted(model, name, ZEROS)
    if where in IS_NONE | NEEDED:
        assert zeros, f"{where} is listed as a key whose 0 is a true zero, and takes none"
        assert all(read(model, name, zero) == 0 for zero in zeros)
    else:
        assert not zeros, f"{where} takes {zeros}: does 0 mean none? Then list it in IS_NONE; else give it a word"


@pytest.mark.parametrize(("where", "model", "name"), KEYS, ids=[key[0] for key in KEYS])
def test_nothing_below_zero_and_nothing_rounds_to_zero(where: str, model: type[BaseModel], name: str) -> None:
    del where
    assert not accepted(model, name, NEGATIVE)
    assert all(read(model, name, tiny) for tiny in accepted(model, name, TINY))


@pytest.mark.parametrize("where", WORDS)
def test_the_word_is_read_and_written(where: str) -> None:
    model, name = next((model, name) for found, model, name in KEYS if found == where)
    word = WORDS[where]
    assert read(model, name, word) == 0
    table = model.model_validate({**REQUIRED.get(model.__name__, {}), name: word})
    assert table.model_dump(mode="json")[name] == word
    with pytest.raises(InputError) as error:
        read(model, name, "0s" if "band" not in name else "0Gbit/s")
    (problem,) = error.value.problems
    assert problem.key == name
    assert f"more than 0, or the word '{word}'" in problem.wanted
    assert word in problem.example


@pytest.mark.parametrize(("name", "pattern"), [("stride", "strided"), ("hot_size", "hotcold")])
def test_a_pattern_refuses_the_zero_of_its_key(name: str, pattern: str) -> None:
    load = {"pattern": pattern, "write_rate": "1/s", "hot_share": "90%", name: "0B"}
    load = {key: value for key, value in load.items() if key != "hot_share" or pattern == "hotcold"}
    with pytest.raises(InputError, match=f"workload\\[0\\].{name}"):
        Scenario.model_validate({"vm": {"memory": "4MiB", "workload": [load]}})


def test_an_unlimited_link_has_to_be_written() -> None:
    given = {"vm": {"memory": "4MiB"}, "migration": {}, "link": {"bandwidth": "unlimited"}}
    assert Scenario.model_validate(given).resolved()["link"]["bandwidth"] == "unlimited"


OPTIONS = [
    *[("age", option, zero) for option, zero in (
        ("--vcpus", "0"), ("--mem-per-vcpu", "0B"), ("--rate", "0/s"), ("--period", "0s"), ("--passes", "0"),
        ("--reps", "0"), ("--workers", "0"), ("--max-runs", "0"),
    )],
    *[("reclaim", option, zero) for option, zero in (
        ("--vcpus", "0"), ("--memory", "0B"), ("--used", "0%"), ("--rate", "0/s"), ("--ages", "0s"), ("--scan", "0s"),
        ("--measure", "0s"), ("--timeout", "0s"), ("--bandwidth", "0Gbit/s"), ("--reps", "0"), ("--workers", "0"),
        ("--max-runs", "0"),
    )],
    *[("kvm-selftest dirty_log_perf_test", option, "0") for option in ("-v", "-b", "-i", "-f", "-x")],
    *[("kvm-selftest access_tracking_perf_test", option, "0") for option in ("-v", "-b")],
    *[("compare none.toml", option, "0") for option in ("--seeds", "--workers", "--max-runs")],
    *[("sweep none.toml", option, "0") for option in ("--workers", "--max-runs")],
    ("explain none.jsonl", "--bandwidth", "0Gbit/s"), ("explain none.jsonl", "--link", "0bit/s"),
    ("validate", "--jobs", "0"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "option", "zero"), OPTIONS)
def test_an_option_of_nothing_is_refused(command: str, option: str, zero: str) -> None:
    result = CliRunner().invoke(build_app(), [*command.split(), option, zero])
    told = str(result.exception) if isinstance(result.exception, InputError) else result.output
    assert isinstance(result.exception, InputError) or result.exit_code == 2
    assert option in told


def test_unlimited_is_a_word_of_options_too() -> None:
    assert reclaim_plan(ReclaimOptions(bandwidth="unlimited", during_migration=True)).scenario(-1).link.bandwidth == 0
