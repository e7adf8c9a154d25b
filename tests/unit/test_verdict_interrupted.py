"""Sentences on migrations that were interrupted, and keys that the loader refuses together."""

from __future__ import annotations

from typing import Any

import pytest

from hostsim import Scenario, run
from hostsim.core.constants import NS_PER_S
from hostsim.core.errors import InputError
from hostsim.results.tables import MigrationResult
from hostsim.verdict.diagnose import diagnose
from hostsim.verdict.from_result import evidence_from_result

MINUTE = 60 * NS_PER_S
LOAD = [{"pattern": "uniform", "size": "4MiB", "write_rate": "5000/s"}]


def scenario(migration: dict[str, Any], **link: Any) -> Scenario:
    return Scenario.model_validate(
        {
            "duration": "1000s", "vm": {"memory": "16MiB", "workload": LOAD},
            "migration": {"bandwidth": "16MiB/s", **migration}, "link": {"bandwidth": "1Gbit/s", **link},
        }
    )  # fmt: skip


def told(migration: dict[str, Any], **link: Any) -> tuple[MigrationResult, str]:
    """The last attempt, and its headline with all findings."""
    result = run(scenario(migration, **link))
    verdict = diagnose(evidence_from_result(result, len(result.migrations) - 1))
    return result.migrations[-1], "\n".join((verdict.headline, *verdict.findings))


@pytest.mark.parametrize(
    ("migration", "link", "status", "sentences"),
    [
        ({}, {"outage": [{"start": "500ms", "length": "1s"}]}, "completed",
         ("Outage: from 500 ms on the network dropped all packets for 1 s.", "expired 3 times; TCP sent")),
        ({}, {"loss": "1%"}, "completed", ("packets were lost at random; TCP sent",)),
        ({}, {"outage": [{"start": "500ms", "length": "990s"}]}, "failed",
         ("Unable to write to socket: Connection timed out", "expired 15 times; then the connection broke.")),
        ({"profile": "libvirt"}, {"outage": [{"start": "10ms", "length": "100s"}]}, "cancelled",
         ("Manager: at 30 s", "it cancels")),
        ({"timeout": "1ms"}, {}, "cancelled", ("Cancel: migrate_cancel met status setup",)),
        ({"pause_before_switchover": True, "continue_after": "2s"}, {}, "completed",
         ("Pause: for 2 s of the downtime the guest waited for migrate-continue",)),
        ({"pause_before_switchover": True, "continue_after": "never", "timeout": "9s"}, {}, "cancelled",
         ("in status pre-switchover, then it was cancelled and the guest runs on at the source", "not a matter of conv")),
        ({"pause_before_switchover": True, "continue_after": "never"}, {}, "active", ("and waits still",)),
        ({"suspend_after": "700ms"}, {}, "completed", ("Operator: the guest was suspended at 700 ms",)),
        ({"downtime_limit": "1ms", "set": [{"after": "900ms", "downtime_limit": "1s"}]}, {}, "completed",
         ("Operator: at 900 ms downtime-limit became 1000 ms.",)),
        ({"downtime_limit": "1ms", "timeout": "1s", "retries": 1}, {}, "cancelled", ("Attempt: number 2",)),
    ],
)  # fmt: skip
def test_the_verdict_says_how_it_was_interrupted(
    migration: dict[str, Any], link: dict[str, Any], status: str, sentences: tuple[str, ...]
) -> None:
    result, text = told(migration, **link)
    assert result.status == status
    assert all(sentence in text for sentence in sentences), text


@pytest.mark.parametrize(
    ("migration", "link", "key", "wanted"),
    [
        ({"switchover_ack": True}, {}, "migration.switchover_ack", "return_path = true beside it"),
        ({"switchover_ack": True, "return_path": True, "qemu": "7.2"}, {}, "migration.switchover_ack", '"10.0" or later'),
        ({"set": [{"downtime_limit": "1s"}]}, {}, "migration.set[0].after", "one of the two"),
        ({"set": [{"after": "1s"}]}, {}, "migration.set[0].downtime_limit", "at least one of"),
        ({}, {"loss": "1%", "latency": "0s"}, "link.latency", "a round trip"),
        ({}, {"outage": [{"start": "1s", "length": "5s"}, {"start": "2s", "length": "1s"}]}, "link.outage[1].start",
         "outages that do not overlap"),
    ],
)  # fmt: skip
def test_the_loader_refuses_with_key_and_wanted(
    migration: dict[str, Any], link: dict[str, Any], key: str, wanted: str
) -> None:
    with pytest.raises(InputError) as caught:
        scenario(migration, **link)
    assert [(problem.key, wanted in problem.wanted) for problem in caught.value.problems] == [(key, True)]


def test_a_version_without_the_acknowledgement_is_not_asked_for_it() -> None:
    """A manager asks QEMU for its capabilities first: 7.2 under libvirt pauses, and has no acknowledgement."""
    migration = scenario({"profile": "libvirt", "qemu": "7.2"}).migration
    assert migration is not None
    assert (migration.pause_before_switchover, migration.switchover_ack) == (True, False)


@pytest.mark.parametrize("profile", ["qemu", "libvirt"])
@pytest.mark.parametrize("drops", ["both", "to-source"])
def test_a_network_that_is_down_at_the_end_is_no_matter_of_convergence(profile: str, drops: str) -> None:
    """libvirt's keepalive cancels after 30 s, QEMU alone waits: the guest would converge without the outage either way."""
    outage = [{"start": "500ms", "length": "800s", "drops": drops}]
    plan = scenario({"profile": profile, "bandwidth": "16MiB/s"}, outage=outage)
    result = run(plan.model_copy(update={"duration": MINUTE}))
    verdict = diagnose(evidence_from_result(result))
    assert verdict.outcome == "cannot tell"
    assert "the network has been down since 500 ms" in verdict.headline
    assert {remedy.kind for remedy in verdict.remedies} == {"outage", "timeout"}


@pytest.mark.parametrize(("start", "length", "timeout"), [("5s", "800s", "30s"), ("500ms", "100ms", "30s")])
def test_a_guest_that_outruns_the_link_does_so_with_an_outage_too(start: str, length: str, timeout: str) -> None:
    load = [{"pattern": "sequential", "size": "12MiB", "write_rate": "20000/s"}]
    ran = run(
        Scenario.model_validate(
            {
                "vm": {"memory": "16MiB", "workload": load}, "migration": {"bandwidth": "16MiB/s", "timeout": timeout},
                "link": {"bandwidth": "1Gbit/s", "outage": [{"start": start, "length": length}]},
            }
        )
    )  # fmt: skip
    assert diagnose(evidence_from_result(ran)).outcome == "not converging"
