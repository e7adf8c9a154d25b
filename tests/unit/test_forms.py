"""--format, --json, --out, --workers: the same on every command that answers a question."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import typer

from hostsim.cli.forms import DATA, FormOption, form_of, say_data
from hostsim.cli.main import build_app
from hostsim.fitting.fitted import fit
from hostsim.report.fit_report import curve_table, fit_lines, fit_report, write_fit
from hostsim.report.html.registry import page_of, read_content
from hostsim.results.tables import Table

ANSWERS = ("predict", "solve", "compare", "sweep", "measure-dirty", "whatif", "fit", "age", "reclaim")
FORMAT_HELP = get_args(FormOption)[1].help
TABLE = Table.of("small", {"name": "str", "value": "int64"}, [("a", 1), ("b", 2)])


def options_of(name: str) -> dict[str, Any]:
    """Option to its parameter, of a command."""
    command: Any = typer.main.get_command(build_app(name))
    params = command.commands[name].params if hasattr(command, "commands") else command.params
    return {text: param for param in params for text in param.opts}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_has_the_forms_and_a_folder(name: str) -> None:
    options = options_of(name)
    assert options["--format"].help == FORMAT_HELP
    assert {"--json", "--out", "--seed"} <= options.keys()


@pytest.mark.parametrize("name", [name for name in ANSWERS if name != "fit"])
def test_workers_are_jobs_by_another_name(name: str) -> None:
    options = options_of(name)
    assert options["--jobs"] is options["--workers"]


def test_a_form_is_text_or_data(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert [form_of(style, as_json=False) for style in ("text", "table", "markdown")] == ["text", "text", "markdown"]
    assert form_of("text", as_json=True) == "json"
    assert not say_data("text", {}, lambda: TABLE)
    told = {}
    for form in DATA:
        assert say_data(form, {"n": 3}, lambda: TABLE)
        told[form] = capfdbinary.readouterr().out
    assert told["json"] == b'{\n  "n": 3\n}\n'
    assert told["csv"] == b"name,value\na,1\nb,2\n"
    assert told["parquet"].startswith(b"PAR1")


def test_the_folder_of_a_fit_makes_the_page_of_the_command(tmp_path: Path) -> None:
    curve = tmp_path / "curve.csv"
    curve.write_text("seconds,pages\n0.1,1000\n1,8000\n10,30000\n60,50000\n")
    fitted = fit(curve)
    told = {"lines": fit_lines(fitted), **fitted.to_dict(), "command": "hostsim fit x.jsonl"}
    content = fit_report("fit", fitted, told, 1)
    names = {path.name for path in write_fit(tmp_path / "out", content, told["lines"], curve_table(fitted))}
    assert {"fit.json", "curve.csv", "guest.toml", "verdict.txt", "provenance.json"} <= names
    read = read_content(tmp_path / "out")
    assert read.main == content.main
    assert page_of(read).title == page_of(content).title
