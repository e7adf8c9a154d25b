"""``hostsim report`` and ``--html`` through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.helpers.command import QUICK

Command = Callable[..., tuple[int, str, str]]


def test_a_run_writes_a_report_and_its_folder_gives_the_same(command: Command, tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text(QUICK)
    code, out, _ = command("run", "quick.toml", "--quiet", "--out", "out", "--html", "pages/a.html")
    assert (code, out.splitlines()[-1]) == (0, "  pages/a.html")
    code, out, err = command("report", "out")
    assert (code, out, err) == (0, "wrote out/report.html\n", "")
    assert (tmp_path / "pages/a.html").read_bytes() == (tmp_path / "out/report.html").read_bytes()
    code, out, _ = command("report", "out", "--plot", "paper/x.svg", "--width", "column", "--chart", "migration")
    assert (code, out.split()) == (0, ["wrote", "paper/x.svg", "wrote", "paper/x-data.csv"])
    assert (tmp_path / "paper/x.svg").exists()
    assert "guest speed" in (tmp_path / "paper/x-data.csv").read_text()
    # A run into the same folder takes the report of the earlier one away.
    assert command("run", "quick.toml", "--quiet", "--out", "out")[0] == 0
    assert not (tmp_path / "out/report.html").exists()


def test_a_question_writes_its_picture(command: Command, tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text(QUICK)
    code, out, err = command("run", "quick.toml", "--quiet", "--no-files", "--plot", "new/p.pdf")
    assert (code, out.split()[-3:], err) == (0, ["Files:", "new/p.pdf", "new/p-data.csv"], "")
    assert (tmp_path / "new/p.pdf").exists()


def test_json_stays_alone_on_standard_output(command: Command, tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text(QUICK)
    code, out, _ = command("run", "quick.toml", "--no-files", "--json", "--html", "a.html")
    assert code == 0
    assert json.loads(out)["format"] == "hostsim-run/1"
    assert (tmp_path / "a.html").exists()


def test_what_cannot_be_reported_is_said(command: Command, tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text(QUICK)
    (tmp_path / "empty").mkdir()
    (tmp_path / "script.py").write_text("")
    tries = {
        ("report", "nowhere"): "nowhere: got No such file or directory",
        ("report", "empty"): "got no result (no file of hostsim)",
        ("report", "quick.toml"): "Not a directory",
        ("run", "quick.toml", "--html", "a.pdf"): "wanted a file whose name ends in .html",
        ("report", "empty", "--plot", "a.gif"): "wanted a file whose name ends in .png, .svg or .pdf",
        ("run", "quick.toml", "--plot", "a.jpg"): "wanted a file whose name ends in .png, .svg or .pdf",
        ("run", "script.py", "--plot", "a.png"): "--plot",
        ("run", "script.py", "--html", "a.html"): "--html",
    }
    for arguments, said in tries.items():
        code, out, err = command(*arguments)
        assert (code, out) == (2, "")
        assert said in err
    assert {path.name for path in tmp_path.iterdir()} == {"quick.toml", "empty", "script.py"}


def test_a_log_has_a_report_with_its_chart(command: Command, tmp_path: Path) -> None:
    polls = [
        {"status": "active", "total-time": 1000 * i, "ram": {"total": 1 << 32, "remaining": (1 << 30) + (i % 3 << 28),
         "transferred": i << 28, "dirty-sync-count": 1 + i // 3, "dirty-pages-rate": 60000, "mbps": 4000.0,
         "page-size": 4096}}
        for i in range(1, 12)
    ]  # fmt: skip
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(poll) + "\n" for poll in polls))
    code, out, _ = command("explain", "log.jsonl", "--html", "log.html")
    assert (code, out.splitlines()[-1]) == (0, "wrote log.html")
    text = (tmp_path / "log.html").read_text()
    assert 'data-chart="0"' in text
    assert "hostsim explain log.jsonl" in text
