"""Findings between keys of a scenario in which some keys are wrong by themselves, so that one run reports all problems.

Wrong keys are taken out, keys without a default get a stand-in, and a finding that rests on either is not reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from hostsim.core.errors import InputError
from hostsim.core.finding import Finding
from hostsim.scenario.checks import cross_findings
from hostsim.scenario.problems import LOOKED_UP_MAX, Location, dotted

if TYPE_CHECKING:
    from hostsim.scenario.schema import Scenario

STAND_INS: Mapping[str, str | int] = {
    "memory": "64TiB", "pattern": "idle", "name": "stand-in", "size": "4KiB", "length": "1s",
}  # fmt: skip


def findings_despite(data: Any, error: ValidationError, validate: Callable[[Any], Scenario]) -> list[Finding]:
    """Findings of ``data`` that rest on none of the keys that ``error`` names; none if ``data`` cannot be repaired."""
    if error.error_count() > LOOKED_UP_MAX:
        return []
    locations = [one["loc"] for one in error.errors(include_url=False)]
    mended = _copy(data)
    if not all(_mend(mended, location) for location in locations):
        return []
    try:
        findings = cross_findings(validate(mended))
    except (ValidationError, InputError):
        return []
    broken = frozenset(dotted(location) for location in locations)
    return [finding for finding in findings if not finding.rests_on(broken)]


def _copy(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _copy(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_copy(value) for value in data]
    return data


def _mend(data: Any, location: Location) -> bool:
    """Take the key at ``location`` out or put its stand-in there. In place. False if that does not work."""
    owner = _at(data, location[:-1])
    if not isinstance(owner, dict) or not location or not isinstance(location[-1], str):
        return False
    owner.pop(location[-1], None)
    if location[-1] in STAND_INS and not (location[-1] == "name" and len(location) == 1):
        owner[location[-1]] = STAND_INS[location[-1]]
    return True


def _at(data: Any, location: Location) -> Any:
    for part in location:
        if isinstance(part, int):
            data = data[part] if isinstance(data, Sequence) and part < len(data) else None
        else:
            data = data.get(part) if isinstance(data, Mapping) else None
    return data
