"""The interface of ``import hostsim``: names and types, tables as frames, a scenario as text, results in a notebook."""

from __future__ import annotations

import ast
import json
import tomllib
from importlib import import_module
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hostsim
from hostsim import Scenario
from hostsim.core.errors import InputError, MissingExtraError
from hostsim.results.tables import Table
from hostsim.scenario import load_scenario
from tests.helpers.command import QUICK, tree
from tests.helpers.command import hostsim as command

FLOATS = Table("t", {"a_ns": np.arange(5), "share": np.array([0.5, np.nan, 1, 2, 3]), "name": np.array(list("abcde"))})
VARY = {"migration.bandwidth": ["32MiB/s", "64MiB/s"]}
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=12)
RATES = st.integers(1, 10**6).map("{}/s".format)
SIZES = st.sampled_from(["1MiB", "4MiB", "64MiB"])
WORKLOADS = st.fixed_dictionaries(
    {"pattern": st.sampled_from(["sequential", "uniform", "zipf"]), "size": SIZES, "write_rate": RATES},
    optional={
        "vcpus": st.sampled_from(["all", "0", [0, 1]]), "pacing": st.just("closed"),
        "active": st.fixed_dictionaries({"length": st.sampled_from(["1s", "250ms"])}, optional={"period": st.just("5s")}),
    },
)  # fmt: skip
TABLES = st.fixed_dictionaries(
    {"vm": st.fixed_dictionaries(
        {"memory": st.sampled_from(["64MiB", "1GiB"]), "vcpus": st.just(2)},
        optional={"workload": st.lists(WORKLOADS, max_size=2),
                  "mmu": st.fixed_dictionaries({}, optional={"era": st.just("E4")}),
                  "dirty_tracking": st.sampled_from(["get-dirty-log", "dirty-ring"]),
                  "fill": st.just([{"at": "4KiB", "size": "1MiB"}])},
    )},
    optional={
        "question": NAMES, "seed": st.integers(0, 2**40), "duration": st.sampled_from(["1ns", "90s", "2h"]),
        "migration": st.fixed_dictionaries({}, optional={
            "bandwidth": st.sampled_from(["unlimited", "3MiB/s"]), "downtime_limit": st.just("70ms"),
            "auto_converge": st.booleans(), "set": st.just([{"after": "3s", "downtime_limit": "1s"}])}),
        "link": st.fixed_dictionaries({}, optional={"bandwidth": st.just("10Gbit/s"), "latency": st.just("50us")}),
    },
)  # fmt: skip


def drawn(table: dict[str, object]) -> Scenario | None:
    """The scenario of ``table``; None where its keys contradict each other."""
    try:
        return Scenario.model_validate(table)
    except InputError:
        return None


def elements(html: str) -> set[str]:
    """Names of all elements of what is well-formed."""
    return {one.tag.rpartition("}")[2] for one in ET.fromstring(html).iter()}  # noqa: S314  our own text


def test_every_public_name_is_found_loaded_and_typed() -> None:
    source = Path(str(hostsim.__file__)).read_text()
    typed = {alias.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom) for alias in node.names}
    lazy = set(hostsim.__all__) - {"__version__"}
    assert lazy <= typed, "names that type checkers would not see"
    assert lazy <= set(dir(hostsim))
    assert all(getattr(hostsim, name) is not None for name in lazy)
    assert (Path(str(hostsim.__file__)).parent / "py.typed").exists()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hostsim."):
            for alias in node.names:
                assert getattr(hostsim, alias.name) is getattr(import_module(str(node.module)), alias.name)


def test_numbers_reach_arrow_without_a_copy() -> None:
    arrow = FLOATS.to_arrow()
    for name in ("a_ns", "share"):
        assert arrow[name].chunk(0).buffers()[1].address == FLOATS[name].ctypes.data
    assert arrow["name"].to_pylist() == list("abcde")
    assert arrow["share"].null_count == 0, "a NaN is a number in the files, too"


