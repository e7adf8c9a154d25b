"""Logs of simulated migrations: query-migrate as a script would have polled it while the run went on."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import simpy

from hostsim.core.constants import NS_PER_S
from hostsim.machine.machine import Machine
from hostsim.results.collect import query_now
from hostsim.scenario.build import build
from hostsim.scenario.schema import Scenario


def polled_log(scenario: Scenario, every_s: float) -> str:
    """Lines of a log that was polled each ``every_s`` from the start of the first migration to the end of the last."""
    machine, answers = Machine(build(scenario)), list[dict[str, Any]]()
    machine.env.process(_polls(machine, round(every_s * NS_PER_S), answers))
    machine.run()
    answers.append(_answer(machine))
    return "".join(f"{json.dumps(one)}\n" for one in answers)


def _polls(machine: Machine, every_ns: int, answers: list[dict[str, Any]]) -> Generator[simpy.Event, Any, None]:
    while True:
        yield machine.env.timeout(every_ns)
        answers.append(_answer(machine))


def _answer(machine: Machine) -> dict[str, Any]:
    assert machine.migration is not None, "a migration is polled"
    info = query_now(machine.migration)
    # QEMU answers with the status alone once a migration has ended otherwise than by completing.
    told = {"status": info["status"]} if info["status"] in ("cancelled", "failed") else info
    return {"t": machine.env.now_ns / NS_PER_S, "info": told}
