"""XBZRLE in results: xbzrle-cache of query-migrate, columns of rounds, facts about the cache and its guest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hostsim.qemu.mechanisms.xbzrle import NAME, XbzrleParameters
from hostsim.results.columns import INT, Column, Columns
from hostsim.results.mechanism import Mechanism, number

if TYPE_CHECKING:
    from hostsim.machine.machine import Machine
    from hostsim.qemu.migration import Migration
    from hostsim.qemu.xbzrle import XbzrleCounters
    from hostsim.results.rounds import Round

ROUNDS: Columns[Round] = (
    Column(
        "xbzrle_pages", INT, "pages", "in cache",
        "pages found in XBZRLE's cache: sent as a delta or, if nothing in them changed, not at all",
        lambda row: row.growth(NAME, "pages"),
    ),
    Column(
        "xbzrle_cache_misses", INT, "pages", "missed", "pages that were not in the cache, sent whole",
        lambda row: row.growth(NAME, "cache_miss"),
    ),
    Column(
        "xbzrle_overflows", INT, "pages", "overflowed", "pages whose delta would have been longer than the page, sent whole",
        lambda row: row.growth(NAME, "overflow"), if_any=True,
    ),
    Column("xbzrle_bytes", INT, "bytes", "deltas", "bytes of the deltas; an overflow counts as a page",
           lambda row: row.growth(NAME, "bytes")),
)  # fmt: skip


def _answer(cache: XbzrleCounters) -> dict[str, Any]:
    """xbzrle-cache, with the capability (qapi/migration.json::XBZRLECacheStats)."""
    return {
        "xbzrle-cache": {
            "cache-size": cache.cache_size, "bytes": cache.bytes, "pages": cache.pages, "cache-miss": cache.cache_miss,
            "cache-miss-rate": number(cache.cache_miss_rate), "encoding-rate": number(cache.encoding_rate),
            "overflow": cache.overflow,
        }
    }  # fmt: skip


def _facts(machine: Machine, migration: Migration) -> dict[str, Any]:
    """changed: [bytes, place] of a write, of each workload that writes; span: pages of guest memory that they write to."""
    from hostsim.guest.touch import FIRST_GFN, IS_WRITE, N_PAGES  # compiled loops, which a reader of results does not need

    ints, parameters = machine.vm.guest.table.ints, migration.parameters
    assert isinstance(parameters, XbzrleParameters), "the parameters of every mechanism are among them"
    writes = ints[ints[:, IS_WRITE] == 1]
    regions = [range(int(row[FIRST_GFN]), int(row[FIRST_GFN] + row[N_PAGES])) for row in writes]
    loads = [load for load in machine.spec.workloads if load.write_rate_per_s or load.trace is not None]
    return {
        "xbzrle_cache_size_bytes": parameters.xbzrle_cache_size,
        "xbzrle_span_pages": max((r.stop for r in regions), default=0) - min((r.start for r in regions), default=0),
        "xbzrle_changed": [[load.changed_bytes, load.changed_place] for load in loads],
    }


PART = Mechanism(NAME, 10, "XBZRLE", _answer, ROUNDS, _facts)