def test_pandas_and_polars_have_the_values_of_the_table() -> None:
    for frame in (FLOATS.to_pandas(), FLOATS.to_polars()):
        assert list(frame.columns) == ["a_ns", "share", "name"]
        assert np.array_equal(frame["a_ns"].to_numpy(), FLOATS["a_ns"])
        assert np.array_equal(frame["share"].to_numpy(), FLOATS["share"], equal_nan=True)
        assert list(frame["name"]) == list("abcde")
    empty = Table.of("t", {"a_ns": "int64", "name": "str"})
    assert len(empty.to_pandas()) == len(empty.to_polars()) == empty.to_arrow().num_rows == 0


@pytest.mark.parametrize(("package", "convert"), [("pyarrow", "to_arrow"), ("pandas", "to_pandas"), ("polars", "to_polars")])
def test_a_missing_extra_is_named(package: str, convert: str) -> None:
    with mock.patch.dict("sys.modules", {package: None}), pytest.raises(MissingExtraError, match="extra 'frames'"):
        getattr(FLOATS, convert)()


@settings(max_examples=25)
@given(TABLES)
def test_a_scenario_writes_itself_as_the_file_that_makes_it(table: dict[str, object]) -> None:
    scenario = drawn(table)
    if scenario is None:
        return
    again = Scenario.model_validate(tomllib.loads(scenario.to_toml()))
    assert again == scenario
    assert again.to_toml() == scenario.to_toml()
    seeded = scenario.model_copy(update={"seed": 7})
    assert Scenario.model_validate(tomllib.loads(seeded.to_toml())) == seeded


@settings(max_examples=25)
@given(NAMES)
def test_every_text_comes_back(question: str) -> None:
    scenario = Scenario.model_validate({"vm": {"memory": "64MiB"}, "question": question})
    assert tomllib.loads(scenario.to_toml())["question"] == question


def test_shipped_scenarios_come_back(root: Path) -> None:
    for file in sorted((root / "scenarios").glob("*.toml")):
        scenario = load_scenario(file)
        again = Scenario.model_validate(tomllib.loads(scenario.to_toml())).in_folder(file.parent)
        assert again == scenario.in_folder(file.parent), file.name


def test_a_result_shows_itself_and_escapes_what_others_wrote() -> None:
    table = tomllib.loads(QUICK) | {"name": "a.b"}
    result = hostsim.run(Scenario.model_validate(table))
    shown = result._repr_html_()
    assert shown == hostsim.run(Scenario.model_validate(table))._repr_html_()
    assert "VERDICT: completed" in shown
    assert result.verdict.splitlines()[0] in shown
    assert elements(shown) >= {"svg", "polyline", "table", "p"}
    named = type(result)(**{**vars(result), "scenario": {**result.scenario, "name": "<script>alert(1)</script>"}})
    assert "<script>" not in named._repr_html_()
    assert "&lt;script&gt;" in named._repr_html_()


def test_a_result_without_a_migration_shows_its_guest() -> None:
    result = hostsim.run(Scenario.model_validate({"vm": {"memory": "1MiB"}, "duration": "1s"}))
    assert "<svg" not in result._repr_html_()
    assert "<td>1 s</td>" in result._repr_html_()
    assert set(result.to_pandas()) == {"guest"}


