"""Reader of the monitor's ``info migrate``: one figure a line up to QEMU 10.0, grouped lines since 10.1."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hostsim.logs.figures import quantity
from hostsim.logs.items import Item
from hostsim.logs.model import TERMINAL, Sample
from hostsim.logs.query_migrate import STATUSES
from hostsim.logs.reader import Labels, Reader, all_labelled, keep

STATUS_LINE = re.compile(
    rf"(?:^|.*[\s>|\])])(?:Migration status|Status)\s*:\s*({'|'.join(sorted(STATUSES, key=len, reverse=True))})"
    r"\s*(?:\((.*)\))?[\s|]*",
)
"""Written so by the monitor; Proxmox's task log has it in small letters."""
LIMIT = re.compile(r"\bdowntime-limit:\s*(\d{1,9}) (ms|milliseconds)")
"""Of info migrate_parameters."""
PAIR = re.compile(r"([A-Za-z_]+)=([^,]+)")
SINGLE = {
    "total time": ("total_time_ms", "ms"),
    "setup": ("setup_time_ms", "ms"),
    "downtime": ("downtime_ms", "ms"),
    "expected downtime": ("expected_downtime_ms", "ms"),
    "transferred ram": ("transferred_bytes", "bytes"),
    "throughput": ("mbps", "mbps"),
    "remaining ram": ("remaining_bytes", "bytes"),
    "total ram": ("total_bytes", "bytes"),
    "duplicate": ("zero_pages", "plain"),
    "normal": ("normal_pages", "plain"),
    "normal bytes": ("normal_bytes", "bytes"),
    "dirty sync count": ("dirty_sync_count", "plain"),
    "page size": ("page_size_bytes", "bytes"),
    "multifd bytes": ("multifd_bytes", "bytes"),
    "pages-per-second": ("pages_per_second", "plain"),
    "dirty pages rate": ("dirty_pages_rate_per_s", "plain"),
    "postcopy request count": ("postcopy_requests", "plain"),
    "precopy ram": ("precopy_bytes", "bytes"),
    "downtime ram": ("downtime_bytes", "bytes"),
    "postcopy ram": ("postcopy_bytes", "bytes"),
    "cpu throttle percentage": ("throttle_percent", "plain"),
    "throughput (mbps)": ("mbps", "mbps"),
    "cpu throttle (%)": ("throttle_percent", "plain"),
    "dirty-limit throttle time": ("dirty_limit_sleep_us", "us"),
    "dirty-limit ring full time": ("dirty_limit_full_us", "us"),
    "dirty-limit throttle (us)": ("dirty_limit_sleep_us", "us"),
    "dirty-limit ring full (us)": ("dirty_limit_full_us", "us"),
    "cache size": ("xbzrle_cache_bytes", "bytes"),
    "xbzrle transferred": ("xbzrle_bytes", "bytes"),
    "xbzrle pages": ("xbzrle_pages", "plain"),
    "xbzrle cache miss": ("xbzrle_cache_misses", "plain"),
    "xbzrle encoding rate": ("xbzrle_encoding_rate", "plain"),
    "xbzrle overflow": ("xbzrle_overflows", "plain"),
    "transferred disk": ("disk_transferred_bytes", "bytes"),
    "remaining disk": ("disk_remaining_bytes", "bytes"),
    "total disk": ("disk_total_bytes", "bytes"),
    "vfio device transferred": ("vfio_bytes", "bytes"),
}
GROUPED = {
    "time (ms)": {"total": "total_time_ms", "setup": "setup_time_ms", "exp_down": "expected_downtime_ms",
    "down": "downtime_ms"}, "sizes": {"pagesize": "page_size_bytes", "total": "total_bytes"},
    "transfers": {"transferred": "transferred_bytes", "remain": "remaining_bytes"},
    "channels": {"precopy": "precopy_bytes", "multifd": "multifd_bytes", "postcopy": "postcopy_bytes", "vfio": "vfio_bytes"},
    "page types": {"normal": "normal_pages", "zero": "zero_pages"},
    "page rates (pps)": {"transfer": "pages_per_second", "dirty": "dirty_pages_rate_per_s"},
    "others": {"dirty_syncs": "dirty_sync_count", "postcopy_req": "postcopy_requests", "downtime_bytes":
    "downtime_bytes"}, "xbzrle": {
        "size": "xbzrle_cache_bytes", "transferred": "xbzrle_bytes", "pages": "xbzrle_pages", "miss":
        "xbzrle_cache_misses", "encode_rate": "xbzrle_encoding_rate", "overflow": "xbzrle_overflows",
    },
}  # fmt: skip
SHARED = ("page size", "expected downtime", "downtime", "setup", "normal", "others", "sizes", "channels", "cache size")
"""Labels that other programs print, too: they open no answer."""
LABELS = Labels({*SINGLE, *GROUPED})


