"""Whatever comes in: a log, or an InputError that names a place; and whatever log comes out can be judged."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostsim.errors import InputError
from hostsim.logs import MigrationLog, parse_logs
from hostsim.logs.query_migrate import RAM, TOP, XBZRLE
from hostsim.verdict import diagnose, evidence_from_log, render
from tests.unit.test_logs_text import COMPLETED, HMP_7, HMP_10, JOB

SAMPLES = Path(__file__).parents[1] / "data" / "logs" / "query_migrate_samples.jsonl"
LINES = SAMPLES.read_text().splitlines()
CALM = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

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
    verdicts = [render(diagnose(evidence_from_log(log))).splitlines() for log in read(text)]
    return all(lines[0].startswith("VERDICT: ") and len(lines) <= 8 for lines in verdicts)


@given(st.text(max_size=300))
@CALM
def test_any_text(text: str) -> None:
    assert judged(text)


KEYS = st.sampled_from(["status", "ram", "t", "info", "return", "tag"])
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
@CALM
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
