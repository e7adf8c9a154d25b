"""Files of --html and --plot: every command that gives a result has both, and refuses what it cannot write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from hostsim.cli.main import build_app
from hostsim.cli.report_files import ReportFiles
from hostsim.core.errors import InputError, MissingExtraError, OutputError
from hostsim.report import drawing
from hostsim.report.charts import files
from hostsim.report.html.page import Content
from hostsim.report.html.registry import charts_of
from tests.helpers.reports import contents

CONTENTS = contents()
COMMANDS = ("run", "compare", "sweep", "age", "reclaim", "predict", "solve", "fit", "whatif", "measure-dirty", "debate",
            "validate", "calibrate", "explain")  # fmt: skip
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def options_of(command: Any) -> set[str]:
    return {flag for parameter in command.params for flag in parameter.opts}


def test_every_command_that_gives_a_result_has_both() -> None:
    app: Any = get_command(build_app())
    for command in (*(app.commands[name] for name in COMMANDS), *app.commands["kvm-selftest"].commands.values()):
        assert {"--html", "--plot"} <= options_of(command), command.name


@pytest.mark.parametrize("name", ["p.jpg", "p", "p.html"])
def test_an_ending_that_is_not_drawn_is_refused_with_those_that_are(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.png, \.svg or \.pdf"):
        ReportFiles(plot=tmp_path / name).check()


def test_a_folder_in_place_of_the_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.png").mkdir()
    with pytest.raises(OutputError, match="a folder stands"):
        ReportFiles(plot=tmp_path / "p.png").check()


def test_without_matplotlib_extra_and_command_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(drawing, "has_plots", lambda: False)
    with pytest.raises(MissingExtraError, match=r"matplotlib is .* \(extra 'report'\): .*pip install .*matplotlib"):
        ReportFiles(plot=tmp_path / "p.png").check()
    assert files.folder_pictures(charts_of(CONTENTS["age"]), "ages") == {}


def test_nothing_is_made_unless_a_file_is_asked_for() -> None:
    def content() -> Content:
        raise AssertionError("made without a file to write")

    assert ReportFiles().write(content) == []


def test_a_report_and_its_pictures_are_written(tmp_path: Path) -> None:
    asked = ReportFiles(tmp_path / "r.html", tmp_path / "new" / "p.PNG")
    asked.check()
    paths = asked.write(lambda: CONTENTS["fit"])
    names = ["r.html", "p.PNG", "p-data.csv", "p-residuals.PNG", "p-residuals-data.csv"]
    assert [path.name for path in paths] == names
    assert all(path.stat().st_size > 0 for path in paths)
    assert paths[1].read_bytes().startswith(PNG_MAGIC)


def test_a_result_without_a_chart_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = ReportFiles(plot=tmp_path / "p.png").write(lambda: CONTENTS["unfinished"])
    assert paths == []
    assert "p.png is not written: this result has no chart" in " ".join(capsys.readouterr().err.split())


def test_pictures_of_a_folder_are_named_by_their_charts_or_begin_alike() -> None:
    charts = charts_of(CONTENTS["measure-dirty"])
    names = [chart.name for chart in charts]
    assert list(files.folder_pictures(charts, "x")) == [f"{name}.{kind}" for name in names for kind in ("png", "svg")]
    alike = files.folder_pictures(charts, "x", "measure-dirty")
    stems = ["measure-dirty", *(f"measure-dirty-{name}" for name in names[1:])]
    assert list(alike) == [f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")]
    assert b"<dc:date>" not in alike["measure-dirty.svg"]
