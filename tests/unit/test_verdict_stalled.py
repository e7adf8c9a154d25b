"""Logs whose last answers show that nothing is sent, and logs in which that only seems so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import hostsim
from hostsim.verdict import Verdict

GIB = 1 << 30
SPEED = 125_000_000


def answer(second: float, sent_s: float, status: str = "active", **more: Any) -> dict[str, Any]:
    """An answer ``second`` seconds after the start, up to which QEMU has sent for ``sent_s`` seconds."""
    pages = int(sent_s * SPEED / 4104)
    ram = {
        "total": 4 * GIB, "remaining": max(0, 4 * GIB - pages * 4096), "transferred": pages * 4104, "normal": pages,
        "normal-bytes": pages * 4096, "duplicate": 0, "dirty-sync-count": 1, "dirty-pages-rate": 0, "page-size": 4096,
        "mbps": 1000.0,
    }  # fmt: skip
    return {"return": {"status": status, "total-time": int(second * 1000), "setup-time": 1, "ram": {**ram, **more}}}


def explained(tmp_path: Path, answers: list[dict[str, Any]]) -> Verdict:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in answers))
    (verdict,) = hostsim.explain(path)
    return verdict


@pytest.mark.parametrize("end", ["active", "cancelled"])
@pytest.mark.parametrize("stall_s", [6, 60])
def test_a_stall_is_told_with_its_length_and_no_forecast(tmp_path: Path, end: str, stall_s: int) -> None:
    answers = [answer(t, t) for t in range(1, 11)] + [answer(t, 10) for t in range(11, 11 + stall_s)]
    answers += [{"return": {"status": "cancelled"}}] if end == "cancelled" else []
    verdict = explained(tmp_path, answers)
    assert verdict.outcome == "cannot tell"
    assert verdict.numbers["stalled_s"] == pytest.approx(stall_s)
    assert "1 Gbit/s on average" in verdict.findings[0]
    assert not any(remedy.helps for remedy in verdict.remedies)


SENDS = [answer(t, t) for t in range(1, 11)]


@pytest.mark.parametrize("answers", [
    SENDS,
    SENDS + [answer(t, 10) for t in range(11, 14)],
    SENDS + [answer(t, 10) for t in range(11, 21)] + [answer(t, t - 10) for t in range(21, 31)],
    [answer(t, min(t, 30), remaining=0) for t in range(1, 45)],
    [answer(1, 1), answer(30, 1)],
])  # fmt: skip
def test_progress_a_short_pause_an_end_of_the_stall_and_an_empty_rest_are_none(
    tmp_path: Path, answers: list[dict[str, Any]]
) -> None:
    assert "stalled_s" not in explained(tmp_path, answers).numbers


def test_a_stall_of_post_copy_says_that_the_guest_waits(tmp_path: Path) -> None:
    answers = [answer(t, min(t, 5), "postcopy-active") for t in range(1, 20)]
    verdict = explained(tmp_path, answers)
    assert "nothing has been sent for 14 s" in verdict.headline
    assert "until it touches a page that is missing" in verdict.findings[0]


def test_post_copy_that_recovered_says_how_long_it_was_interrupted(tmp_path: Path) -> None:
    answers = [answer(t, t) for t in range(1, 4)] + [answer(4, 4, "postcopy-active")]
    answers += [answer(t, 4, "postcopy-paused") for t in range(5, 9)] + [answer(9, 4, "postcopy-recover")]
    answers += [answer(10, 5, "postcopy-active"), answer(40, 35, "completed")]
    verdict = explained(tmp_path, answers)
    assert verdict.outcome == "completed by post-copy"
    (line,) = (line for line in verdict.findings if line.startswith("Broken link"))
    assert "for up to 6 s and recovered" in line
