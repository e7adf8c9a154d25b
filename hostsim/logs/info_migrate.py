"""Reader of the monitor's ``info migrate``: the one-figure lines up to 10.0 and the grouped lines since
10.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hostsim.logs.labels import Label, read_quantity
from hostsim.logs.model import Sample

STATUS_LINE = re.compile(r"\s*(?:Migration status|Status)\s*:\s*([a-z-]+)\s*(?:\((.*)\))?\s*", re.IGNORECASE)
PAIR = re.compile(r"([A-Za-z_]+)=([^,]+)")

SINGLE = {
    "total time": Label("total_time_ms", "ms"),
    "setup": Label("setup_time_ms", "ms"),
    "downtime": Label("downtime_ms", "ms"),
    "expected downtime": Label("expected_downtime_ms", "ms"),
    "transferred ram": Label("transferred_bytes", "bytes"),
    "throughput": Label("mbps", "plain"),
    "remaining ram": Label("remaining_bytes", "bytes"),
    "total ram": Label("total_bytes", "bytes"),
    "duplicate": Label("zero_pages", "plain"),
    "normal": Label("normal_pages", "plain"),
    "normal bytes": Label("normal_bytes", "bytes"),
    "dirty sync count": Label("dirty_sync_count", "plain"),
    "page size": Label("page_size_bytes", "bytes"),
    "multifd bytes": Label("multifd_bytes", "bytes"),
    "pages-per-second": Label("pages_per_second", "plain"),
    "dirty pages rate": Label("dirty_pages_rate_per_s", "plain"),
    "postcopy request count": Label("postcopy_requests", "plain"),
    "precopy ram": Label("precopy_bytes", "bytes"),
    "downtime ram": Label("downtime_bytes", "bytes"),
    "postcopy ram": Label("postcopy_bytes", "bytes"),
    "cpu throttle percentage": Label("throttle_percent", "plain"),
    "throughput (mbps)": Label("mbps", "plain"),
    "cpu throttle (%)": Label("throttle_percent", "plain"),
    "cache size": Label("xbzrle_cache_bytes", "bytes"),
    "xbzrle transferred": Label("xbzrle_bytes", "bytes"),
    "xbzrle pages": Label("xbzrle_pages", "plain"),
    "xbzrle cache miss": Label("xbzrle_cache_misses", "plain"),
    "xbzrle encoding rate": Label("xbzrle_encoding_rate", "plain"),
    "xbzrle overflow": Label("xbzrle_overflows", "plain"),
}
GROUPED = {
    "time (ms)": {"total": "total_time_ms", "setup": "setup_time_ms", "exp_down": "expected_downtime_ms",
    "down": "downtime_ms"}, "sizes": {"pagesize": "page_size_bytes", "total": "total_bytes"},
    "transfers": {"transferred": "transferred_bytes", "remain": "remaining_bytes"},
    "channels": {"precopy": "precopy_bytes", "multifd": "multifd_bytes", "postcopy": "postcopy_bytes"},
    "page types": {"normal": "normal_pages", "zero": "zero_pages"},
    "page rates (pps)": {"transfer": "pages_per_second", "dirty": "dirty_pages_rate_per_s"},
    "others": {"dirty_syncs": "dirty_sync_count", "postcopy_req": "postcopy_requests", "downtime_bytes":
    "downtime_bytes"}, "xbzrle": {
        "size": "xbzrle_cache_bytes", "transferred": "xbzrle_bytes", "pages": "xbzrle_pages", "miss":
        "xbzrle_cache_misses", "encode_rate": "xbzrle_encoding_rate", "overflow": "xbzrle_overflows",
    },
}  # fmt: skip


def read_info_migrate(text: str, source: str) -> list[Sample]:
    """Samples of all answers in ``text``, each opened by its line of status; other lines are passed over.

    Raises InputError naming the line of a figure that is none.
    """
    samples: list[Sample] = []
    for line, content in enumerate(text.splitlines(), 1):
        opened = STATUS_LINE.fullmatch(content)
        if opened:
            samples.append(Sample(line, opened.group(1).lower(), error_desc=opened.group(2) or ""))
        elif samples:
            samples[-1].figures.update(_figures(content, source, line))
    return samples


def _figures(content: str, source: str, line: int) -> Iterator[tuple[str, float]]:
    key, colon, value = content.partition(":")
    key = " ".join(key.lower().split())
    if colon and key in GROUPED:
        yield from _grouped(key, value, source, line)
    elif colon and key in SINGLE:
        yield SINGLE[key].name, read_quantity(value, SINGLE[key], source, line, key)


def _grouped(key: str, value: str, source: str, line: int) -> Iterator[tuple[str, float]]:
    names = GROUPED[key]
    for part, figure in PAIR.findall(value):
        if part in names:
            label = Label(names[part], "bytes" if names[part].endswith("_bytes") else "plain")
            yield label.name, read_quantity(figure, label, source, line, f"{key} {part}")
