"""Any text is a log, or an InputError that names a place; and any log can be judged."""

from __future__ import annotations

import json
import re
from pathlib import Path
from time import process_time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostsim.core.errors import InputError
from hostsim.logs.model import MigrationLog
from hostsim.logs.query_migrate import RAM, TOP, XBZRLE
from hostsim.logs.sniff import parse_logs
from hostsim.verdict import Verdict, diagnose, evidence_from_log, explain_log, render
from tests.unit.test_logs_text import COMPLETED, HMP_7, HMP_10, JOB

SAMPLES = Path(__file__).parents[1] / "data" / "logs" / "query_migrate_samples.jsonl"
LINES = SAMPLES.read_text().splitlines()
FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Where most of the time goes into fitting curves."""
CALM = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

STATUS = st.sampled_from(["none", "setup", "active", "cancelled", "completed", "failed", "postcopy-active", "odd"])
FIGURE = st.one_of(st.integers(-2, 2**64), st.floats(), st.none(), st.sampled_from([0, 1, 4096, 10**6]))
NEAT = st.integers(0, 10**10)


def answers(figure: st.SearchStrategy) -> st.SearchStrategy:
    ram = st.fixed_dictionaries({}, optional=dict.fromkeys(RAM, figure))
    xbzrle = st.fixed_dictionaries({}, optional=dict.fromkeys(XBZRLE, figure))
    top = {**dict.fromkeys(TOP, figure), "ram": ram, "xbzrle-cache": xbzrle}
    return st.fixed_dictionaries({"status": STATUS}, optional=top)


def read(text: str) -> tuple[MigrationLog, ...]:
    caught: list[InputError] = []
    try:
        return parse_logs(text, "fuzz")
    except InputError as error:
        caught.append(error)
    assert all(problem.wanted for error in caught for problem in error.problems)
    return ()


def judged(text: str) -> bool:
    """Whether what came out, if anything did, was a verdict."""
    logs = read(text)
    verdicts = [render(judge(log)).splitlines() for log in logs for judge in (explain_log, _as_any_migration)]
    return all(lines[0].startswith("VERDICT: ") and len(lines) <= 8 for lines in verdicts)


def _as_any_migration(log: MigrationLog) -> Verdict:
    return diagnose(evidence_from_log(log))


@given(st.text(max_size=300))
@CALM
def test_any_text(text: str) -> None:
    assert judged(text)


KEYS = st.sampled_from(
    ["status", "ram", "t", "info", "return", "tag", "event", "error", "data", "msg", "disk", "migrationState"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
)


@given(JSON)
@CALM
def test_any_json(value: object) -> None:
    assert judged(json.dumps([value]))


@given(st.lists(answers(FIGURE), max_size=6))
@CALM
def test_any_answers(rows: list[dict]) -> None:
    assert judged(json.dumps(rows))


@given(st.lists(st.tuples(st.floats(0, 100), answers(NEAT)), max_size=8))
@CALM
def test_answers_with_any_figures(rows: list[tuple[float, dict]]) -> None:
    assert judged(json.dumps([{"t": t, "info": info} for t, info in sorted(rows, key=lambda row: row[0])]))


@given(st.data())
@FEW
def test_damaged_samples(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(LINES) - 20))
    text = "\n".join(LINES[at : at + data.draw(st.integers(1, 20))])
    assert judged(damaged(data, text))


@given(st.data())
@CALM
def test_damaged_text(data: st.DataObject) -> None:
    assert judged(damaged(data, data.draw(st.sampled_from([JOB.format(ms=900) * 2, COMPLETED, HMP_7, HMP_10]))))


def damaged(data: st.DataObject, text: str) -> str:
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(st.text(max_size=3)) + text[at + data.draw(st.integers(0, 3)) :]
    return text


CASES = sorted(path for path in (SAMPLES.parent / "cases").iterdir())
ENDED = ("completed", "failed")
NOISE = st.sampled_from(
    ["", "$ date", "Mon Jan  1 10:00:05 UTC 2024", "INFO nova.compute.manager [-] Took 3 s", "--", '{"QMP": {}}',
     "it's {not} json",
     "error: timed out", "(qemu) ", "Status: ok", "{'a':", "domain: running"],
)  # fmt: skip
WHOLE = (
    "shell-before-json.txt", "vmi-status.yaml", "virt-launcher-wrapped.txt", "virsh-migrate-verbose.txt", "vmi-list.json",
    "vmi-described.txt", "vmim-phases.yaml", "ansible.txt", "docker-json.txt", "wrapped-at-80.txt", "head-cut-off.txt",
    "pretty-behind-dates.txt", "json-over-dated-lines.txt", "python-dicts-in-a-tree.txt", "virsh-migrate-cancelled.txt",
    "hmp-blocked.txt", "proxmox-api.json", "elastic-nova.json", "nova-migration-show.json", "throttled-in-vain.json",
    "dirty-limit.json", "ganeti.txt", "dict-over-prefixed-lines.txt", "two-guests-under-headings.txt",
    "domjobinfo-then-gone.txt",
)  # fmt: skip
BROKEN_COUNTERS = ["-1", "18446744073709551615", "-nan", "nan", "0", "", "9" * 400, "1e400"]


def outcomes(text: str) -> list[str]:
    return [explain_log(log).outcome for log in read(text)]


@given(st.data())
@CALM
def test_a_known_log_that_is_cut_is_judged_or_refused(data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from(CASES)).read_text().splitlines()
    first = data.draw(st.integers(0, len(lines)))
    assert judged("\n".join(lines[first : data.draw(st.integers(first, len(lines)))]))


@given(st.data())
@FEW
def test_noise_between_the_answers_changes_nothing(data: st.DataObject) -> None:
    """Between lines, not within what is printed over several; and an error of virsh after its progress is no noise."""
    path = data.draw(st.sampled_from([path for path in CASES if path.name not in WHOLE]))
    lines = path.read_text().splitlines()
    noisy = [line for known in lines for line in (known, data.draw(NOISE)) if line or not known]
    assert outcomes("\n".join(noisy)) == outcomes("\n".join(lines))


@given(st.data())
@FEW
def test_a_broken_counter_leaves_a_verdict(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([path for path in CASES if path.name != "failed.json"])).read_text()
    numbers = list(re.finditer(r"(?<=[ :=])\d+(?:\.\d+)?", text))
    found = data.draw(st.sampled_from(numbers))
    told = data.draw(st.sampled_from(BROKEN_COUNTERS))
    assert judged(text[: found.start()] + told + text[found.end() :])


@pytest.mark.parametrize("text", ['{"a":' * 50_000, "[{'a': " * 50_000, "{" * 300_000, "a: " * 200_000, '{"ram": "' * 9999])
def test_braces_without_end_take_no_time(text: str) -> None:
    began = process_time()
    assert read(text) == ()
    assert process_time() - began < 5


def test_a_log_of_a_day_is_judged_in_seconds() -> None:
    ram = {"total": 1 << 33, "mbps": 800, "dirty-pages-rate": 24000}
    rows = []
    for i in range(1, 4000):
        left = {"remaining": 10**9 + i % 7 * 10**7, "transferred": 10**8 * i, "normal": 24000 * i, "dirty-sync-count": 1 + i}
        rows.append({"status": "active", "total-time": 3000 * i, "ram": ram | left})
    began = process_time()
    assert outcomes("\n".join(json.dumps(row) for row in rows)) == ["not converging"]
    assert process_time() - began < 10


def test_a_control_character_in_a_figure_is_told_as_an_escape() -> None:
    text = HMP_7.replace("total time: 1", "total time: 1\x1e")
    assert "\x1e" in text
    (log,) = parse_logs(text, "fuzz")
    assert r"\x1e" in render(explain_log(log))
    assert judged(text)
