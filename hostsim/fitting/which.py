"""The migrations that a fit uses: all of one guest together, or the one that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from hostsim.core.errors import InputError, Problem
from hostsim.fitting.observed import Observed, observe
from hostsim.fitting.refusal import NotIdentifiedError, refusal_of, timed, too_few
from hostsim.logs.model import MigrationLog
from hostsim.verdict.words import bytes_words

SAME_MEMORY = 0.02
"""Totals of memory that differ by more than this share are of different guests: they are printed rounded (assumed)."""


def of_number(logs: Sequence[MigrationLog], number: int | None) -> list[MigrationLog]:
    """The migrations numbered ``number`` within their log, as ``hostsim explain`` counts; None: all. InputError."""
    found = [log for log in logs if number is None or log.part[0] == number]
    if not found:
        most = max(log.part[1] for log in logs)
        wanted = f"the number of one, 1 to {most}" if most > 1 else "1: the log holds one migration"
        raise InputError([Problem(logs[0].source, "--migration", str(number), wanted, f"--migration {most}")])
    return found


def of_one_guest(logs: Sequence[MigrationLog], files: int) -> list[MigrationLog]:
    """``logs`` without those of other guests in the only file. InputError if the fit could be of several."""
    reasons = {id(log): refusal_of(observe(log)) for log in logs}
    names = list(dict.fromkeys(log.tag for log in logs if not reasons[id(log)]))
    if files > 1 or len(names) < 2:
        return list(logs)
    alone = [name for name in names if any(log.tag == name and not _alone(log) for log in logs)]
    if len(alone) == 1:
        return [log for log in logs if log.tag == alone[0] or reasons[id(log)]]
    wanted = f"the guest to fit, one of: {', '.join(name or '(none)' for name in names)}"
    raise InputError(
        [Problem(logs[0].source, "--tag", f"migrations of {len(names)} guests", wanted, f"--tag {names[0] or names[-1]}")]
    )


def _alone(log: MigrationLog) -> str:
    one = observe(log)
    return refusal_of(one) or too_few(one)


def usable(some: Sequence[Observed]) -> tuple[list[Observed], list[str]]:
    """(migrations to fit together, the reason of each other one). NotIdentifiedError, InputError.

    A migration of one round holds the dirty curve at one time; with a round of another migration, it holds it at two.
    """
    reasons = [refusal_of(one) for one in some]
    told = [one for one, reason in zip(some, reasons, strict=True) if not reason]
    _require_one_memory(told)
    rounds = sum(len(timed(one)) for one in told)
    used = [one for one in told if not too_few(one) or (rounds > 1 and timed(one))]
    left = [(one, reason or too_few(one)) for one, reason in zip(some, reasons, strict=True) if one not in used]
    if not used:
        raise NotIdentifiedError(_by_reason(left))
    return used, _by_reason(left)


def _by_reason(left: Sequence[tuple[Observed, str]]) -> list[str]:
    """A sentence a reason: several migrations that share one are counted instead of named."""
    groups: dict[str, list[Observed]] = {}
    for one, reason in left:
        groups.setdefault(reason.removeprefix(f"{one.name}: "), []).append(one)
    return [
        f"{some[0].name}: {reason}" if len(some) == 1 else f"{len(some)} migrations of {some[0].log.source}: {reason}"
        for reason, some in groups.items()
    ]


def _require_one_memory(some: Sequence[Observed]) -> None:
    sizes = sorted({one.evidence.ram_bytes or 0.0 for one in some})
    if sizes and sizes[-1] > (1 + SAME_MEMORY) * sizes[0]:
        got = f"guests of {bytes_words(sizes[0])} and {bytes_words(sizes[-1])}"
        example = "hostsim fit a.jsonl --migration 1"
        raise InputError([Problem(some[0].log.source, "LOG", got, "migrations of one guest; --tag or --migration", example)])


def leading(some: Sequence[Observed]) -> Observed:
    """The migration that gives a scenario bandwidth, limit and memory: the first with a whole first pass, or the first."""
    return next((one for one in some if one.shows_first_pass), some[0])


def names_of(some: Sequence[Observed]) -> tuple[str, ...]:
    """A name a file: ``job.jsonl: migrations 1 and 3 of 3``."""
    return tuple(_name(list(group)) for _, group in groupby(some, key=lambda one: (one.log.source, one.log.tag)))


def _name(some: Sequence[Observed]) -> str:
    if len(some) == 1:
        return some[0].name
    numbers = [str(one.log.part[0]) for one in some]
    log, listed = some[0].log, f"{', '.join(numbers[:-1])} and {numbers[-1]}"
    return f"{log.source}: {f'{log.tag}, ' if log.tag else ''}migrations {listed} of {log.part[1]}"
