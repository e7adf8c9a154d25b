"""``hostsim explain`` through the installed command."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.helpers.command import hostsim

pytestmark = pytest.mark.e2e
SAMPLES = Path(__file__).parents[1] / "data" / "logs" / "query_migrate_samples.jsonl"
OUTCOMES = {
    "fast/precopy": "not converging",
    "fast/auto-converge": "not converging",
    "fast/xbzrle": "blocked by xbzrle accounting",
    "fast/postcopy@1": "completed by post-copy",
    "mid/precopy": "not converging",
    "mid/auto-converge": "not converging",
    "mid/xbzrle": "completed",
    "mid/postcopy@1": "completed by post-copy",
    "slow/precopy": "completed",
    "slow/auto-converge": "completed",
    "slow/xbzrle": "completed",
    "slow/postcopy@1": "completed by post-copy",
}


def explain(*args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return hostsim("explain", *args, cwd=SAMPLES.parent, stdin=stdin)


def test_every_migration_of_a_log() -> None:
    ran = explain(str(SAMPLES), "--json")
    assert ran.returncode == 0, ran.stderr
    assert {one["tag"]: one["outcome"] for one in json.loads(ran.stdout)} == OUTCOMES


def test_one_migration_by_its_tag() -> None:
    ran = explain(str(SAMPLES), "--tag", "fast/precopy", "--profile", "libvirt")
    lines = ran.stdout.splitlines()
    assert ran.returncode == 0, ran.stderr
    assert lines[0].startswith("VERDICT: not converging (remaining stops falling)")
    assert len(lines) <= 8
    assert "virsh migrate-setmaxdowntime" in ran.stdout


def test_several_migrations_have_titles() -> None:
    ran = explain(str(SAMPLES), "--format", "markdown")
    assert [line[4:] for line in ran.stdout.splitlines() if line.startswith("### ")] == list(OUTCOMES)
    assert ran.stdout.count("**VERDICT:**") == 12


def test_standard_input() -> None:
    lines = [line for line in SAMPLES.read_text().splitlines() if '"slow/xbzrle"' in line]
    ran = explain("-", stdin="\n".join(lines))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("VERDICT: completed (converged) in 2.67 s")


def test_limits_that_are_told() -> None:
    ran = explain(
        str(SAMPLES), "--tag", "fast/precopy", "--downtime-limit", "290ms", "--bandwidth", "60MB/s", "--link", "25Gbit/s"
    )
    assert ran.returncode == 0, ran.stderr
    assert "raise max-bandwidth" in ran.stdout
    assert "now 290 ms" in ran.stdout


def test_a_log_that_cannot_tell_is_no_error() -> None:
    ran = explain("-", stdin='{"status": "setup"}')
    assert ran.returncode == 0
    assert ran.stdout.startswith("VERDICT: cannot tell: ")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["missing.jsonl"], ["missing.jsonl", "No such file"]),
        ([str(SAMPLES), "--tag", "fastest"], ["--tag", "fastest", "fast/precopy"]),
        ([str(SAMPLES), "--downtime-limit", "300", "--profile", "xen"], ["300", "xen", "libvirt"]),
        ([str(SAMPLES), "--bandwidth", "fast"], ["fast"]),
    ],
)
def test_bad_input_is_named_on_standard_error(args: list[str], said: list[str]) -> None:
    ran = explain(*args)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr
    assert all(word in " ".join(ran.stderr.split()) for word in said)


def test_a_broken_log_is_named_with_its_line_and_the_forms_that_are_read() -> None:
    ran = explain("-", stdin='\n{"status": ')
    said = " ".join(ran.stderr.split())
    assert ran.returncode == 2
    assert "line 2" in said
    assert "virsh domjobinfo" in said


def test_two_migrations_in_a_log_are_both_told() -> None:
    ran = explain(str(SAMPLES.parent / "cases" / "two-migrations.jsonl"))
    assert ran.stdout.startswith("This log holds 2 migrations")
    assert "[migration 1 of 2, line 1]" in ran.stdout
    assert ran.stdout.count("VERDICT: completed") == 2


def test_a_dirty_rate_comes_with_a_scenario() -> None:
    path = str(SAMPLES.parent / "cases" / "domstats-dirtyrate.txt")
    assert '[[vm.workload]]\npattern = "sequential"' in explain(path).stdout
    (told,) = json.loads(explain(path, "--json").stdout)
    assert told["scenario"].startswith("#")
