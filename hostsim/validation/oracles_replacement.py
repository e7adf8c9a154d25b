"""O15-O18: hit ratios of page replacement. Closed forms at the digits of their vectors, and policies on drawn strings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hostsim.guest.popularity import zipf_shares
from hostsim.theory import hit_ratio as forms
from hostsim.theory.replacement import POLICIES
from hostsim.validation import draws
from hostsim.validation.rows import Row, digits, exact, sigma
from hostsim.validation.samples import SUITE, sample_z

Pages = NDArray[np.int64]
Ratios = NDArray[np.float64]
"""float64[STRINGS]."""
Form = Callable[[NDArray[np.float64], int], float]
FORMS: dict[str, Form] = {
    "lru": forms.lru_hit_ratio,
    "fifo": forms.fifo_hit_ratio_exact,
    "clock": forms.clock_hit_ratio,
}
ZIPF = {
    "N=1000/a=0.8": (1000, 0.8, 100, ".37779", ".33368", ".52583"),
    "N=10000/a=0.8": (10_000, 0.8, 1000, ".43666", ".39418", ".57062"),
    "N=10000/a=1": (10_000, 1.0, 1000, ".67560", ".63091", ".76479"),
}
"""Pages, exponent, frames; hit ratios of LRU (Che), FIFO (mean field) and the best static contents."""
SMALL = np.array([0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
SMALL_RATIOS = {2: (".489801", ".475588"), 3: (".680795", ".651036")}
"""Frames: LRU, FIFO."""
STRINGS, REFERENCES, WARM_UP_TURNS = 32, 30_000, 40
"""Independent strings; references that count; references per frame before them. LRU is stationary as soon as it is full."""
BELADY = (1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5)
BELADY_FAULTS = {"fifo": (9, 10), "lru": (10, 8), "min": (7, 6)}
"""Faults with 3 and 4 frames."""
STACK_STRING = (40, 3000)
"""Pages and references of the string on which more memory must not hurt."""


def replacement_rows(seed: int = 1) -> Iterator[Row]:
    """Rows of the replacement policies, by a replay of twenty million references."""
    yield from _form_rows()
    for stream, (name, (pages, exponent, frames, *_)) in enumerate(ZIPF.items(), 150):
        yield from _irm_rows(name, zipf_shares(pages, exponent), frames, draws.generator(seed, stream))
    yield from _small_rows(draws.generator(seed, 155))
    yield from _uniform_rows(draws.generator(seed, 157))
    yield from _loop_rows()
    yield from _belady_rows()
    yield from _stack_rows(draws.generator(seed, 158))


def irm_string(rng: np.random.Generator, shares: NDArray[np.float64], references: int) -> Pages:
    """int64[references]: each to a page drawn by ``shares``, independently."""
    cumulated = np.cumsum(shares)
    found: Pages = np.searchsorted(cumulated, rng.random(references) * cumulated[-1], side="right")
    return found


def drawn_ratios(rng: np.random.Generator, shares: NDArray[np.float64], frames: int) -> dict[str, Ratios]:
    """For each online policy, by name, the hit ratio of each string after warm-up; all policies replay each string.

    rng: draws the strings. shares: float64[pages], probability of a reference to each page. frames: pages that memory holds.
    """
    warm_up = WARM_UP_TURNS * frames
    found = {policy: np.empty(STRINGS) for policy in FORMS}
    for number in range(STRINGS):
        string = irm_string(rng, shares, warm_up + REFERENCES)
        for policy, ratios in found.items():
            ratios[number] = POLICIES[policy](frames, len(shares)).replay(string).hits[warm_up:].mean()
    return found


def _form_rows() -> Iterator[Row]:
    for name, (pages, exponent, frames, lru, fifo, static) in ZIPF.items():
        shares = zipf_shares(pages, exponent)
        yield digits(SUITE, f"O15/{name}", "hit ratio of LRU, Che", lru, forms.lru_hit_ratio(shares, frames))
        yield digits(SUITE, f"O16/{name}", "hit ratio of FIFO, mean field", fifo, forms.fifo_hit_ratio(shares, frames))
        yield digits(SUITE, f"O16/{name}", "hit ratio of static contents", static, forms.static_hit_ratio(shares, frames))
    for frames, (lru, fifo) in SMALL_RATIOS.items():
        yield digits(SUITE, f"O15b/C={frames}", "hit ratio of LRU", lru, forms.lru_hit_ratio_exact(SMALL, frames))
        yield digits(SUITE, f"O15b/C={frames}", "hit ratio of FIFO", fifo, forms.fifo_hit_ratio_exact(SMALL, frames))
    alike = forms.lru_hit_ratio(zipf_shares(1000, 0.0), 300)
    yield digits(SUITE, "O15/a=0", "hit ratio of LRU, 1000 pages alike, 300 frames", "0.3", alike)
    loop = forms.loop_hit_ratio_min(10, 6)
    yield digits(SUITE, "O17/loop", "hit ratio of MIN, loop of 10 pages, 6 frames", ".5556", loop)


def _ratio_row(row_id: str, policy: str, samples: Ratios, expected: float) -> Row:
    z = sample_z(samples, expected)
    return sigma(SUITE, row_id, f"hit ratio of {policy}", expected, float(samples.mean()), z)


def _irm_rows(name: str, shares: NDArray[np.float64], frames: int, rng: np.random.Generator) -> Iterator[Row]:
    """LRU by Che (off by less than 1e-5 here), FIFO by the exact form, CLOCK by its mean field; and their order."""
    found = drawn_ratios(rng, shares, frames)
    for policy, form in FORMS.items():
        form_id = "O15" if policy == "lru" else "O16"
        yield _ratio_row(f"{form_id}-run/{name}", policy, found[policy], form(shares, frames))
    ratios = [float(found[policy].mean()) for policy in ("fifo", "lru", "clock")]
    ratios.append(forms.static_hit_ratio(shares, frames))
    in_order = all(low < high for low, high in pairwise(ratios))
    yield exact(SUITE, f"O16-run/{name}", "FIFO < LRU < CLOCK < static", True, in_order)


def _small_rows(rng: np.random.Generator) -> Iterator[Row]:
    exactly = {"lru": forms.lru_hit_ratio_exact, "fifo": forms.fifo_hit_ratio_exact}
    for frames in SMALL_RATIOS:
        found = drawn_ratios(rng, SMALL, frames)
        for policy, form in exactly.items():
            yield _ratio_row(f"O15b-run/C={frames}", policy, found[policy], form(SMALL, frames))


def _uniform_rows(rng: np.random.Generator) -> Iterator[Row]:
    for policy, samples in drawn_ratios(rng, np.full(500, 0.002), 180).items():
        yield _ratio_row("O17-run/uniform", policy, samples, 180 / 500)


def _loop_rows() -> Iterator[Row]:
    """The middle of a long loop: MIN's choice repeats after (N - 1) turns of the loop."""
    pages, frames = 10, 6
    string, turns = np.arange(3 * (pages - 1) * pages) % pages, (pages - 1) * pages
    for policy in ("fifo", "clock", "lru"):
        yield exact(SUITE, "O17-run/loop", f"hits of {policy}", 0, int(_hits(policy, string, pages, frames).sum()))
    hits = _hits("min", string, pages, frames)[turns : 2 * turns]
    expected = turns * (frames - 1) // (pages - 1)
    yield exact(SUITE, "O17-run/loop", f"hits of min, {turns} references", expected, int(hits.sum()))


def _belady_rows() -> Iterator[Row]:
    string = np.array(BELADY)
    for policy, expected in BELADY_FAULTS.items():
        for frames, faults in zip((3, 4), expected, strict=True):
            got = len(string) - int(_hits(policy, string, 6, frames).sum())
            yield exact(SUITE, f"O18-run/{policy}", f"faults with {frames} frames", faults, got)


def _stack_rows(rng: np.random.Generator) -> Iterator[Row]:
    """Memory larger by one frame, for every size: with LRU every hit stays a hit, with MIN the hits are not fewer."""
    pages, references = STACK_STRING
    string = irm_string(rng, zipf_shares(pages, 0.7), references)
    for policy in ("lru", "min"):
        replay = partial(_hits, policy, string, pages)
        nested = all((replay(frames) <= replay(frames + 1)).all() for frames in range(1, pages))
        grows = all(replay(frames).sum() <= replay(frames + 1).sum() for frames in range(1, pages))
        holds = nested if policy == "lru" else grows
        yield exact(SUITE, f"O18-run/{policy}", "hits never fall as memory grows", True, bool(holds))


def _hits(policy: str, string: Pages, pages: int, frames: int) -> NDArray[np.uint8]:
    return POLICIES[policy](frames, pages).replay(string).hits
