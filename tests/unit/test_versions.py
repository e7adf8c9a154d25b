"""Versions of pages have 16 bits and come round."""

from __future__ import annotations

import numpy as np

from hostsim.core.memory import FIRST_AGAIN, LAST_VERSION, N_VERSIONS, NEVER_COPIED, grown, harvests_between
from hostsim.qemu.harvest import first_stale
from tests.helpers.kvm_guest import HandGuest, load


def test_after_the_last_version_comes_2() -> None:
    assert [grown(0, 1), grown(LAST_VERSION, 0), grown(LAST_VERSION, 1)] == [1, LAST_VERSION, FIRST_AGAIN]


def test_no_version_says_that_there_is_no_copy() -> None:
    version = FIRST_AGAIN
    seen = {version}
    while (version := grown(version, 1)) != FIRST_AGAIN:
        seen.add(version)
    assert len(seen) == N_VERSIONS
    assert not seen & {0, 1, NEVER_COPIED}


def test_harvests_are_counted_across_the_turn() -> None:
    assert [harvests_between(7, 7), harvests_between(7, 8), harvests_between(LAST_VERSION, FIRST_AGAIN + 3)] == [0, 1, 4]


def test_a_harvest_turns_versions_round_and_an_old_copy_is_seen() -> None:
    guest = HandGuest([load("sequential", 1024, 1e6)], 1024, 1)
    guest.memory.version[:] = LAST_VERSION
    copied = guest.memory.version.copy()
    guest.run(512_000)
    written = guest.harvest(512_000)
    assert 0 < len(written) < 1024
    assert (guest.memory.version[written] == FIRST_AGAIN).all()
    assert np.count_nonzero(guest.memory.version == LAST_VERSION) == 1024 - len(written)
    assert first_stale(guest.memory.version, copied, np.zeros(1024, np.uint8)) == written[0]
