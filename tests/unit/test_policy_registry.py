"""The table of ageing policies: every entry can be made, and every other place takes the names from it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from hostsim.core.errors import InputError
from hostsim.memory.policies.registry import POLICIES, Use, policies_markdown, policy_names, policy_of
from hostsim.scenario.reference import json_schema
from tests.helpers.command import hostsim

USES: tuple[Use, ...] = get_args(Use)


@pytest.mark.parametrize("era", ["E4", "E6"])
@pytest.mark.parametrize("use", USES)
def test_every_name_of_a_use_makes_a_policy_for_it(use: Use, era: str) -> None:
    for name in policy_names(use):
        policy = policy_of(name, era, use)
        makers = {"ageing": policy.passes, "age": policy.passes, "memory": policy.evicts, "reclaim": policy.pages_out}
        maker = makers[use]
        if use == "ageing" and policy.scans:
            continue
        assert maker is not None, name
        made = getattr(maker, "make", maker)(100, 3, 2)
        made.insert(made.resident_pages())
        assert not len(made.resident_pages()), "a policy is made without pages"


def test_a_use_has_only_what_serves_it() -> None:
    assert {"scan", "two-list", "two-list-before-5.9"} <= set(POLICIES) - set(policy_names("reclaim"))
    with pytest.raises(InputError, match="got 'damon', wanted one of two-list, two-list-before-"):
        policy_of("damon", "E4", "memory")


def test_scenarios_commands_and_the_reference_have_its_names(root: Path) -> None:
    tables = json_schema()["$defs"]
    assert tables["Ageing"]["properties"]["policy"]["enum"] == list(policy_names("ageing"))
    assert tables["HostMemory"]["properties"]["policy"]["enum"] == list(policy_names("memory"))
    for command in ("age", "reclaim"):
        use: Use = "age" if command == "age" else "reclaim"
        shown = "".join(hostsim(command, "--help", cwd=root, COLUMNS="400").stdout.split())
        assert f"{','.join(policy_names(use))}." in shown
    assert policies_markdown() in (root / "docs" / "reference" / "scenario.md").read_text(encoding="utf-8")
