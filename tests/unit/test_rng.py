from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hostsim.core.rng import keyed_exponential, keyed_uniform, keyed_word, mix32, natural_log, stream_key, uniform_of
from tests.helpers.plain import plain_output

N = 20_000
KEYS = stream_key(1, "load/all/write")


@given(st.floats(min_value=1e-300, max_value=1e300, allow_subnormal=False))
def test_natural_log_is_the_logarithm(value: float) -> None:
    assert abs(natural_log(value) - math.log(value)) <= 1e-15 * max(1.0, abs(math.log(value)))


@given(st.floats(min_value=2.0**-53, max_value=1.0, exclude_max=True))
def test_natural_log_keeps_its_relative_precision_near_one(value: float) -> None:
    assert abs(natural_log(value) - math.log(value)) <= 1e-15 * abs(math.log(value))


def test_natural_log_never_rises_where_uniform_draws_fall() -> None:
    values = (np.arange(1, 4001) + 0.5) / 4001.0
    logs = [natural_log(float(value)) for value in values]
    assert logs == sorted(logs)


@given(st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 32) - 1), st.integers(0, 1 << 40))
def test_a_uniform_draw_is_at_most_what_half_of_it_says(key0: int, key1: int, draw: int) -> None:
    most, drawn = uniform_of(keyed_word(key0, draw, 1 << 20), 0xFFFFFFFF), keyed_uniform(key0, key1, draw, 1 << 20)
    assert most - 2.0**-32 < drawn <= most


def test_mix32_is_a_bijection_on_a_block() -> None:
    assert len({mix32(word) for word in range(1 << 16)}) == 1 << 16


def test_keyed_word_is_a_bijection_of_the_page() -> None:
    assert len({keyed_word(KEYS[0], page, 12_345) for page in range(1 << 16)}) == 1 << 16


def test_streams_have_keys_of_their_own() -> None:
    names = [f"load-{i}/all/{kind}" for i in range(100) for kind in ("read", "write")]
    assert len({stream_key(seed, name) for seed in (1, 2) for name in names}) == 2 * len(names)


def _exponentials(pages: range, after_ns: range) -> np.ndarray:
    return np.array([keyed_exponential(*KEYS, page, t) for page in pages for t in after_ns])


def _kolmogorov_smirnov(samples: np.ndarray) -> float:
    cdf = 1 - np.exp(-np.sort(samples))
    ranks = np.arange(len(samples) + 1) / len(samples)
    return float(max((ranks[1:] - cdf).max(), (cdf - ranks[:-1]).max())) * len(samples) ** 0.5


def test_draws_are_exponential_over_pages_and_over_times() -> None:
    """Kolmogorov's bound at 5 standard deviations (p = 6e-7) is 2.7 / sqrt(n)."""
    assert _kolmogorov_smirnov(_exponentials(range(N), range(1))) < 2.7
    assert _kolmogorov_smirnov(_exponentials(range(1), range(N))) < 2.7
    assert _kolmogorov_smirnov(_exponentials(range(1), range(0, N * 1_000_000, 1_000_000))) < 2.7


def test_neighbours_are_independent() -> None:
    draws = np.array([keyed_uniform(*KEYS, page, 7) for page in range(N)])
    for lag in (1, 2, 64):
        assert abs(np.corrcoef(draws[:-lag], draws[lag:])[0, 1]) < 5 / N**0.5


@given(st.integers(0, (1 << 36) - 1), st.integers(0, 1 << 61))
def test_uniform_draws_lie_inside_the_unit_interval(page: int, after_ns: int) -> None:
    assert 0.0 < keyed_uniform(*KEYS, page, after_ns) < 1.0


PLAIN = """\
import warnings; import numpy as np; from hostsim.core.rng import mix32
warnings.simplefilter('error'); print([mix32(np.int64(word)) for word in {words}])"""


def test_mix32_of_numpys_scalars_is_silent_in_plain_python() -> None:
    words = [0, 1, 0x80000000, 0xFFFFFFFF]
    assert plain_output("tests.helpers.evaluate", PLAIN.format(words=words)).strip() == str([mix32(word) for word in words])
