"""The example of the error about swap that is too small: the scenario loads with it."""

from __future__ import annotations

import re

import pytest

from hostsim import InputError, Scenario


def scenario(swap_size: str) -> Scenario:
    return Scenario.model_validate(
        {
            "vm": {"memory": "64MiB", "dirty_tracking": "get-dirty-log"},
            "host": {"memory": {"size": "48MiB", "swap": "nvme", "swap_size": swap_size}},
        }
    )


@pytest.mark.parametrize("too_small", ["4KiB", "4MiB", "16MiB"])
def test_the_example_is_enough_and_three_quarters_are_not(too_small: str) -> None:
    with pytest.raises(InputError) as error:
        scenario(too_small)
    found = re.search(r'swap_size = "(\d+)MiB"', str(error.value))
    assert found is not None
    scenario(f"{found[1]}MiB")
    with pytest.raises(InputError):
        scenario(f"{int(found[1]) * 3 // 4}MiB")
