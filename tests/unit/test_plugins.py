"""A distribution with plug-ins, found by its entry points: its workloads, policy and daemon run, its mistakes are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import hostsim
from hostsim import Scenario, Study
from hostsim.core.errors import InputError
from hostsim.plugins import registry
from hostsim.plugins.registry import PluginError
from hostsim.plugins.workload import Touches, classes_or_touches, draws_key, region_of
from hostsim.results.provenance import provenance
from tests.helpers.command import hostsim as command
from tests.helpers.command import installed

PLUG_IN = Path(__file__).resolve().parents[1] / "data" / "plug_in"
KVM = {"dirty_tracking": "get-dirty-log"}
MIGRATION = {"bandwidth": "64MiB/s", "downtime_limit": "100ms"}


@pytest.fixture(autouse=True)
def _plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PLUG_IN))


def scenario(workload: dict[str, Any] | None = None, vm: dict[str, Any] | None = None, **tables: Any) -> Scenario:
    load = {"pattern": "bursts", "size": "8MiB", **(workload or {})}
    return Scenario.model_validate({"vm": {"memory": "16MiB", "vcpus": 2, "workload": [load], **(vm or {})}, **tables})


@pytest.mark.parametrize("vm", [{}, KVM])
@pytest.mark.parametrize("pattern", ["bursts", "recorded", "transactions"])
def test_a_workload_dirties_what_it_says(pattern: str, vm: dict[str, Any]) -> None:
    """Law 3 holds in each run: it is checked at every harvest and at the switchover."""
    result = hostsim.run(scenario({"pattern": pattern}, vm, migration=MIGRATION))
    assert result.migrations[0].status == "completed"
    assert result.counters["syncs"] >= 2
    again = hostsim.run(scenario({"pattern": pattern}, vm, migration=MIGRATION))
    assert again.to_dict() == result.to_dict()
    names = [f"{pattern}-0/0", f"{pattern}-0/1"] if pattern == "bursts" else [f"{pattern}-0"]
    assert list(dict.fromkeys(result.guest["workload"].tolist())) == names


def test_a_process_touches_when_its_clock_says() -> None:
    """Two clients and two log writers: each transaction sleeps 4 ms in the mean, then holds a writer for 1 ms."""
    plugin = registry.find("workload", "transactions")
    region = region_of(plugin, 512, (0, 1), {}, draws_key(1, "vm.t"), 1_000_000_000)
    touches = classes_or_touches(plugin, region)
    assert isinstance(touches, Touches)
    times, vcpus, pages = np.asarray(touches.time_ns), np.asarray(touches.vcpu), np.asarray(touches.page)
    assert 300 < np.count_nonzero(pages == 0) < 500, "2 clients, a transaction each 5 ms"
    assert times.max() <= 1_000_000_000
    for vcpu in (0, 1):
        mine = vcpus == vcpu
        assert (np.diff(times[mine]) >= 0).all()
        log, table = np.flatnonzero(pages[mine] == 0), np.flatnonzero(pages[mine] > 0)
        assert (times[mine][table] - times[mine][log[: len(table)]] == 1_000_000).all(), "the table 1 ms after the log"


def test_options_reach_the_workload() -> None:
    def dirtied(rate: int) -> int:
        result = hostsim.run(scenario({"options": {"rate": rate}}, migration=MIGRATION))
        return int(result.counters["pages_newly_dirty"])

    assert dirtied(2000) > dirtied(100)


def test_a_policy_ages_and_a_daemon_acts() -> None:
    table = {"ageing": {"policy": "every-fourth", "period": "50ms"}, "daemon": [{"name": "governor"}]}
    result = hostsim.run(scenario(vm=KVM, migration=MIGRATION, **table))
    assert result.host is not None
    asked = result.host.tables["ageing_passes"]["asked"]
    assert set(asked.tolist()) == {4096 // 4}
    assert result.counters["daemon.governor.young"] > 0
    assert result.migrations[0].series["throttle_percent"].max() == 50
    assert "migrate_set_parameter downtime_limit_ms" in result.migrations[0].events["event"].tolist()
    used = provenance(result)["plugins"]
    assert [(one["kind"], one["name"], one["distribution"], one["version"]) for one in used] == [
        ("workload", "bursts", "hostsim-example", "1.2"), ("policy", "every-fourth", "hostsim-example", "1.2"),
        ("daemon", "governor", "hostsim-example", "1.2"),
    ]  # fmt: skip
    assert hostsim.run(scenario(vm=KVM, migration=MIGRATION, **table)).to_dict() == result.to_dict()


def test_a_run_without_plug_ins_says_nothing_of_them() -> None:
    result = hostsim.run(scenario({"pattern": "sequential", "write_rate": "10/s"}, duration="10ms"))
    assert "plugins" not in provenance(result)
    assert "daemon" not in result.scenario


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"vm": {"workload": [{"pattern": "burst"}]}}, "got 'burst', wanted one of 'idle',"),
        ({"vm": {"workload": [{"pattern": "burst"}]}}, "'bursts', 'floods', 'gone', 'half-event', 'outside', 'raises', "),
        ({"vm": {"workload": [{"pattern": "bursts", "write_rate": "1/s"}]}}, "write_rate: got a key that has no effect"),
        ({"vm": {"workload": [{"pattern": "idle", "options": {}}]}}, "only with the pattern of a plug-in"),
        ({"daemon": [{"name": "x"}]}, "wanted an installed daemon: breaks, governor, no-event, stuck"),
        ({"vm": KVM, "ageing": {"policy": "nonsense-entirely"}}, "damon, every-fourth, stranger"),
        ({"vm": KVM, "host": {"memory": {"size": "64MiB", "policy": "every-fourth"}}}, "wanted one of two-list"),
    ],
)
def test_unknown_names_list_what_is_installed(table: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        Scenario.model_validate({**table, "vm": {"memory": "16MiB", **table.get("vm", {})}})
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("workload", "tables", "says"),
    [
        ("raises", {}, "plug-in 'raises' of hostsim-example 1.2 (workload) raised ValueError: nothing to touch, at "),
        ("outside", {}, "(workload): got PageClass(first_page=2048"),
        ("floods", {}, "got more than 10,000,000 touches by 0.00488 s of 3 s, wanted fewer touches"),
        ("half-event", {}, "got a int that a process yields, wanted events, as of region.sleep"),
        ("gone", {}, "plug-in 'gone' of hostsim-example 1.2 (workload) raised AttributeError: "),
        ("bursts", {"ageing": {"policy": "stranger"}}, "plug-in 'stranger' of hostsim-example 1.2 (policy): got page 4096"),
        ("bursts", {"daemon": [{"name": "stuck"}]}, "(daemon): got a sleep of 0 ns, wanted at least 1 ns"),
        ("bursts", {"daemon": [{"name": "no-event"}]}, "(daemon): got a yield of 5, wanted an event"),
        ("bursts", {"daemon": [{"name": "breaks"}]}, "raised KeyError: 'later', at hostsim_example.py:"),
    ],
)
def test_a_plug_in_that_fails_is_named(workload: str, tables: dict[str, Any], says: str) -> None:
    with pytest.raises(PluginError) as caught:
        hostsim.run(scenario({"pattern": workload}, KVM, duration="3s", **tables))
    assert says in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_daemon_that_ages_needs_kvm() -> None:
    with pytest.raises(PluginError, match=r"got a call of the mmu notifier, wanted a VM under KVM"):
        hostsim.run(scenario(daemon=[{"name": "governor"}], duration="1s"))


def test_the_command_finds_an_installed_plug_in(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(scenario(vm=KVM, migration=MIGRATION, daemon=[{"name": "governor"}]).to_toml())
    path = f"{PLUG_IN}:{PLUG_IN.parents[2]}"
    options = ("--json", "--no-files", "--no-confirm")
    done = installed("run", "own.toml", *options, cwd=tmp_path, PYTHONPATH=path)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["migrations"][0]["status"] == "completed"
    assert told["counters"]["daemon.governor.young"] > 0


def test_a_failing_plug_in_ends_the_command_with_2(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(scenario({"pattern": "raises"}).to_toml())
    done = command("run", "own.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.rstrip().endswith("; HOSTSIM_TRACEBACK=1 shows the traceback")
    asked = command("run", "own.toml", cwd=tmp_path, HOSTSIM_TRACEBACK="1")
    assert asked.returncode == 2
    assert "Traceback (most recent call last)" in asked.stderr
    assert not (tmp_path / "out").exists()


def test_a_comparison_keeps_runs_by_the_sources_of_the_plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hostsim.report.html.registry.has_plots", bool)  # pictures have tests of their own

    def compared() -> Study:
        return hostsim.compare(scenario(migration=MIGRATION), {"vm.vcpus": [1, 2]}, seeds=1, workers=1, out=tmp_path / "o")

    first = compared()
    (used,) = json.loads((tmp_path / "o" / "provenance.json").read_text())["plugins"]
    assert (used["name"], len(used["sha256"])) == ("bursts", 64)
    assert first.to_dict()["runs"][0]["figures"]["status"] == "completed"
    assert len(compared().outcome.reused) == 2
    with mock.patch.object(registry, "_sources_sha256", return_value="0" * 64):
        assert not compared().outcome.reused, "other sources may give other results"
