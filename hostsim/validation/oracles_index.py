"""O14, O23-O25: faults of ageing, descriptors of the rmap, lengths of its lists, buckets of a hash, on the structures."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from hostsim.spte_index.rmap import DESC_KINDS
from hostsim.theory.distinct import distinct_mean_pages, distinct_variance_pages
from hostsim.theory.page_classes import PageClasses
from hostsim.validation import draws
from hostsim.validation.index_runs import bucket_lengths, descriptors_by_sptes, scan_faults, shared_lengths
from hostsim.validation.rows import Row, digits, exact, sigma
from hostsim.validation.samples import SUITE, count_rows, mean_z

SPTES = 501
VISITS = {"3": 42083, "15": 8618, "14-behind": 9215}
KEYS, BITS, REPLICATIONS = 6000, 12, 60
ACCESSES_PER_S, SCAN_S, SCANS = 1000.0, 0.4, 200
PROCESSES, SHARE, PAGES = 40, 0.3, 2000


def index_rows(seed: int = 1) -> Iterator[Row]:
    """Rows O14 and O23 to O25; seconds of work."""
    yield from _ageing_rows(draws.generator(seed, 14))
    yield from _descriptor_rows()
    yield from _length_rows(draws.generator(seed, 23))
    yield from _bucket_rows(draws.generator(seed, 25))


def _ageing_rows(rng: np.random.Generator) -> Iterator[Row]:
    """O14: faults a scan are the working set without the bit, none with it."""
    kinds = {"uniform": PageClasses.uniform(512, ACCESSES_PER_S), "zipf": PageClasses.zipf(512, 0.99, ACCESSES_PER_S)}
    for name, classes in kinds.items():
        per_page = np.repeat(classes.rates_per_s, classes.counts.astype(np.int64))
        used = draws.dirty_bits_of_poisson_writes(rng, per_page * SCAN_S, SCANS)
        for index in ("rmap", "slot-list"):
            faults, young = scan_faults(index, used, has_bit=False)
            yield from count_rows(
                f"O14-run/{name}/{index}", "faults a scan without an accessed bit", np.array(faults),
                float(classes.mean_pages(SCAN_S)), float(classes.variance_pages(SCAN_S)),
            )  # fmt: skip
            where = f"O14-run/{name}/{index}"
            yield exact(SUITE, where, "faults, all scans: as many as young pages", sum(young), sum(faults))
        faults, found = scan_faults("rmap", used, has_bit=True)
        yield exact(SUITE, f"O14-run/{name}/bit", "faults with the bit", 0, sum(faults))
        yield exact(SUITE, f"O14-run/{name}/bit", "young pages, the same with and without the bit", sum(young), sum(found))


def descriptor_visits(ext: int, sptes: int) -> int:
    """Descriptors looked at until ``sptes`` are on one list, each addition going through all of them."""
    return sum(-(-j // ext) for j in range(2, sptes + 1))


def _descriptor_rows() -> Iterator[Row]:
    for kind, visits in VISITS.items():
        used, walked = descriptors_by_sptes(kind, SPTES)
        ext = DESC_KINDS[kind].ext
        wanted = [0 if n <= 1 else -(-n // ext) for n in range(1, SPTES + 1)]
        by_form = descriptor_visits(ext, SPTES)
        yield exact(SUITE, f"O23/{kind}", f"visits until {SPTES} sptes map a page, by the form", visits, by_form)
        yield exact(SUITE, f"O23-run/{kind}", "the same, by the structure", visits, walked)
        wrong = sum(a != b for a, b in zip(used, wanted, strict=True))
        yield exact(SUITE, f"O23-run/{kind}", "counts of sptes with other than ceil(n / EXT) descriptors", 0, wrong)
    _, walked = descriptors_by_sptes("14", SPTES)
    most = 2 * (SPTES - 1)
    yield exact(SUITE, "O23-run/14", "adding in front visits two descriptors at most", True, walked <= most)


def _length_rows(rng: np.random.Generator) -> Iterator[Row]:
    samples = shared_lengths(rng, PROCESSES, PAGES, SHARE)
    mean = PROCESSES * SHARE
    yield from count_rows("O24-run", "sptes of a page shared with probability 0.3 by 40", samples, mean, mean * (1 - SHARE))


def _bucket_rows(rng: np.random.Generator) -> Iterator[Row]:
    n_buckets = 1 << BITS
    empty, search = (1 - 1 / n_buckets) ** KEYS, 1 + (KEYS - 1) / (2 * n_buckets)
    pairs = KEYS * (KEYS - 1) / 2
    yield digits(SUITE, "O25", "share of empty buckets, N=6000, M=4096", ".23107", empty)
    yield digits(SUITE, "O25", "entries a successful search looks at", "1.73230", search)
    counts = np.array([bucket_lengths(rng, KEYS, BITS) for _ in range(REPLICATIONS)])
    full, spread = distinct_mean_pages(n_buckets, KEYS), distinct_variance_pages(n_buckets, KEYS)
    used = np.count_nonzero(counts, axis=1)
    z = mean_z(used, full, spread)
    yield sigma(SUITE, "O25-run", "mean share of empty buckets", empty, 1 - float(used.mean()) / n_buckets, z)
    met = (counts * (counts - 1) / 2).sum(axis=1)
    z = mean_z(met, pairs / n_buckets, pairs / n_buckets * (1 - 1 / n_buckets))
    yield sigma(SUITE, "O25-run", "mean collisions", pairs / n_buckets, float(met.mean()), z)
    looked = 1 + float(met.mean()) / KEYS
    yield sigma(SUITE, "O25-run", "mean entries a search looks at", search, looked, z)
    longest, rare = int(counts.max()), _longest_ever(KEYS / n_buckets, n_buckets * REPLICATIONS)
    yield exact(SUITE, "O25-run", f"no bucket longer than {rare}, a chance of 1 in 10^6", True, longest <= rare)


def _longest_ever(mean: float, buckets: int) -> int:
    """Smallest length that a Poisson bucket among ``buckets`` exceeds with a chance of at most 1e-6."""
    length, tail, term = 0, 1.0 - math.exp(-mean), math.exp(-mean)
    while tail * buckets > 1e-6:
        length += 1
        term *= mean / length
        tail -= term
    return length
