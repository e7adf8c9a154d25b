"""Several migrations of one guest: fitted together, or the one that is asked for."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from hostsim.core.errors import InputError
from hostsim.fitting.fitted import fit, rows_of
from hostsim.fitting.refusal import NotIdentifiedError
from hostsim.report.fit_report import fit_lines, rounds_grid
from hostsim.scenario.schema import Scenario
from tests.helpers.polled import polled_log

WRITTEN = 3000
RATE = 4000
MIB_PER_S = 16


def migration(write_rate: int = RATE, written: int = WRITTEN, memory_mib: int = 32, **keys: object) -> str:
    """The log of a guest that writes pages evenly; keys: of [migration]."""
    load = {"pattern": "uniform", "size": f"{4 * written}KiB", "write_rate": f"{write_rate}/s", "arrivals": "poisson"}
    scenario = {
        "duration": "30s", "vm": {"memory": f"{memory_mib}MiB", "workload": [load]},
        "migration": {"bandwidth": f"{MIB_PER_S}MiB/s", "downtime_limit": "100ms", **keys}, "host": {"lateness": "drawn"},
    }  # fmt: skip
    return polled_log(Scenario.model_validate(scenario), 0.1)


def after(first: str, *others: str) -> str:
    """Logs as one poller writes them, its clock running on."""
    text, end = first, json.loads(first.splitlines()[-1])["t"]
    for other in others:
        lines = [json.loads(line) for line in other.splitlines()]
        text += "".join(json.dumps(line | {"t": end + 10 + line["t"]}) + "\n" for line in lines)
        end += 10 + lines[-1]["t"]
    return text


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "job.jsonl"


def test_a_retry_after_a_cancel_adds_its_rounds(log: Path) -> None:
    retried = migration(timeout="3s", retries=1, retry_after="1s")
    log.write_text(retried)
    both, first = fit(log, draws=20), fit(log, migration=1, draws=20)
    assert both.sources == (f"{log}: migrations 1 and 2 of 2",)
    assert first.sources == (f"{log}: migration 1 of 2",)
    assert sum(p.rounds for p in both.found.points) > sum(p.rounds for p in first.found.points)
    true_pages = WRITTEN * (1 - math.exp(-RATE / WRITTEN))
    known, less = (one.figures["dirtied_in_1s_pages"] for one in (both, first))
    assert known.low < true_pages < known.high
    assert known.high - known.low < 0.7 * (less.high - less.low)
    assert "migrations 1 and 2 of 2" in fit_lines(both)[0]
    assert [row["migration"] for row in rows_of(both)] == [1, 1, 2, 2]
    assert "migration" in {column.name for column in rounds_grid(both).columns}
    assert "migration" not in {column.name for column in rounds_grid(first).columns}


def test_one_round_each_identifies_a_guest_that_neither_does_alone(log: Path) -> None:
    slow, fast = migration(bandwidth="12MiB/s", timeout="3300ms"), migration(bandwidth="32MiB/s", timeout="1200ms")
    log.write_text(after(slow, fast))
    for number in (1, 2):
        with pytest.raises(NotIdentifiedError, match="one round only"):
            fit(log, migration=number, draws=0)
    found = fit(log, draws=0)
    assert len(found.observed) == 2
    assert found.classes.written_pages == pytest.approx(WRITTEN, rel=0.1)
    assert found.classes.writes_per_s == pytest.approx(RATE, rel=0.1)
    assert any("Bandwidth and downtime limit of the scenario are those of" in note for note in found.notes)


def test_a_load_that_changed_between_two_migrations_is_said(log: Path) -> None:
    log.write_text(after(migration(), migration(write_rate=3 * RATE)))
    assert any("the load was not the same in each" in note for note in fit(log, draws=0).notes)
    log.write_text(after(migration(), migration()))
    assert not any("the load was not the same in each" in note for note in fit(log, draws=0).notes)


def test_a_migration_without_rounds_is_left_out_and_named(log: Path) -> None:
    log.write_text(after(migration(timeout="400ms"), migration()))
    found = fit(log, draws=0)
    assert [one.log.part for one in found.observed] == [(2, 2)]
    assert any(note.startswith(f"Left out: {log}: migration 1 of 2: ") for note in found.notes)


def test_a_number_that_no_migration_has_is_refused(log: Path) -> None:
    log.write_text(after(migration(), migration()))
    with pytest.raises(InputError, match="--migration") as caught:
        fit(log, migration=3)
    assert caught.value.problems[0].wanted == "the number of one, 1 to 2"


def test_guests_of_two_sizes_are_not_fitted_as_one(log: Path) -> None:
    log.write_text(after(migration(), migration(memory_mib=64)))
    with pytest.raises(InputError, match=r"guests of .* and .*"):
        fit(log)
    assert fit(log, migration=2, draws=0).figures["ram_pages"].value == pytest.approx(64 * 256, rel=0.05)
