from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from hostsim.core.errors import InputError
from hostsim.costs.costs import load_costs, sheet_names

HEAD = 'machine = "mine"\npml = false\notherwise = "haswell"\n'


def problems(tmp_path: Path, text: str | bytes) -> list[tuple[str, str]]:
    """(key, what was got) of each problem of a sheet with that text."""
    path = tmp_path / "mine.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        load_costs(str(path))
    assert {problem.file for problem in caught.value.problems} == {str(path)}
    assert all(problem.wanted and problem.example for problem in caught.value.problems)
    return [(problem.key, problem.got) for problem in caught.value.problems]


@pytest.mark.parametrize("name", sheet_names())
def test_a_copy_of_a_sheet_is_the_same_sheet(name: str, tmp_path: Path) -> None:
    text = (files("hostsim") / "data" / "costs" / f"{name}.toml").read_text(encoding="utf-8")
    path = tmp_path / "copy.toml"
    path.write_text(text, encoding="utf-8")
    assert dict(load_costs(str(path)).numbers) == dict(load_costs(name).numbers)
    assert load_costs(str(path)).name == str(path)


def test_a_file_says_what_it_has_and_borrows_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(f'{HEAD}[exit_ns]\nvalue = 500\nsource = "measured"\n[dram_ns]\nas = "nehalem-2010"\n')
    sheet = load_costs("mine.toml")
    assert (sheet.exit_ns, sheet.dram_ns, sheet.flush_first_ns) == (500.0, 65.0, 775.0)
    assert [sheet.numbers[name].assumed for name in ("exit_ns", "dram_ns", "entry_ns")] == [False, True, True]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    for value in (500.0, 600.0):
        path.write_text(f'{HEAD}[exit_ns]\nvalue = {value}\nsource = "measured"\n')
        assert load_costs(str(path)).exit_ns == value


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = """\
machine = 3
otherwise = "haswel"
exit_ns = 4
[entri_ns]
value = 1
source = "measured"
[loop_ns]
value = -1
source = ""
[dram_ns]
total = 3
count = 0
source = "measured"
note = "x"
[l1_ns]
source = "measured"
[l2_ns]
rule = "halv"
source = "measured"
[llc_ns]
as = "cascade"
[flush_local_ns]
value = "12"
source = "measured"
fitted_on = "K7"
"""
    assert problems(tmp_path, text) == [
        ("machine", "3"), ("pml", "nothing"), ("otherwise", "'haswel'"), ("exit_ns", "4"), ("entri_ns", "'entri_ns'"),
        ("loop_ns.source", "''"), ("loop_ns.value", "-1"), ("dram_ns.note", "'x'"), ("dram_ns.count", "0"),
        ("l1_ns", "no value"), ("l2_ns.rule", "'halv'"), ("llc_ns.as", "'cascade'"),
        ("flush_local_ns.fitted_on", "'K7'"), ("flush_local_ns.value", "'12'"),
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["nan", "inf", "1e13", "true", "[1]", "{ a = 1 }", "2026-01-01"])
def test_a_value_is_a_number_in_range(value: str, tmp_path: Path) -> None:
    ((key, _),) = problems(tmp_path, f'{HEAD}[exit_ns]\nvalue = {value}\nsource = "measured"\n')
    assert key == "exit_ns.value"


@pytest.mark.parametrize("content", [b"", b"machine =", b"\xff\xfe", b"\x00" * 100, b"a" * 2_000_000, b"[" * 5_000])
def test_what_is_no_sheet(content: bytes, tmp_path: Path) -> None:
    assert problems(tmp_path, content)


@pytest.mark.parametrize("name", ["missing.toml", "no/such/sheet", "folder.toml", "x\0.toml", "y" * 5_000 + ".toml"])
def test_a_path_that_leads_nowhere(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.toml").mkdir()
    with pytest.raises(InputError) as caught:
        load_costs(name)
    (problem,) = caught.value.problems
    assert (problem.file, problem.example.startswith("cascade-lake")) == (name, True)


def test_a_number_that_nobody_lends_is_named(tmp_path: Path) -> None:
    text = (files("hostsim") / "data" / "costs" / "cascade-lake.toml").read_text(encoding="utf-8")
    without_share = text.replace("[exit_share]\nvalue = 0.6\n", "[lockless_pass_ns]\nvalue = 1\n")
    cut = without_share.partition("[lockless_pass_ns]\ntotal")[0]
    found = problems(tmp_path, cut)
    assert ("exit_share", "nothing") in found
    assert ("get_page_ns", "nothing") in found
    assert len(found) == len(set(found))


def entries(**numbers: float | str) -> str:
    """A rule where a text is given, else a value."""
    rules = {name: f'rule = "{given}"' if isinstance(given, str) else f"value = {given}" for name, given in numbers.items()}
    return "".join(f'[{name}]\n{line}\nsource = "x"\n' for name, line in rules.items())


@pytest.mark.parametrize(
    "text",
    [
        entries(loop_ns="same_loop"),
        entries(exit_ns="exit", round_trip_ns="exit", exit_share="entry"),
        entries(initially_set_ratio="initially_set_ratio", all_set_total_ns=1, protect_total_ns=0),
    ],
    ids=["its own input", "a circle", "a division by zero"],
)
def test_a_rule_that_cannot_be_computed(text: str, tmp_path: Path) -> None:
    said = ("inputs of which its rule makes no number", "a rule that needs its own result")
    assert all(got.startswith(said) for _, got in problems(tmp_path, HEAD + text))