def test_compare_is_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hostsim.report.html.registry.has_plots", bool)  # pictures have tests of their own
    (tmp_path / "quick.toml").write_text(QUICK)
    options = ("--vary", "migration.bandwidth=32MiB/s,64MiB/s", "--seeds", "2", "--workers", "1", "--out", "typed")
    typed = command("compare", "quick.toml", *options, cwd=tmp_path)
    study = hostsim.compare(tmp_path / "quick.toml", VARY, seeds=2, workers=1, out=tmp_path / "called")
    typed_files, called_files = tree(tmp_path / "typed"), tree(tmp_path / "called")
    provenance = [json.loads(files.pop("provenance.json")) for files in (typed_files, called_files)]
    assert provenance[0].pop("vary") == {"migration.bandwidth": ["32MiB/s", "64MiB/s"]}
    assert provenance[1].pop("vary") == {"migration.bandwidth": ['"32MiB/s"', '"64MiB/s"']}, "values as TOML has them"
    assert provenance[0] == provenance[1]
    assert typed_files == called_files
    assert typed.stdout.startswith(study.verdict)
    assert study.to_pandas()["runs"]["status"].tolist() == ["completed"] * 4
    assert study.tables["compare"]["converged"].tolist() == [2, 2]
    assert "<td>64MiB/s</td>" in study._repr_html_()
    assert "table" in elements(study._repr_html_())
    made = hostsim.compare(load_scenario(tmp_path / "quick.toml"), VARY, seeds=2, workers=1, out=tmp_path / "called")
    assert made.outcome.reused == {run.key for run in study.plan.runs}, "a scenario made in Python is the file's"
    assert made.content == study.content


def test_sweep_is_the_command(tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text(QUICK)
    (tmp_path / "limits.toml").write_text('scenario = "quick.toml"\n[vary]\nmigration.downtime_limit = ["50ms", "300ms"]\n')
    study = hostsim.sweep(tmp_path / "limits.toml", workers=1)
    assert [run["figures"]["status"] for run in study.to_dict()["runs"]] == ["completed"] * 10, "5 seeds each"
    assert study.paths == ()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "hostsim.compare: got neither vary nor modes"),
        ({"vary": VARY, "modes": "all"}, "hostsim.compare: got both vary and modes"),
        ({"vary": {"vm.vcpus": 4}}, "hostsim.compare: vm.vcpus: got 4, wanted an array of at least one value"),
        ({"vary": VARY, "overrides": {"migration.nonsense": 1}}, "hostsim.compare: migration.nonsense: got an unknown key"),
        ({"vary": VARY, "overrides": {"migration.bandwidth": "1MiB/s"}}, "a key that --set has too"),
    ],
)
def test_a_wrong_comparison_says_so(arguments: dict[str, object], says: str) -> None:
    scenario = Scenario.model_validate(tomllib.loads(QUICK))
    with pytest.raises(InputError) as caught:
        hostsim.compare(scenario, **arguments)  # type: ignore[arg-type]
    assert says in str(caught.value)


# -- studies of a host's memory

AGE = {"policy": ["idle", "mglru"], "mem_per_vcpu": "4MiB", "passes": 2, "period": "20ms"}
RECLAIM = {"memory": "4MiB", "rate": "500/s", "ages": ["500ms", "1s"], "policy": "idle"}


def test_ageing_is_asked_as_by_the_command(tmp_path: Path) -> None:
    found = hostsim.age(**AGE, workers=1, out=tmp_path / "a")
    options = ("--policy", "idle,mglru", "--mem-per-vcpu", "4MiB", "--passes", "2", "--period", "20ms", "--json")
    assert found.to_dict() == json.loads(command("age", *options, "--no-files", cwd=tmp_path).stdout)
    assert tmp_path / "a" / "age.json" in found.paths
    assert len(found.tables["age"]) == 2
    assert "<table>" in found._repr_html_()
    assert repr(found) == found.verdict


def test_reclaim_is_asked_as_by_the_command(tmp_path: Path) -> None:
    found = hostsim.reclaim(**RECLAIM, workers=1)
    options = ("--memory", "4MiB", "--rate", "500/s", "--ages", "500ms,1s", "--policy", "idle", "--json", "--no-files")
    assert found.to_dict() == json.loads(command("reclaim", *options, cwd=tmp_path).stdout)
    assert found.paths == ()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_option_is_named_with_the_one_meant() -> None:
    with pytest.raises(hostsim.InputError, match=r"hostsim.age: polcy: got an unknown option.*example: policy="):
        hostsim.age(polcy="idle")
