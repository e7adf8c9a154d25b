"""Options that contradict each other are refused before anything is done; completion and names of scenarios work."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.command import HOSTSIM, QUICK, ROOT, environment, tree

Command = Callable[..., tuple[int, str, str]]
VARY = ("compare", "quick.toml", "--vary", "vm.vcpus=1,2")
BOTH = [
    (("run", "quick.toml", "--no-files", "--out", "x"), "--out"),
    (("run", "quick.toml", "--json", "--format", "markdown"), "--format"),
    (("run", "quick.toml", "--seed", "1", "--seed", "1"), "--seed"),
    (("run", "quick.toml", "--set", "seed=3", "--seed", "4"), "--seed"),
    (("run", "quick.toml", "--set", "vm.vcpus=1", "--set", "vm.vcpus=2"), "vm.vcpus"),
    ((*VARY, "--no-files", "--out", "x"), "--out"),
    ((*VARY, "--no-files", "--force"), "--force"),
    ((*VARY, "--json", "--format", "text"), "--format"),
    (("compare", "quick.toml", "--vary", "seed=1,2", "--seed", "3"), "seed"),
    (("sweep", "study.toml", "--no-files", "--out", "x"), "--out"),
    (("age", "--no-files", "--out", "x"), "--out"),
    (("age", "--json", "--format", "csv"), "--format"),
    (("reclaim", "--json", "--format", "markdown"), "--format"),
    (("debate", "--no-files", "--out", "x"), "--out"),
    (("kvm-selftest", "dirty_log_perf_test", "-v", "1", "-v", "2"), "-v"),
]


@pytest.mark.parametrize(("arguments", "named"), BOTH)
def test_a_contradiction_is_refused(arguments: tuple[str, ...], named: str, command: Command, tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text(QUICK)
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert named in err
    assert set(tree(tmp_path)) == {"quick.toml"}


def test_options_that_go_together(command: Command, tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text(QUICK)
    code, out, _ = command("run", "quick.toml", "--json", "--quiet", "--no-files", "--seed", "3", "--set", "vm.vcpus=2")
    assert code == 0
    assert out.startswith("{")


def test_a_scenario_runs_by_its_name_anywhere(command: Command) -> None:
    arguments = ("--set", "duration=10ms", "--no-files", "--quiet")
    by_name = command("run", "precopy_convergence", *arguments)
    assert by_name[0] == 0
    assert by_name == command("run", "precopy_convergence.toml", *arguments)


def test_a_path_of_the_checkout_elsewhere_names_what_works(command: Command) -> None:
    code, _, err = command("run", "scenarios/precopy_convergence.toml", "--no-files")
    assert code == 2
    assert "hostsim run precopy_convergence.toml" in err
    assert "hostsim scenarios --copy scenarios" in err


def test_scenarios_are_listed_and_copied(command: Command, tmp_path: Path) -> None:
    code, out, _ = command("scenarios")
    assert code == 0
    assert out.count("precopy_convergence.toml ") == 1
    code, out, _ = command("scenarios", "--copy", "scenarios")
    assert code == 0
    assert "hostsim run scenarios/precopy_convergence.toml" in out
    kept = {path.name: path.read_bytes() for path in (ROOT / "scenarios").iterdir() if path.is_file()}
    assert {name: content for name, content in tree(tmp_path / "scenarios").items() if content} == kept
    assert command("scenarios", "--copy", "scenarios")[0] == 0
    (tmp_path / "scenarios" / "phases.toml").write_text("mine")
    code, _, err = command("scenarios", "--copy", "scenarios")
    assert code == 2
    assert "phases.toml" in err
    assert (tmp_path / "scenarios" / "phases.toml").read_text() == "mine"


def test_completion_knows_the_commands() -> None:
    asked = environment(_HOSTSIM_COMPLETE="complete_bash", COMP_WORDS="hostsim ru", COMP_CWORD="1")
    done = subprocess.run([HOSTSIM], env=asked, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["run"]


def test_the_public_names_are_listed() -> None:
    import hostsim

    assert {"run", "Scenario", "load_scenario", "RunResult"} <= set(dir(hostsim))
    assert all(getattr(hostsim, name) is not None for name in dir(hostsim) if not name.startswith("_"))


def test_warm_up_says_where_code_is_and_leaves_nothing_to_compile(command: Command) -> None:
    from hostsim.compiled.code_store import cache_folder
    from hostsim.compiled.compiling import loops_to_compile

    code, out, _ = command("warm-up", "--quiet", "--what", "migration")
    assert code == 0
    assert str(cache_folder()) in out.splitlines()[-1]
    assert loops_to_compile(["migration"]) == {}
    assert "all loops are on disk" in command("warm-up", "--quiet", "--what", "migration")[1]


def test_warm_up_names_its_kinds(command: Command) -> None:
    code, _, err = command("warm-up", "--what", "kmv")
    assert code == 2
    assert "--what kvm" in err
