"""`hostsim run` of guests under KVM, through the installed command."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from hostsim.kvm.interfaces import INTERFACES
from hostsim.results.columns import names
from hostsim.results.kvm import KVM_ROUNDS
from tests.helpers.command import hostsim

GUEST = """\
[vm]
memory = "64MiB"
vcpus = 2
dirty_tracking = "{tracking}"
[[vm.workload]]
pattern = "uniform"
size = "32MiB"
write_rate = "4k/s"
[migration]
bandwidth = "64MiB/s"
downtime_limit = "100ms"
"""


@pytest.mark.parametrize("tracking", INTERFACES)
def test_each_interface_finds_what_the_guest_writes(tracking: str, tmp_path: Path) -> None:
    (tmp_path / "guest.toml").write_text(GUEST.format(tracking=tracking))
    done = hostsim("run", "guest.toml", "--out", "o", cwd=tmp_path, draws=tracking == INTERFACES[0])
    assert (done.returncode, done.stderr) == (0, "")
    assert "What finding dirty pages cost" in done.stdout
    content = json.loads((tmp_path / "o" / "run.json").read_text())
    (costs,) = content["kvm"]
    assert content["migrations"][0]["status"] == "completed"
    assert costs["logged"]["wp_faults"] > 1000
    assert sum(spent["stall_ns"] for spent in costs["rounds"]) == costs["logged"]["stall_ns"] > 0
    with (tmp_path / "o" / "rounds.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["wp_faults"]) for row in rows] == [spent["wp_faults"] for spent in costs["rounds"]]
    assert set(names(KVM_ROUNDS)) < set(rows[0])
    assert {"kvm.png", "kvm.svg"} < {path.name for path in (tmp_path / "o").iterdir()}


def test_designs_of_an_index_stand_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "guest.toml").write_text(GUEST.format(tracking="get-dirty-log"))
    designs = ("measured", "rmap", "slot-list", "book3s-hv")
    vary = f"vm.mmu.index={','.join(designs)}"
    done = hostsim("compare", "guest.toml", "--set", "vm.mmu.era=E0", "--vary", vary, "--out", "o", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(title in done.stdout for title in ("total time", "downtime", "guest slowdown", "host holds", "log begins"))
    told = json.loads((tmp_path / "o" / "compare.json").read_text())["runs"]
    runs = {run["settings"]["vm.mmu.index"]: run for run in told}
    files = {name: tmp_path / "o" / "runs" / f"{runs[name]['key']}.json" for name in designs}
    costs = {name: json.loads(file.read_text())["run"]["kvm"][0] for name, file in files.items()}
    assert "index" not in costs["measured"]
    assert {name: costs[name]["index"]["design"] for name in designs[1:]} == {name: name for name in designs[1:]}
    for name in designs[1:]:
        index = costs[name]["index"]
        assert index["kernel_has"] == "shadow-walk"
        assert index["index_bytes"] == sum(index["bytes"].values()) - index["bytes"]["tables"] > 0
        assert runs[name]["figures"]["kvm.index_bytes"] == index["index_bytes"]
        assert runs[name]["figures"]["kvm.start_ns"] == index["start_ns"] > 0
    assert costs["rmap"]["logged"]["host_hold_ns"] != costs["slot-list"]["logged"]["host_hold_ns"]
    assert costs["book3s-hv"]["logged"]["wp_faults"] == 0


def test_the_same_bytes_each_time(tmp_path: Path) -> None:
    (tmp_path / "guest.toml").write_text(GUEST.format(tracking="clear-dirty-log"))
    for folder in ("a", "b"):
        assert hostsim("run", "guest.toml", "--out", folder, cwd=tmp_path).returncode == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
