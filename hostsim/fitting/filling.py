"""Pages that are not zero yet when they are copied earlier than in the log.

A log of a running guest counts as not zero the pages that had content when the first pass reached them. The guest goes on to
fill zero pages, so a migration that copies memory earlier finds fewer with content: one over a faster link, post-copy, or a
guest that is stopped. No log has the number of pages that were zero before they were dirtied during the first pass.
"""

from __future__ import annotations

from typing import Any

from hostsim.core.constants import NS_PER_S, PAGE_BYTES
from hostsim.fitting.fitted import GuestFit
from hostsim.fitting.observed import Observed
from hostsim.scenario.schema import Scenario
from hostsim.study.predict.forecast import bandwidth_bytes_per_s

SOONER = 0.1
"""A first pass that is shorter than the log's by a smaller share copies memory at about the same time (assumed)."""
KIB_PER_PAGE = PAGE_BYTES // 1024


def sooner_share(fitted: GuestFit, scenario: Scenario | None) -> float:
    """How much earlier ``scenario`` copies memory than the log of ``fitted``, as a share of its first pass.

    scenario: None: the guest is stopped, and the share is 1.
    """
    first_pass_s = _first_pass_s(fitted)
    if not first_pass_s:
        return 0.0
    sooner = 1.0 - (0.0 if scenario is None else _copied_after_s(fitted, scenario)) / first_pass_s
    return sooner if sooner > SOONER else 0.0


def least_filled(fitted: GuestFit) -> float:
    """Least share of the filled pages that may have been filled at the start: all pages dirtied meanwhile were zero."""
    one = _first_seen(fitted)
    filled = max(fitted.figures["filled_pages"].value, 1.0)
    return 0.0 if one is None else max(0.0, 1.0 - one.rounds[0].newly_dirty_pages / one.exposed_share / filled)


def thin_out(table: dict[str, Any], share: float) -> None:
    """Leave ``share`` of each filled stretch filled at the start. In place."""
    for fill in table["vm"]["fill"]:
        pages = int(fill["size"].removesuffix("KiB")) // KIB_PER_PAGE
        fill["size"] = f"{max(1, round(pages * share)) * KIB_PER_PAGE}KiB"


def _first_pass_s(fitted: GuestFit) -> float:
    one = _first_seen(fitted)
    return (one.evidence.first_pass_s or 0.0) if one else 0.0


def _first_seen(fitted: GuestFit) -> Observed | None:
    return next((one for one in fitted.observed if one.rounds and one.shows_first_pass), None)


def _copied_after_s(fitted: GuestFit, scenario: Scenario) -> float:
    """Time [s] until the first pass has copied memory, or until post-copy leaves it as it is."""
    migration, bandwidth = scenario.migration, bandwidth_bytes_per_s(scenario)
    bottleneck = fitted.setting.bottleneck
    if migration is None or not bandwidth or bottleneck is None:
        return _first_pass_s(fitted)
    speeds = one.evidence.speeds if (one := _first_seen(fitted)) else ()
    pass_s = _first_pass_s(fitted) * (speeds[0].bytes_per_s if speeds else bottleneck.bytes_per_s) / bandwidth
    switched_ns = migration.postcopy_after if migration.postcopy_ram else None
    return pass_s if switched_ns is None else min(pass_s, switched_ns / NS_PER_S)
