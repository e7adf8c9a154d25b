"""The argument about the rmap through the command: each in a process of its own, for a process debates on one machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.command import environment, forked_hostsim, hostsim

NAMED = (3, 6, 12)
"""Claims of which the page says what comes out on a newer machine."""
OF_THESE = """\
from hostsim.cli.main import main
from hostsim.study.rmap_debate import debate
claims = [claim for group in debate.GROUPS.values() for claim in group]
debate.GROUPS = {"some": tuple(claims[number - 1] for number in (%s)) }
main()
"""


CLAIMS = [pytest.param(NAMED, marks=pytest.mark.long), pytest.param(range(1, 13), marks=pytest.mark.swarm)]


@pytest.fixture(scope="module", params=CLAIMS, ids=["named", "all"])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """Measured crossings of a newer machine, by claim and what meets."""
    code = OF_THESE % ", ".join(map(str, request.param))
    command = [sys.executable, "-c", code, "debate", "--sheet", "cascade-lake", "--json", "--no-files"]
    folder = tmp_path_factory.mktemp("debate")
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    claims = json.loads(done.stdout)["claims"]
    assert {claim["number"] for claim in claims} == set(request.param)
    assert {claim["verdict"] for claim in claims} <= {"holds", "holds if"}
    return {str(claim["number"]): {one["what"]: one["measured"] for one in claim["crossings"]} for claim in claims}


def test_the_page_says_what_comes_out_on_a_newer_machine(told: dict[str, dict[str, float]], root: Path) -> None:
    page = (root / "docs" / "background" / "rmap-debate.md").read_text(encoding="utf-8")
    (lookups,), (scattered,), (faults,) = (told[number].values() for number in ("6", "3", "12"))
    for words in (f"{lookups:.0f} ms between harvests", f"below {scattered:.3g} pages", f"{100 * faults:.3g} % of memory"):
        assert words in page, words


def test_the_script_has_the_options_of_the_command(root: Path, tmp_path: Path) -> None:
    script = root / "scenarios" / "rmap_debate.py"
    wrong = ("--sheet", "cascade-lak")
    alone = subprocess.run([sys.executable, script, *wrong], cwd=tmp_path, capture_output=True, text=True, check=False)
    for refused in (hostsim("run", script, "--", *wrong, cwd=tmp_path), alone):
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.count("cascade-lake") == 2, refused.stderr  # as the nearest, and as an example
        assert "Traceback" not in refused.stderr
    told = hostsim("run", script, "--json", cwd=tmp_path)
    assert told.returncode == 2
    assert "hostsim run FILE.py -- --json" in told.stderr
    assert not list(tmp_path.iterdir())


def test_nowhere_to_write_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    done = forked_hostsim("debate", "--out", "taken", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "taken" in done.stderr
