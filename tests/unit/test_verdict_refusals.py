"""Logs without an answer, and the text of a verdict."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hostsim.logs.sniff import parse_logs
from hostsim.verdict import Confidence, Remedy, Verdict, diagnose, evidence_from_log, render


def answer(t: float, status: str = "active", **ram: float) -> dict[str, Any]:
    return {"t": t, "info": {"status": status, **({"ram": ram} if ram else {})}}


def judged(*answers: dict[str, Any]) -> Verdict:
    return diagnose(evidence_from_log(parse_logs(json.dumps(answers))[0]))


FIRST = {"total": 1 << 30, "remaining": 1 << 29, "transferred": 1 << 29, "dirty-sync-count": 1}


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([answer(0, "setup")], "no progress in the log"),
        ([answer(0, "none"), answer(1, "none")], "no progress in the log"),
        ([answer(0), answer(9, "cancelled")], "no progress in the log"),
        ([answer(3, **FIRST)], "one answer does not show"),
        ([answer(3, **FIRST), answer(4, **FIRST)], "no bytes were sent"),
    ],
)
def test_what_cannot_tell_is_refused_with_the_reason(answers: list[dict[str, Any]], why: str) -> None:
    verdict = judged(*answers)
    assert verdict.outcome == "cannot tell"
    assert why in verdict.headline
    assert verdict.measure_next
    assert not verdict.remedies


def test_a_failure_shows_its_reason() -> None:
    failed = {"t": 2, "info": {"status": "failed", "error-desc": "Unable to write to socket: Broken pipe"}}
    verdict = judged(answer(1, **FIRST), failed)
    assert verdict.outcome == "failed"
    assert "Broken pipe" in render(verdict)


def test_a_cancel_within_the_first_pass() -> None:
    later = FIRST | {"remaining": 1 << 28, "transferred": 3 << 28}
    verdict = judged(answer(3, **FIRST), answer(4, **later), answer(5, "cancelled"))
    assert verdict.outcome == "too early to tell"
    assert "75 % of 1.07 GB" in render(verdict)


def test_postcopy_under_way() -> None:
    later = FIRST | {"remaining": 1 << 28, "transferred": 3 << 28, "postcopy-requests": 17}
    verdict = judged(answer(3, **FIRST), answer(4, "postcopy-active", **later), answer(5, "postcopy-active", **later))
    assert verdict.outcome == "would converge"
    assert "the guest has waited for 17 requested pages so far" in render(verdict)


def test_long_verdicts_lose_remedies_not_lines_of_reason() -> None:
    verdict = Verdict(
        "not converging",
        "head",
        findings=("Why: one.", "Floor: two."),
        remedies=tuple(Remedy(f"kind{i}", f"remedy {i}", command="do it") for i in range(9)),
        confidence=Confidence("low", "reason"),
    )
    lines = render(verdict).splitlines()
    assert len(lines) == 8
    assert lines[:3] == ["VERDICT: head.", "Why: one.", "Floor: two."]
    assert lines[3] == "- remedy 0: `do it`"
    assert lines[-1] == "Confidence: low (reason)."


def test_no_warning_is_ever_cut_off() -> None:
    nine = tuple(f"warning {i}" for i in range(9))
    findings = tuple(f"Why: {i}." for i in range(9))
    verdict = Verdict("not converging", "head", findings=findings, remedies=(Remedy("k", "change"),), warnings=nine)
    lines = render(verdict).splitlines()
    assert lines[1:10] == [f"Warning: warning {i}." for i in range(9)]
    assert lines[10:] == list(findings)


def test_markdown() -> None:
    verdict = Verdict("completed", "head", findings=("Why: one.",), remedies=(Remedy("k", "change"),))
    assert render(verdict, "markdown").splitlines() == ["**VERDICT:** head.", "- *Why:* one.", "- change"]


def test_a_change_that_does_not_help_has_no_command() -> None:
    verdict = Verdict("not converging", "head", remedies=(Remedy("k", "no use", command="do it", helps=False),))
    assert "do it" not in render(verdict)
