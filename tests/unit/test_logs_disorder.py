"""Logs in disorder: lines shuffled or of two guests in turn, clocks that step, sizes in other units, other encodings."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hostsim.core.errors import InputError
from hostsim.logs.model import MigrationLog
from hostsim.logs.sniff import parse_logs, read_logs

MIB = 1 << 20
PAGE, WIRE = 4096, 4104
ANSWERS = 40
SIZES = ("transferred", "remaining", "total")
RATE = 120_000_000
"""Bytes on the wire a second."""


def answers(total_mib: int = 2048, written_pages: int = 65_536, n: int = ANSWERS) -> Iterator[dict[str, Any]]:
    """An answer a second of a guest whose memory is whole pages, and which dirties its working set again in each round."""
    pages = total_mib * MIB // PAGE
    left, syncs, sent = float(pages), 1, 0.0
    for i in range(n):
        step = min(RATE / WIRE, left)
        sent, left = sent + step, left - step
        if left <= 0:
            left, syncs = float(written_pages), syncs + 1
        sizes = {"total": pages * PAGE, "remaining": round(left) * PAGE, "transferred": round(sent * WIRE)}
        counts = {"normal": round(sent), "duplicate": 0, "dirty-sync-count": syncs, "dirty-pages-rate": 30_000}
        ram = {**sizes, **counts, "mbps": RATE * 8 / 1e6}
        yield {"status": "active", "total-time": 1000 * (i + 1), "expected-downtime": 300, "ram": ram}


def lines_of(some: Iterator[dict[str, Any]]) -> list[str]:
    return [json.dumps({"return": one}) for one in some]


def only(text: str) -> MigrationLog:
    (log,) = parse_logs(text)
    return log


def alike(one: MigrationLog, other: MigrationLog) -> bool:
    names = ("t_s", "transferred_bytes", "remaining_bytes", "total_bytes", "dirty_sync_count")
    return all(np.allclose(getattr(one, name), getattr(other, name), rtol=1e-3, atol=0.5) for name in names)


@pytest.fixture(scope="module")
def straight() -> MigrationLog:
    return only("\n".join(lines_of(answers())))


@pytest.mark.parametrize("order", [lambda i: (i * 17) % ANSWERS, lambda i: (i * 7 + 3) % ANSWERS])
def test_shuffled_answers_are_sorted_and_said_to_be(order: Callable[[int], int], straight: MigrationLog) -> None:
    lines = lines_of(answers())
    log = only("\n".join(lines[order(i)] for i in range(ANSWERS)))
    assert alike(log, straight)
    assert any("sorted by their time" in note for note in log.notes)


def test_each_answer_thrice_is_one_migration(straight: MigrationLog) -> None:
    log = only("\n".join(line for line in lines_of(answers()) for _ in range(3)))
    assert len(log) == 3 * len(straight)
    assert log.part == (1, 1)


def test_attempts_after_each_other_are_not_taken_for_disorder() -> None:
    lines = lines_of(answers())
    logs = parse_logs("\n".join(lines[at - attempt] for attempt in range(4) for at in (12, 27, 38)))
    assert [len(log) for log in logs] == [3, 3, 3, 3]


def test_two_guests_in_turn_are_told_apart_by_their_memory(straight: MigrationLog) -> None:
    two = zip(lines_of(answers()), lines_of(answers(total_mib=4096)), strict=True)
    small, large = parse_logs("\n".join(line for both in two for line in both))
    assert alike(small, straight)
    assert (small.tag, large.tag) == ("guest-of-2048-MiB", "guest-of-4096-MiB")


def test_two_guests_alike_in_turn_are_refused() -> None:
    other = lines_of(answers(written_pages=20_000, n=30))
    turns = [line for i, line in enumerate(lines_of(answers())) for line in (line, *other[i - 10 : i - 9] * (i >= 10))]
    with pytest.raises(InputError, match="at least 2 migrations in turn"):
        parse_logs("\n".join(turns))


SUMMER_ENDS, SUMMER_BEGINS = datetime(2025, 10, 26, 2, 59, 40), datetime(2025, 3, 30, 1, 59, 40)  # noqa: DTZ001  local times
STEPS = (
    ("back by 5 s", datetime(2025, 6, 1, 12, 0, 0), -4, ("", "")),  # noqa: DTZ001
    ("back by 3600 s", SUMMER_ENDS, -3600, ("", "")),
    ("forward by 3600 s", SUMMER_BEGINS, 3600, ("", "")),
    ("", SUMMER_ENDS, -3600, ("+02:00", "+01:00")),
)


@pytest.mark.parametrize(("said", "start", "step_s", "zones"), STEPS)
def test_a_clock_that_steps_goes_on_and_is_said_to(
    said: str, start: datetime, step_s: int, zones: tuple[str, str], straight: MigrationLog
) -> None:
    lines = []
    for i, one in enumerate(answers()):
        told = {key: value for key, value in one.items() if key != "total-time"}
        after = i >= 20
        at = start + timedelta(seconds=i + step_s * after)
        lines.append(f"{at.isoformat()}{zones[after]} {json.dumps(told)}")
    log = only("\n".join(lines))
    assert np.allclose(np.diff(log.t_s), np.diff(straight.t_s), atol=1.1)
    assert log.t_s[-1] == pytest.approx(ANSWERS - 1, abs=1.1)
    assert bool(log.notes) == bool(said)
    assert said in " ".join(log.notes).replace("back by 4 s", said)


@pytest.mark.parametrize("factor", [1000, 1024, 1_000_000, MIB])
@pytest.mark.parametrize("scaled", [SIZES, ("transferred",), ("remaining",), ("total",)])
def test_sizes_in_other_units_are_read_as_the_pages_tell(
    factor: int, scaled: tuple[str, ...], straight: MigrationLog
) -> None:
    some = list(answers())
    for one in some:
        one["ram"] |= {name: one["ram"][name] / factor for name in scaled}
    log = only("\n".join(map(json.dumps, some)))
    assert alike(log, straight)
    (note,) = log.notes
    assert f"{factor} times too small" in note
    assert all(name in note for name in scaled)


def test_sizes_in_kib_without_pages_are_read_as_the_rate_tells(straight: MigrationLog) -> None:
    some = list(answers())
    for one in some:
        ram = one["ram"]
        one["ram"] = {key: ram[key] // 1024 if key in SIZES else ram[key] for key in (*SIZES, "dirty-sync-count", "mbps")}
    assert alike(only("\n".join(map(json.dumps, some))), straight)


def test_sizes_that_agree_stay_as_they_are(straight: MigrationLog) -> None:
    assert not straight.notes


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_texts_of_windows_are_read(encoding: str, straight: MigrationLog, tmp_path: Path) -> None:
    path = tmp_path / "job.txt"
    path.write_bytes("\r\n".join(lines_of(answers())).encode(encoding))
    (log,) = read_logs(str(path))
    assert alike(log, straight)
    assert not math.isnan(log.total_bytes[0])


@pytest.mark.parametrize("part", [{"xbzrle-cache": {"pages": 900, "bytes": 4000}}, {}])
def test_bytes_of_pages_that_travelled_in_part_tell_no_unit(part: dict[str, Any]) -> None:
    some = list(answers())
    for one in some:
        one["ram"] |= {"transferred": one["ram"]["transferred"] // 1024} | ({} if part else {"multifd-bytes": 5})
        one.update(part)
    assert not only("\n".join(map(json.dumps, some))).notes
