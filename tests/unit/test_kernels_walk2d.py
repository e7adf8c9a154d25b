"""The two-dimensional walk ends at the right frame, and counts what it reads."""

from __future__ import annotations

import pytest

from hostsim.validation.index_runs import walk_references


@pytest.mark.parametrize("guest", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("host", [1, 2, 3, 4, 5])
def test_references_and_frame(guest: int, host: int) -> None:
    references, frame = walk_references(guest, host)
    assert references == (guest + 1) * (host + 1) - 1
    assert frame == guest + 1000
