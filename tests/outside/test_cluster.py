"""Studies on a real Dask cluster: a scheduler and two workers of this machine, some of which are killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest

import hostsim as hostsim_api
from hostsim.plugins import PageClass, registry, use
from hostsim.study.compare import cluster as cluster_module
from hostsim.study.compare.cluster import ClusterError
from hostsim.study.compare.runner import Progress
from tests.helpers.command import HOPELESS, PATIENCE_S, QUICK, hostsim, tree
from tests.helpers.dask_cluster import WITHOUT_HOSTSIM, DaskCluster, dask_cluster
from tests.helpers.needs import needs_distributed

pytestmark = needs_distributed

DRAWN = QUICK.replace('pattern = "sequential"', 'pattern = "uniform"\narrivals = "poisson"').replace("2000/s", "4000/s")
TRACED = """\
[vm]
memory = "16MiB"
dirty_tracking = "get-dirty-log"

[vm.mmu]
costs = "sheet.toml"

[[vm.workload]]
pattern = "trace"
file = "touches.csv"

[migration]
bandwidth = "32MiB/s"
"""
SHEET = 'machine = "one of mine"\npml = false\notherwise = "cascade-lake"\n'
NOWHERE = "tcp://127.0.0.1:9"
VARY = ("--vary", "migration.bandwidth=32MiB/s,64MiB/s", "--seeds", "4")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with dask_cluster(tmp_path_factory.mktemp("dask"), "first", "second") as found:
        yield found


@pytest.fixture(autouse=True)
def _no_pictures() -> Iterator[None]:
    """Pictures are drawn here, wherever the runs were, and take longer than these runs."""
    with mock.patch("hostsim.report.html.registry.has_plots", return_value=False):
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "drawn.toml").write_text(DRAWN)
    (tmp_path / "hopeless.toml").write_text(HOPELESS)
    return tmp_path


def records(out: Path) -> list[Path]:
    return [*(out / "runs").glob("*.json")] if (out / "runs").exists() else []


@contextmanager
def as_soon_as(out: Path, n: int, act: Callable[[], None]) -> Iterator[None]:
    """Does ``act`` once ``n`` runs are finished in ``out``."""
    acted = []

    def watch() -> None:
        end_s = time.monotonic() + PATIENCE_S
        while len(records(out)) < n and time.monotonic() < end_s:
            time.sleep(0.01)
        act()
        acted.append(len(records(out)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield
    watcher.join()
    assert acted, "the act was never done"
    assert acted[0] < 8, "all was over before the act"


def test_a_killed_worker_moves_no_byte(folder: Path, two: DaskCluster) -> None:
    with as_soon_as(folder / "there", 1, lambda: two.kill("first")):
        done = hostsim("compare", "drawn.toml", *VARY, "--out", "there", "--cluster", two.address, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    here = hostsim("compare", "drawn.toml", *VARY, "--out", "here", "--workers", "1", cwd=folder)
    assert done.stdout.replace("there/", "here/") == here.stdout
    assert tree(folder / "there") == tree(folder / "here")
    assert len(records(folder / "there")) == 8


def test_a_prediction_and_a_solution_on_a_cluster_move_no_byte(folder: Path, two: DaskCluster) -> None:
    asked = {"predict": ("--reps", "3", "--no-margins"), "solve": ("--vary", "downtime-limit", "--reps", "3")}
    for name, options in asked.items():
        for place, where in (("there", ("--cluster", two.address)), ("here", ("--workers", "1"))):
            done = hostsim(name, "drawn.toml", *options, "--out", f"{place}-{name}", *where, cwd=folder)
            assert (done.returncode, done.stderr) == (0, "")
        assert tree(folder / f"there-{name}") == tree(folder / f"here-{name}")


def test_files_beside_a_scenario_go_with_it(folder: Path, two: DaskCluster) -> None:
    """Workers have other folders: they get trace and cost sheet from the client."""
    (folder / "mine").mkdir()
    for name, text in (("traced.toml", TRACED), ("sheet.toml", SHEET), ("touches.csv", "1500,0,5,w\n2500,0,6,w\n")):
        (folder / "mine" / name).write_text(text)
    vary = ("--vary", "migration.bandwidth=32MiB/s,64MiB/s")
    for place, large in (("there", 1 << 20), ("shared", 0)):
        with mock.patch.object(cluster_module, "WITH_EACH_BYTES", large):
            done = hostsim("compare", "mine/traced.toml", *vary, "--out", place, "--cluster", two.address, cwd=folder)
        assert (done.returncode, done.stderr) == (0, "")
    assert hostsim("compare", "mine/traced.toml", *vary, "--out", "here", "--workers", "1", cwd=folder).returncode == 0
    assert tree(folder / "there") == tree(folder / "here") == tree(folder / "shared")


def test_a_run_that_fails_leaves_the_others(folder: Path, two: DaskCluster) -> None:
    vary = ("--vary", "vm.memory=64MiB,32TiB")
    done = hostsim("compare", "drawn.toml", *vary, "--out", "o", "--cluster", two.address, cwd=folder)
    assert done.returncode == 2
    assert "VERDICT: 1 of 2 combinations converge; not: vm.memory=32TiB (failed)." in done.stdout
    assert "replay: hostsim run drawn.toml --set vm.memory=32TiB --seed 1" in done.stderr
    assert len(records(folder / "o")) == 1


def test_a_worker_with_another_hostsim_is_refused(folder: Path, two: DaskCluster) -> None:
    own = cluster_module.versions()
    other = own | {"hostsim": "9.9", "code_sha256": "f" * 64}
    with mock.patch.object(cluster_module, "versions", return_value=other):
        done = hostsim("compare", "drawn.toml", *VARY, "--no-files", "--cluster", two.address, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --cluster: worker tcp://127.0.0.1:")
    assert f"has hostsim {own['hostsim']}, this is 9.9" in done.stderr
    assert f"hash {own['code_sha256'][:12]}" in done.stderr
    assert "ffffffffffff" in done.stderr


def test_a_worker_without_hostsim_is_refused(folder: Path, two: DaskCluster) -> None:
    from distributed import Client

    with Client(two.address, set_as_default=False) as client:
        there = len(client.nthreads())
        two.add_worker("bare", WITHOUT_HOSTSIM)
        client.wait_for_workers(there + 1, timeout=PATIENCE_S)
    done = hostsim("compare", "drawn.toml", *VARY, "--no-files", "--cluster", two.address, cwd=folder)
    two.kill("bare")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot load hostsim: " in done.stderr
    assert "No module named 'hostsim'" in done.stderr


def test_progress_is_heard_as_it_is_here(folder: Path, two: DaskCluster) -> None:
    scenario, seen = HOPELESS.replace("1000h", "600s"), []
    (folder / "long.toml").write_text(scenario)

    def show(progress: Progress) -> None:
        seen.append((progress.done, max(progress.simulated_ns.values(), default=0)))

    vary = {"vm.workload.0.write_rate": ["1M/s", "2M/s"]}
    study = hostsim_api.compare(folder / "long.toml", vary, seeds=1, cluster=two.address, progress=show)
    assert (seen[0], seen[-1]) == ((0, 0), (2, 0))
    assert any(0 < ns < 600_000_000_000 for _, ns in seen)
    assert [run["figures"]["status"] for run in study.to_dict()["runs"]] == ["active"] * 2


def test_a_worker_without_the_plug_in_is_refused(
    folder: Path, two: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_OWN", {})  # the tests after this one do not have the plug-in
    use("workload", "here-alone", lambda region: [PageClass(0, region.n_pages, write_rate_per_s=10)])
    (folder / "own.toml").write_text(QUICK.replace('"sequential"', '"here-alone"').replace('write_rate = "2000/s"', ""))
    with pytest.raises(ClusterError, match=r"worker second has other plug-ins than this machine \(none\)"):
        hostsim_api.compare(folder / "own.toml", {"vm.vcpus": [1]}, cluster=two.address)


def test_ctrl_c_cancels_tasks_and_keeps_what_is_finished(folder: Path, two: DaskCluster) -> None:
    from distributed import Client

    vary = ("--vary", "vm.workload.0.write_rate=1/s,2/s,1M/s")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with as_soon_as(folder / "o", 2, lambda: os.kill(os.getpid(), signal.SIGINT)):
            done = hostsim("compare", "hopeless.toml", *vary, "--out", "o", "--cluster", two.address, cwd=folder)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    assert done.stderr.splitlines()[0] == "2 runs are finished in o/runs: the same command goes on from there"
    assert "Traceback" not in done.stderr
    with Client(two.address, set_as_default=False) as client:
        assert client.submit(int, "7").result(timeout=PATIENCE_S) == 7, "the only worker is free again"


def test_a_scheduler_that_goes_away_ends_the_study(folder: Path, two: DaskCluster) -> None:
    """The last test with this cluster."""
    assert two.scheduler is not None
    vary = ("--vary", "vm.workload.0.write_rate=1/s,2/s,1M/s")
    with as_soon_as(folder / "o", 2, two.scheduler.kill):
        done = hostsim("compare", "hopeless.toml", *vary, "--out", "o", "--cluster", two.address, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: --cluster: the scheduler at {two.address} is gone; finished runs are kept")
    assert "Traceback" not in done.stderr
    assert len(records(folder / "o")) == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--cluster", NOWHERE), f"--cluster: no Dask scheduler answers at {NOWHERE} within 0.3 s"),
        (("--cluster", "scheduler"), "--cluster: got 'scheduler', wanted the address of a Dask scheduler"),
        (("--cluster", NOWHERE, "--workers", "2"), "--workers: got 2, beside --cluster"),
    ],
)
def test_a_cluster_that_cannot_be(folder: Path, options: tuple[str, ...], says: str) -> None:
    with mock.patch.object(cluster_module, "PATIENCE_S", 0.3):
        done = hostsim("compare", "drawn.toml", *VARY, "--no-files", *options, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_extra_a_command_names_it(folder: Path) -> None:
    with mock.patch.object(cluster_module, "find_spec", return_value=None):
        done = hostsim("compare", "drawn.toml", *VARY, "--no-files", "--cluster", NOWHERE, cwd=folder)
    assert done.returncode == 2
    assert "distributed is not installed (extra 'cluster'): " in done.stderr
