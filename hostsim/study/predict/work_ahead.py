"""The work of a run before it runs, by the guest's dirty curve: a question keeps its budget by it.

Counted in pages as ``work_of`` counts a run that is done, never in seconds: every machine decides alike.
"""

from __future__ import annotations

from hostsim.core.constants import NS_PER_S
from hostsim.scenario.schema import Scenario
from hostsim.study.compare.work import EXIT_WORK, WINDOW_NS, WINDOW_WORK
from hostsim.study.predict.forecast import bandwidth_bytes_per_s, first_pass_s, forecast, limit_of_s


def computed_work(scenario: Scenario) -> float:
    """The work of a run of ``scenario`` [pages].

    The first pass meets every page; each further page is harvested, sent, and under KVM's log faults once. A migration
    that the computation does not know is taken to use its whole time.
    """
    found, first_s, most_s = forecast(scenario), first_pass_s(scenario), limit_of_s(scenario)
    total_s = most_s if found is None else min(found.total_s, most_s)
    passes = scenario.vm.memory_pages / max(first_s, 1e-9)
    sent_again = 0.0 if not bandwidth_bytes_per_s(scenario) else passes * max(0.0, total_s - first_s)
    exits = 0 if scenario.vm.dirty_tracking == "tcg" else EXIT_WORK
    return scenario.vm.memory_pages + (2 + exits) * sent_again + WINDOW_WORK * total_s * NS_PER_S / WINDOW_NS
