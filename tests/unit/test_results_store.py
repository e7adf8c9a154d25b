"""The folder of a run."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from hostsim.core.errors import OutputError
from hostsim.results import aside, encode, provenance, store
from hostsim.results.columns import schema
from hostsim.results.registry import OF_HOST
from hostsim.results.rounds import ROUNDS
from hostsim.results.tables import Table
from tests.helpers.synthetic import migration, run_result

PLAIN = {
    "run.json", "provenance.json", "rounds.csv", "rounds.parquet", "series.csv", "series.parquet",
}  # fmt: skip


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_run_has_its_files_and_nothing_else(tmp_path: Path) -> None:
    paths = store.write_run(run_result(migration()), tmp_path / "deep" / "er", {"verdict.txt": b"fine\n"})
    assert {path.name for path in paths} == names(tmp_path / "deep" / "er") == PLAIN | {"verdict.txt"}
    assert names(tmp_path) == {"deep"}
    assert names(tmp_path / "deep") == {"er"}


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        store.write_run(run_result(migration()), tmp_path / folder)
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in PLAIN)


def test_run_json_is_sorted_and_whole(tmp_path: Path) -> None:
    result = run_result(migration())
    store.write_run(result, tmp_path / "out")
    text = (tmp_path / "out" / "run.json").read_text()
    assert json.loads(text) == result.to_dict()
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=2, ensure_ascii=False) + "\n"


def test_csv_and_parquet_hold_the_table(tmp_path: Path) -> None:
    rounds = migration().rounds
    store.write_run(run_result(migration()), tmp_path / "out")
    with (tmp_path / "out" / "rounds.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [int(line["sent_bytes"]) for line in lines] == rounds["sent_bytes"].tolist()
    assert [float(line["dirty_rate_pages_per_s"]) for line in lines] == rounds["dirty_rate_pages_per_s"].tolist()
    read = pyarrow.parquet.read_table(tmp_path / "out" / "rounds.parquet").to_pydict()
    assert read == {name: column.tolist() for name, column in rounds.columns.items()}


def test_an_empty_table_keeps_its_types(tmp_path: Path) -> None:
    path = tmp_path / "rounds.parquet"
    path.write_bytes(encode.parquet_bytes(Table.read("rounds", ROUNDS, [])))
    kinds = {field.name: str(field.type) for field in pyarrow.parquet.read_schema(path)}
    assert kinds == {name: {"float64": "double"}.get(dtype, dtype) for name, dtype in schema(ROUNDS).items()}


def test_a_field_of_parquet_tells_its_unit_and_its_meaning(tmp_path: Path) -> None:
    store.write_run(run_result(migration()), tmp_path / "out")
    for field, entry in zip(pyarrow.parquet.read_schema(tmp_path / "out" / "rounds.parquet"), ROUNDS, strict=True):
        assert field.metadata == {b"unit": entry.unit.encode(), b"description": entry.words.encode()}


def test_what_is_not_finite_is_an_empty_field() -> None:
    assert encode.csv_bytes(Table("t", {"a": np.array([1.5, np.nan, np.inf])})) == b'a\n1.5\n""\n""\n'


def test_a_second_migration_has_its_own_tables(tmp_path: Path) -> None:
    store.write_run(run_result(migration(), migration(rounds=3)), tmp_path / "out")
    assert {"rounds.csv", "rounds-2.csv", "series-2.parquet"} <= names(tmp_path / "out")
    assert len((tmp_path / "out" / "rounds-2.csv").read_text().splitlines()) == 4


def test_files_of_the_run_before_go_and_those_of_others_stay(tmp_path: Path) -> None:
    out = tmp_path / "out"
    store.write_run(run_result(migration(), migration()), out, {"verdict.txt": b"old\n", "migration-2.png": b"x"})
    (out / "notes.txt").write_text("mine")
    store.write_run(run_result(migration()), out)
    assert names(out) == PLAIN | {"notes.txt"}


@pytest.mark.parametrize("stem", OF_HOST)
def test_tables_of_a_host_that_is_no_longer_short_of_memory_go(stem: str, tmp_path: Path) -> None:
    store.write_run(run_result(migration()), tmp_path / "out", {f"{stem}.csv": b"old", f"{stem}.parquet": b"old"})
    store.write_run(run_result(migration()), tmp_path / "out")
    assert names(tmp_path / "out") == PLAIN


def test_without_pyarrow_there_is_csv_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "has_parquet", lambda: False)
    store.write_run(run_result(migration()), tmp_path / "out")
    assert names(tmp_path / "out") == {name for name in PLAIN if not name.endswith("parquet")}


def test_a_new_folder_has_the_usual_rights(tmp_path: Path) -> None:
    (tmp_path / "usual").mkdir()
    store.write_run(run_result(migration()), tmp_path / "out")
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_an_interrupted_write_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    store.write_run(run_result(migration()), out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    write = aside._write

    def interrupted(path: Path, content: bytes) -> None:
        if path.name == "series.csv":
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(aside, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.write_run(run_result(migration(rounds=3)), out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert names(tmp_path) == {"out"}


def test_an_interrupted_first_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path, content: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(aside, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.write_run(run_result(migration()), tmp_path / "a" / "b" / "out")
    assert names(tmp_path) == set()


def test_files_of_somebody_else_stay_where_no_run_was_before(tmp_path: Path) -> None:
    (tmp_path / "series-2.csv").write_text("mine")
    store.write_run(run_result(migration()), tmp_path)
    assert (tmp_path / "series-2.csv").read_text() == "mine"


def test_preparing_leaves_no_trace(tmp_path: Path) -> None:
    store.prepare_folder(tmp_path / "a" / "b")
    assert names(tmp_path) == set()


def test_a_folder_in_the_way_is_refused_before_anything_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "series.csv").mkdir(parents=True)
    (out / "run.json").write_text("old")
    with pytest.raises(OutputError, match=r"series\.csv: cannot write: a folder stands"):
        store.write_run(run_result(migration()), out)
    assert names(out) == {"series.csv", "run.json"}
    assert (out / "run.json").read_text() == "old"


def test_provenance_has_no_wall_time_and_all_versions() -> None:
    content = provenance.provenance(run_result(migration()))
    assert set(content) == {"hostsim", "git", "python", "libraries", "seed", "scenario", "config_sha256"}
    assert all(content["libraries"].values())
    assert content["seed"] == 7


def test_the_config_hash_follows_content_not_order() -> None:
    one, same, other = ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3})
    assert provenance.config_sha256(one) == provenance.config_sha256(same) != provenance.config_sha256(other)


def test_a_library_that_is_not_there_has_no_version() -> None:
    assert provenance.library_version("no-such-distribution") is None


def make_repository(folder: Path) -> str:
    (folder / "hostsim").mkdir(parents=True)
    (folder / "hostsim" / "x.py").write_text("x = 1\n")
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    return subprocess.check_output(["git", "-C", str(folder), "rev-parse", "HEAD"], text=True).strip()


def test_the_revision_of_a_checkout(tmp_path: Path) -> None:
    commit = make_repository(tmp_path)
    assert provenance.git_revision(tmp_path / "hostsim") == commit
    (tmp_path / "hostsim" / "x.py").write_text("x = 2\n")
    assert provenance.git_revision(tmp_path / "hostsim") == f"{commit}-dirty"


def test_no_revision_below_somebody_elses_checkout(tmp_path: Path) -> None:
    make_repository(tmp_path)
    (tmp_path / "venv" / "hostsim").mkdir(parents=True)
    assert provenance.git_revision(tmp_path / "venv" / "hostsim") is None
