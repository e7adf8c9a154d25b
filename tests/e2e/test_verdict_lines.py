"""Lines of a verdict in a pipe: one a sentence, for grep, whichever command answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.command import QUICK, hostsim

CURVE = "seconds,pages\n0.1,1000\n1,6000\n10,9000\n60,9500\n"
COMMANDS = {
    "fit": ("fit", "curve.csv"),
    "whatif": ("whatif", "curve.csv", "--memory", "64MiB", "--bandwidth", "1Gbit", "--reps", "2", "--workers", "1"),
    "predict": ("predict", "quick.toml", "--reps", "2", "--workers", "1", "--no-files"),
    "solve": ("solve", "quick.toml", "--reps", "1", "--workers", "1", "--no-files"),
    "compare": ("compare", "quick.toml", "--vary", "migration.downtime_limit=100ms,1s", "--workers", "1", "--no-files"),
    "sweep": ("sweep", "auto-converge", "--vm", "quick.toml", "--initial", "20", "--increment", "10", "--max", "99",
              "--workers", "1", "--no-files"),
    "measure-dirty": ("measure-dirty", "quick.toml", "--method", "bitmap", "--window", "1s", "--reps", "2", "--workers", "1",
                      "--no-files"),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_each_sentence_is_a_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text(QUICK, encoding="utf-8")
    (tmp_path / "curve.csv").write_text(CURVE, encoding="utf-8")
    done, data = (hostsim(*COMMANDS[name], *more, cwd=tmp_path) for more in ((), ("--json",)))
    assert (done.returncode, data.returncode) == (0, 0), done.stderr + data.stderr
    content = json.loads(data.stdout)
    sentences = content["lines"] if name == "fit" else content["verdict"]
    assert len(sentences) > 1
    assert set(sentences) <= set(done.stdout.splitlines())
