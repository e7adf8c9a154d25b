"""The origin of an answer, in words: the version of the model, the number of runs, their seeds."""

from __future__ import annotations

from collections.abc import Sequence

from hostsim import __version__
from hostsim.study.statistics import method

BY = f"hostsim {__version__}"
"""The model behind an answer's runs."""


def seeds_words(seeds: Sequence[int]) -> str:
    """``seeds 1 to 30``."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"{len(seeds)} seeds"


def rows_rest_on(seeds: Sequence[int]) -> str:
    """The runs behind each row of a comparison."""
    if len(seeds) == 1:
        return (
            f"Each row is a single run of {BY} ({seeds_words(seeds)}, n = 1), so it has no interval, and chance may explain "
            "differences; --seeds 5 shows whether it does"
        )
    return f"Each row is the mean of {len(seeds)} runs of {BY}, {seeds_words(seeds)}"


def study_rests_on(seeds: Sequence[int]) -> str:
    """The runs behind each row of `hostsim age` and `hostsim reclaim`, for a caption."""
    if len(seeds) == 1:
        return f"{BY}, {seeds_words(seeds)} (n = 1, so no intervals; --reps 5 gives them)"
    return f"{BY}, {len(seeds)} seeds from {seeds[0]}; {method()}"
