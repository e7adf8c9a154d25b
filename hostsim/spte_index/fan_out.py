"""Guests with many sptes a page: forks that stay, and the fan-out that was published of an idle guest."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostsim.spte_index.spaces import ShadowGuest, Space
from hostsim.spte_index.tables import ENTRIES

Counts = NDArray[np.int64]


def published_buckets() -> list[tuple[int, int, int]]:
    """(fewest sptes, most sptes, pages between), ascending: hostsim/data/published/rmap_fan_out.json."""
    text = (files("hostsim") / "data" / "published" / "rmap_fan_out.json").read_text(encoding="utf-8")
    return [(bucket["low"], bucket["high"], bucket["pages"]) for bucket in json.loads(text)["buckets"]]


def drawn_fan_out(rng: np.random.Generator) -> Counts:
    """int64[mapped pages]: sptes of each page, as published; within a bucket 1 / n of the pages have n sptes or more."""
    counts = []
    for low, high, pages in published_buckets():
        drawn = low / (1.0 - rng.random(pages) * (1.0 - low / (high + 1)))
        counts.append(drawn.astype(np.int64))
    return np.concatenate(counts)


def histogram(counts: Counts) -> list[int]:
    """Pages in each published bucket."""
    return [int(((counts >= low) & (counts <= high)).sum()) for low, high, _ in published_buckets()]


def published_guest(design: str, n_pages: int, seed: int = 1, **options: Any) -> ShadowGuest:
    """The idle guest: pages drawn from all gfns, each in as many of 127 processes as the histogram says, all touched.

    design: name of the index, as in designs.py.
    n_pages: page frames of the guest [pages of 4 KiB].
    seed: of the draws.
    options: passed to ShadowGuest.

    # Model limit: which processes share a page is drawn for each page alone; real processes share whole libraries.
    """
    rng = np.random.default_rng([seed, 3])
    counts = drawn_fan_out(rng)
    n_spaces = int(counts.max())
    gfns = rng.permutation(n_pages)[: len(counts)]
    owners = [rng.permutation(n_spaces)[:count] for count in counts.tolist()]
    space_of, gfn_of = np.concatenate(owners), np.repeat(gfns, counts)
    sizes = np.bincount(space_of, minlength=n_spaces)
    guest = ShadowGuest(design, n_pages, int((-(-sizes // ENTRIES)).sum()), **options)
    for number in range(n_spaces):
        space = guest.spawn(0, rng.permutation(gfn_of[space_of == number]))
        guest.touch(space, np.arange(len(space.gfn_of)), is_write=False)
    return guest


def fork_and_read(guest: ShadowGuest, parent: Space) -> Space:
    """Fork a process; the child, then the parent, reads all its pages."""
    child, vas = guest.fork(parent), np.arange(len(parent.gfn_of))
    guest.touch(child, vas, is_write=False)
    guest.touch(parent, vas, is_write=False)
    return child


def in_drawn_order(guest: ShadowGuest, seed: int = 1) -> list[Space]:
    """All processes of ``guest`` but the first, in an order drawn from ``seed``."""
    numbers = sorted(guest.spaces)[1:]
    return [guest.spaces[numbers[i]] for i in np.random.default_rng([seed, 5]).permutation(len(numbers)).tolist()]
