from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from hostsim.core.errors import InputError
from hostsim.costs.host_sheet import CONSTANTS, sheet_names
from hostsim.machine.trackers import TRACKERS
from hostsim.scenario import Migration, Scenario, Vm, Workload, load_scenario
from hostsim.scenario.host_schema import Host

FULL = """\
question = "?"
seed = 3
[vm]
memory = "64MiB"
vcpus = 4
[[vm.fill]]
size = "1MiB"
[[vm.ramblock]]
name = "pc.bios"
size = "256KiB"
filled_pages = 64
[[vm.workload]]
pattern = "hotcold"
vcpus = "0-1,3"
size = "12MiB"
split = true
hot_size = "3MiB"
hot_share = "90%"
write_rate = "2.5k/s"
read_rate = "0.1/s"
pacing = "open"
tick = "1ms"
[[vm.workload]]
pattern = "strided"
at = "16MiB"
stride = "64KiB"
start_page = 7
write_rate = "1/s"
tick = "1ms"
tick_late = "2ms"
active = { length = "1s", period = "3s" }
[migration]
profile = "nova"
avail_switchover_bandwidth = "1GB/s"
[host]
page_send_ns = 500
"""


@pytest.fixture
def full(tmp_path: Path) -> Path:
    path = tmp_path / "a full one.toml"
    path.write_text(FULL)
    return path


def test_values_are_integers_inside(full: Path) -> None:
    scenario = load_scenario(full)
    hot, swept = scenario.vm.workload
    assert scenario.name == "a-full-one"
    assert (scenario.vm.memory, scenario.vm.memory_pages, scenario.duration) == (64 << 20, 16384, 600 * 10**9)
    assert (hot.name, hot.vcpus, hot.hot_share, hot.catch_up) == ("hotcold-0", (0, 1, 3), 0.9, 10.0)
    assert (hot.write_rate, hot.read_rate) == (2500, Fraction(1, 10))
    assert swept.region_gfns(scenario.vm.memory) == (4096, 12288)
    assert swept.vcpu_numbers(4) == (0, 1, 2, 3)
    assert swept.active is not None
    assert (swept.active.start, swept.active.period) == (0, 3 * 10**9)


def test_a_fill_makes_the_rest_zero(full: Path) -> None:
    vm = load_scenario(full).vm
    assert vm.filled == "list"
    assert vm.filled_gfns() == ((0, 256),)
    assert Vm(memory="64MiB").filled_gfns() == ((0, 16384),)
    assert Vm(memory="64MiB", filled="none").filled_gfns() == ()


def test_the_host_is_the_sheet_with_keys_replaced(full: Path) -> None:
    sheet = load_scenario(full).host.sheet()
    assert sheet.page_send_ns == 500
    assert sheet.zero_page_ns == Host().sheet().zero_page_ns


def test_the_schema_knows_every_constant_sheet_and_tracker() -> None:
    assert set(Host.model_fields) == {"machine", "memory", "lateness", *CONSTANTS}
    choices = Scenario.model_json_schema()["$defs"]
    assert tuple(choices["Host"]["properties"]["machine"]["enum"]) == sheet_names()
    assert set(choices["Vm"]["properties"]["dirty_tracking"]["enum"]) >= set(TRACKERS)


def test_resolved_is_the_same_scenario(full: Path) -> None:
    resolved = load_scenario(full).resolved()
    assert Scenario.model_validate(resolved).resolved() == resolved
    assert resolved["vm"]["workload"][0]["write_rate"] == "2500/s"
    assert resolved["link"]["bandwidth"] == "10Gbit/s"
    assert resolved["migration"]["avail_switchover_bandwidth"] == "8Gbit/s"
    assert "stride" not in resolved["vm"]["workload"][0]


def test_keyword_constructors_take_the_same_texts() -> None:
    vm = Vm(memory="64MiB", workload=(Workload(pattern="uniform", write_rate="5/s"),))
    scenario = Scenario(vm=vm, migration=Migration(bandwidth="32MiB/s"))
    assert scenario.migration is not None
    assert scenario.migration.bandwidth == 32 << 20
    assert scenario.vm.workload[0].size == 64 << 20
    assert Scenario(vm=scenario.vm).vm == scenario.vm


def test_a_scenario_is_frozen(full: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_scenario(full).seed = 4  # type: ignore[misc]


def test_sections_made_by_hand_report_input_errors() -> None:
    with pytest.raises(InputError, match=r"memory.*one of|memory.*size") as caught:
        Vm(memory="lots", vcpus=0)
    assert [problem.key for problem in caught.value.problems] == ["memory", "vcpus"]
    with pytest.raises(InputError, match="downtime_limit"):
        Migration.model_validate({"downtime_limit": "1 hour"})


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("migration.bandwidth=25Gbit/s", ("migration", "bandwidth"), "25Gbit/s"),
        ("migration.auto_converge = true", ("migration", "auto_converge"), True),
        ('migration.downtime_limit="1s"', ("migration", "downtime_limit"), "1s"),
        ("link.bandwidth=unlimited", ("link", "bandwidth"), "unlimited"),
        ("vm.vcpus=8", ("vm", "vcpus"), 8),
        ("duration=5s", ("duration",), "5s"),
    ],
)
def test_set_replaces_a_key(full: Path, override: str, key: tuple[str, ...], value: object) -> None:
    found: object = load_scenario(full, [override]).resolved()
    for part in key:
        assert isinstance(found, dict)
        found = found[part]
    assert found == value


