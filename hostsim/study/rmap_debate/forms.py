"""Closed forms of the costs that ``runs`` measures, from the sheet and the sizes alone, without running a structure.

P pages, S sptes, s = S / P, F the footprint [bytes]; ``c`` are the cache costs. All results in ns.
"""

from __future__ import annotations

import math

from hostsim.spte_index.cache_costs import CacheCosts
from hostsim.spte_index.chains import BACK_BYTES, LINK_BYTES
from hostsim.spte_index.rmap import HEAD_BYTES
from hostsim.spte_index.tables import ENTRIES, HEADER_BYTES, TABLE_BYTES, TRANSLATION_BYTES
from hostsim.spte_index.work import LINE_BYTES

NODE_BYTES = LINK_BYTES + BACK_BYTES
TABLE = TABLE_BYTES + HEADER_BYTES
SPTES_A_LINE = 8
LINES = ENTRIES // SPTES_A_LINE


def tables_bytes(P: float, *, direct: bool = True) -> float:
    """Bytes of all page tables of a guest of P pages; indirect tables with their translations."""
    return P / ENTRIES * (TABLE if direct else TABLE + TRANSLATION_BYTES)


def rmap_bytes(P: float, *, direct: bool = True) -> float:
    """Bytes of the heads of three levels for P pages, and of the tables; direct: tables hold no gfns."""
    return HEAD_BYTES * P * (1 + 1 / ENTRIES + 1 / ENTRIES**2) + tables_bytes(P, direct=direct)


def list_bytes(P: float, S: float, *, direct: bool = True) -> float:
    """Bytes of a node for each of S sptes, and of the tables of P pages; direct: tables hold no gfns."""
    return NODE_BYTES * S + tables_bytes(P, direct=direct)


def heads_ns(c: CacheCosts, P: float, F: float) -> float:
    """Time [ns] of reading all heads of P pages in order, at costs ``c`` with a footprint of F bytes."""
    n = P * (1 + 1 / ENTRIES)
    return n * (c.visit_ns + c.stream_ns(F) * HEAD_BYTES / LINE_BYTES)


def sptes_in_order_ns(c: CacheCosts, P: float, S: float, F: float) -> float:
    """Time to read the lines of S drawn sptes of P, in the order of their addresses.

    A line is read if it holds one of the S sptes; it streams if the line before it was read and is of its table.
    """
    p = 1.0 - (1.0 - S / P) ** SPTES_A_LINE
    beside = p * (1.0 - 1.0 / LINES)
    return P / SPTES_A_LINE * p * (beside * c.stream_ns(F) + (1.0 - beside) * c.load_ns(F))


def sptes_scattered_ns(c: CacheCosts, S: float, F: float) -> float:
    """Time [ns] of reading S sptes, each in a line of its own, at costs ``c`` with a footprint of F bytes."""
    return S * c.load_ns(F)


def act_ns(c: CacheCosts) -> float:
    """An spte looked at and changed, beside its line."""
    return c.visit_ns + c.change_ns + c.atomic_ns


def nodes_in_order_ns(c: CacheCosts, S: float, F: float) -> float:
    """Time [ns] of reading S nodes of a list in the order of their addresses, at costs ``c`` with a footprint of F bytes."""
    return S * (c.visit_ns + c.stream_ns(F) * NODE_BYTES / LINE_BYTES)


def nodes_scattered_ns(c: CacheCosts, S: float, F: float) -> float:
    """Time [ns] of reading S nodes, each in a line of its own, at costs ``c`` with a footprint of F bytes."""
    return S * (c.visit_ns + c.load_ns(F))


def rmap_flush_ns(c: CacheCosts, P: float, S: float) -> float:
    """Time [ns] of a flush of a direct map of P pages through all heads and S sptes, in order, at costs ``c``."""
    F = rmap_bytes(P)
    return heads_ns(c, P, F) + sptes_in_order_ns(c, P, S, F) + S * act_ns(c)


def list_flush_ns(c: CacheCosts, P: float, S: float, *, scattered: bool = False) -> float:
    """Time [ns] of a flush of a direct map of P pages through a list of S nodes, at costs ``c``.

    scattered: nodes and sptes lie in lines of their own; else in order.
    """
    F = list_bytes(P, S)
    if scattered:
        return nodes_scattered_ns(c, S, F) + sptes_scattered_ns(c, S, F) + S * act_ns(c)
    return nodes_in_order_ns(c, S, F) + sptes_in_order_ns(c, P, S, F) + S * act_ns(c)


def walk_flush_ns(c: CacheCosts, P: float, S: float) -> float:
    """Time [ns] of a flush through all tables of P pages, at costs ``c``, in which S sptes are changed.

    Of each table a header and 64 lines are read, and 512 entries looked at.
    """
    F = rmap_bytes(P)
    table = 2 * c.load_ns(F) + (LINES - 1) * c.stream_ns(F) + (ENTRIES + 1) * c.visit_ns
    return P / ENTRIES * table + S * (act_ns(c) - c.visit_ns)


def lookups_ns(c: CacheCosts, P: float, D: float) -> float:
    """D of P gfns looked up in order in an rmap of a direct map, each changed: head lines as spte lines."""
    F = rmap_bytes(P)
    return 2 * sptes_in_order_ns(c, P, D, F) + D * (c.visit_ns + act_ns(c))


def drawn_pages(P: float, writes: float) -> float:
    """Expected distinct pages that ``writes`` uniform writes touch."""
    return P * -math.expm1(writes * math.log1p(-1.0 / P))
