from __future__ import annotations

import json
from pathlib import Path

import pytest

from hostsim.scenario import reference
from hostsim.scenario.catalogue import catalogue, scenario_folder
from hostsim.scenario.problems import nearest, wanted_name
from hostsim.spte_index.designs import DESIGNS


def test_the_schema_is_json_and_describes_every_key() -> None:
    schema = json.loads(json.dumps(reference.json_schema()))
    tables = [schema, *schema["$defs"].values()]
    described = [name for table in tables for name, key in table["properties"].items() if "description" in key]
    assert schema["required"] == ["vm"]
    assert len(described) == sum(len(table["properties"]) for table in tables)


def test_the_reference_has_a_row_for_every_key() -> None:
    text, indexes = reference.markdown().split("## Indexes")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    for title, model in reference.tables():
        assert f"## `{title}`" in text
        for key in reference.keys(model):
            assert any(row.startswith(f"| `{key.name}` |") and key.meaning in row for row in rows)
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)
    assert all(f"| `{name}` | {design.says} |" in indexes for name, design in DESIGNS.items())


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("bandwith", "bandwidth"), ("BANDWIDTH", "bandwidth"), ("downtime-limit", "downtime_limit"), ("xyz", ""),
        ("a" * 9999, ""),
    ],
)  # fmt: skip
def test_the_nearest_name(name: str, found: str) -> None:
    assert nearest(name, ["bandwidth", "downtime_limit", "start"]) == found


def test_without_a_near_name_all_are_listed() -> None:
    assert wanted_name("xyz", ["start", "timeout"]) == "one of start, timeout"


def test_the_catalogue_lists_scenarios_scripts_and_broken_files(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('question = "Q?"\n[vm]\nmemory = "1MiB"\n')
    (tmp_path / "b.toml").write_text("[")
    (tmp_path / "c.py").write_text('"""Ask\nthis?\n\nMore."""\n')
    (tmp_path / "d.py").write_text("(")
    (tmp_path / "e.csv").write_text("")
    found = catalogue(tmp_path)
    assert [entry.name for entry in found] == ["a", "b", "c", "d"]
    assert [entry.question for entry in found] == ["Q?", "", "Ask this?", ""]
    assert [bool(entry.problem) for entry in found] == [False, True, False, True]


def test_the_folder_here_comes_before_that_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert scenario_folder() == root / "scenarios"
    (tmp_path / "scenarios").mkdir()
    assert scenario_folder() == Path("scenarios")