@pytest.mark.parametrize("key", ["vm.workload.0.write_rate", "vm.workload[0].write_rate"])
def test_set_reaches_into_arrays(full: Path, key: str) -> None:
    assert load_scenario(full, [f"{key}=2000/s"]).vm.workload[0].write_rate == 2000


def test_set_makes_missing_tables_and_later_ones_win(tmp_path: Path) -> None:
    path = tmp_path / "bare.toml"
    path.write_text('[vm]\nmemory = "1MiB"\n')
    assert load_scenario(path).migration is None
    scenario = load_scenario(path, ["migration.qemu='7.2'", "migration.qemu='10.0'"], seed=9)
    assert scenario.migration is not None
    assert (scenario.migration.qemu, scenario.seed) == ("10.0", 9)


def test_a_table_that_set_alone_makes_is_not_the_files(full: Path) -> None:
    with pytest.raises(InputError, match=r"^--set: migrations: got an unknown key, wanted 'migration'"):
        load_scenario(full, ["migrations.bandwidth=1Gbit/s"])


def test_problems_say_where_the_text_stands(full: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario(full, ["link.bandwidth=5", "vm.vcpus=3"], seed=-1)
    places = {problem.key: problem.file for problem in caught.value.problems}
    assert places["link.bandwidth"] == "--set"
    assert places["seed"] == "--seed"
    assert places["vm.workload[0].vcpus"] == str(full)


def test_everything_is_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        'durration = "1s"\n[vm]\nmemory = "1MiB"\nvcpus = 0\n[[vm.workload]]\npattern = "uniform"\nsize = "2MiB"\n'
        'write_rate = 5\n[migration]\nqemu = "7.2"\navail_switchover_bandwidth = "1GB/s"\n'
    )
    with pytest.raises(InputError) as caught:
        load_scenario(path)
    assert {problem.key for problem in caught.value.problems} == {
        "durration", "vm.vcpus", "vm.workload[0].size", "vm.workload[0].write_rate", "migration.avail_switchover_bandwidth",
    }  # fmt: skip


def test_a_finding_that_rests_on_a_wrong_key_is_not_reported() -> None:
    with pytest.raises(InputError) as caught:
        Scenario.model_validate(
            {"vm": {"memory": "1MiB", "workload": [{"pattern": "unifrom", "stride": "8KiB", "write_rate": "1/s"}]}}
        )
    assert [problem.key for problem in caught.value.problems] == ["vm.workload[0].pattern"]


def test_every_scenario_of_the_checkout_loads(root: Path) -> None:
    paths = sorted((root / "scenarios").glob("*.toml"))
    assert len(paths) >= 9
    for path in paths:
        scenario = load_scenario(path)
        assert scenario.question
        assert scenario.name == path.stem
        assert path.read_text().startswith("# Question:")
        assert Scenario.model_validate(scenario.resolved() | {"name": "again"}).vm.memory == scenario.vm.memory


def _swept(pattern: str, size: str, vcpus: int, **keys: object) -> Scenario:
    load = {"pattern": pattern, "size": size, "write_rate": "10/s", **keys}
    return Scenario.model_validate({"vm": {"memory": "64MiB", "vcpus": vcpus, "workload": [load]}})


@pytest.mark.parametrize(("pattern", "is_split"), [("sequential", True), ("uniform", False), ("zipf", False)])
def test_sweeps_are_split_where_nobody_says_otherwise(pattern: str, is_split: bool) -> None:
    scenario = _swept(pattern, "40KiB", 4)
    assert scenario.vm.workload[0].split is is_split
    assert scenario.resolved()["vm"]["workload"][0]["split"] is is_split
    assert "split" not in scenario.vm.workload[0].model_fields_set


@pytest.mark.parametrize(
    ("pattern", "size", "keys", "told"),
    [
        ("sequential", "12KiB", {}, "size: got 3 pages, wanted at least a page for each of the 4 vCPUs"),
        ("strided", "4MiB", {"stride": "1MiB"}, "wanted less than what a vCPU sweeps (1MiB; split = false sweeps the whole"),
        ("sequential", "64KiB", {"start_page": 4}, "got 4, wanted a page below 4; split = false sweeps the whole region"),
    ],
)
def test_what_does_not_fit_into_parts_is_refused_and_may_be_shared(
    pattern: str, size: str, keys: dict[str, object], told: str
) -> None:
    with pytest.raises(InputError) as caught:
        _swept(pattern, size, 4, **keys)
    assert told in str(caught.value)
    assert _swept(pattern, size, 4, split=False, **keys).vm.workload[0].split is False