@dataclass
class InfoMigrate(Reader):
    """Each answer is opened by its line of status, or where that was left out by a label that comes again."""

    told: frozenset[str] = frozenset()
    blocked: int = -1
    limit_ms: float | None = None

    def take(self, item: Item) -> None:
        """A line of status or of a figure, with any text before it."""
        if item.value is None and self.blocked == item.line - 1:
            self._blocked(item)
        if item.value is None and item.text.lstrip().startswith("miss_rate=") and self.samples:
            self._pairs(self.samples[-1], "xbzrle", item.text)
        if item.value is not None or ":" not in item.text:
            return
        limit = LIMIT.search(item.text) if "downtime-limit" in item.text else None
        if limit:
            self._set_limit(quantity(f"{limit.group(1)} {limit.group(2)}", "ms"))
            return
        if "socket address:" in item.text and self.samples and not self.samples[-1].figures.get("total_bytes"):
            self.samples[-1].operation = "incoming migration"
        if "migration blocked" in item.text:
            self.blocked = item.line
            return
        opened = STATUS_LINE.fullmatch(item.text) if "tatus" in item.text else None
        if opened:
            self._open(item, opened.group(1).lower()).error_desc = opened.group(2) or ""
            return
        for label, told in all_labelled(item.text, LABELS):
            self._figure(item, label, told)

    def finish(self) -> None:
        """Drop lines of figures that no answer of a migration has: labels of another program."""
        known = {"transferred_bytes", "remaining_bytes", "total_time_ms"}
        self.samples = [s for s in self.samples if s.status != "" or known & s.figures.keys()]
        for sample in self.samples:
            sample.status = sample.status or _status_of(sample)

    def _set_limit(self, value_ms: float) -> None:
        """The downtime limit that ``info migrate_parameters`` shows holds from there on."""
        self.limit_ms = value_ms
        if self.samples and self.samples[-1].status not in TERMINAL:
            self.samples[-1].figures["limit_ms"] = value_ms

    def _blocked(self, item: Item) -> None:
        if not self.samples:
            self._open(item, "failed").error_desc = f"QEMU blocks a migration of this guest: {item.text.strip()}"

    def _open(self, item: Item, status: str) -> Sample:
        self.told = frozenset()
        sample = self.add(item, status)
        if self.limit_ms is not None:
            sample.figures["limit_ms"] = self.limit_ms
        return sample

    def _figure(self, item: Item, key: str, text: str) -> None:
        if (not self.samples or key in self.told) and key not in SHARED:
            self._open(item, "")
        if not self.samples:
            return
        self.told |= {key}
        sample = self.samples[-1]
        if key in SINGLE:
            name, kind = SINGLE[key]
            keep(sample, name, text, kind, key)
            return
        self._pairs(sample, key, text)

    @staticmethod
    def _pairs(sample: Sample, key: str, text: str) -> None:
        """Figures of a grouped line."""
        for part, figure in PAIR.findall(text):
            if part in GROUPED[key]:
                name = GROUPED[key][part]
                keep(sample, name, figure, "bytes" if name.endswith("_bytes") else "plain", f"{key} {part}")


def _status_of(sample: Sample) -> str:
    """QEMU prints the downtime of a completed migration, and the expected downtime of a running one."""
    return "completed" if "downtime_ms" in sample.figures and "expected_downtime_ms" not in sample.figures else "active"
