"""The verdicts of a run as text: on each migration, and on the host's memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from hostsim.verdict import diagnose, evidence_from_result, render
from hostsim.verdict.memory import host_verdict
from hostsim.verdict.render import marked, warning_lines

if TYPE_CHECKING:
    from hostsim.results.tables import RunResult
    from hostsim.verdict import Verdict


def verdict_texts(
    result: RunResult, style: Literal["text", "markdown"], verdicts: Sequence[Verdict] | None = None
) -> list[str]:
    """The verdict on each migration of ``result``, if it had the time to come to one, and on the host's memory.

    Warnings stand in the verdict on the migration or, where there is none, by themselves.
    style: of each text, for a terminal or as Markdown.
    verdicts: of the migrations in order, where the caller has them; None: each is diagnosed here.
    """
    told = [] if result.host is None else ["\n".join(host_verdict(result, style))]
    if ran_out(result) or not result.migrations:
        lines = warning_lines(result.warnings)
        alone = "\n".join(lines if style == "text" else map(marked, lines))
        return told + ([alone] if alone else [])
    if verdicts is None:
        verdicts = [diagnose(evidence_from_result(result, i)) for i in range(len(result.migrations))]
    return [render(verdict, style) for verdict in verdicts] + told


def ran_out(result: RunResult) -> bool:
    """Whether the host's memory ran out: a run that ended so prints no verdict on its migration."""
    return result.host is not None and result.host.out_of_memory is not None


def verdict_file(verdicts: Sequence[str]) -> dict[str, bytes]:
    """``verdict.txt``, an empty line between migrations; nothing for a run without one."""
    text = "\n\n".join(verdict.strip("\n") for verdict in verdicts)
    return {"verdict.txt": f"{text}\n".encode()} if verdicts else {}
