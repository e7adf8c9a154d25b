"""Reader of ``virsh domjobinfo`` output, pasted once or many times over, ``--completed`` included."""

from __future__ import annotations

from hostsim.logs.labels import Label, read_quantity
from hostsim.logs.model import Sample

STATUS = {
    "unbounded": "active",
    "bounded": "active",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "none": "none",
}
"""Job type of libvirt to status of QEMU; libvirt shows a running migration as "Unbounded"."""

LABELS = {
    "time elapsed": Label("total_time_ms", "ms"),
    "memory total": Label("total_bytes", "bytes"),
    "memory remaining": Label("remaining_bytes", "bytes"),
    "memory processed": Label("transferred_bytes", "bytes"),
    "memory bandwidth": Label("mbps", "MiB/s"),
    "dirty rate": Label("dirty_pages_rate_per_s", "plain"),
    "page size": Label("page_size_bytes", "bytes"),
    "iteration": Label("dirty_sync_count", "plain"),
    "postcopy requests": Label("postcopy_requests", "plain"),
    "constant pages": Label("zero_pages", "plain"),
    "normal pages": Label("normal_pages", "plain"),
    "normal data": Label("normal_bytes", "bytes"),
    "expected downtime": Label("expected_downtime_ms", "ms"),
    "total downtime": Label("downtime_ms", "ms"),
    "setup time": Label("setup_time_ms", "ms"),
    "auto converge throttle": Label("throttle_percent", "plain"),
    "compression cache": Label("xbzrle_cache_bytes", "bytes"),
    "compressed data": Label("xbzrle_bytes", "bytes"),
    "compressed pages": Label("xbzrle_pages", "plain"),
    "compression cache misses": Label("xbzrle_cache_misses", "plain"),
    "compression overflows": Label("xbzrle_overflows", "plain"),
}
OTHERWISE = {
    "data total": "memory total",
    "data remaining": "memory remaining",
    "data processed": "memory processed",
}
"""Whole-job figures: they stand in where a job has no lines of memory; a storage copy is in them too."""


def read_virsh(text: str, source: str) -> list[Sample]:
    """Samples of all jobs in ``text``; a job begins at "Job type" or where a label comes again.

    Lines that are no known label (shell lines, "Operation") are passed over. Raises InputError.
    """
    blocks: list[dict[str, tuple[int, str]]] = []
    for line, content in enumerate(text.splitlines(), 1):
        key, colon, value = content.partition(":")
        key = " ".join(key.lower().split())
        if not colon or key not in {"job type", *LABELS, *OTHERWISE}:
            continue
        if not blocks or key == "job type" or key in blocks[-1]:
            blocks.append({})
        blocks[-1][key] = (line, value)
    return [_sample(block, source) for block in blocks]


def _sample(block: dict[str, tuple[int, str]], source: str) -> Sample:
    line = next(iter(block.values()))[0]
    job = block.get("job type", (line, "unbounded"))[1].split("(")[0].strip().lower()
    sample = Sample(line, STATUS.get(job, job))
    for instead, key in OTHERWISE.items():
        if key not in block and instead in block:
            block[key] = block[instead]
    for key, label in LABELS.items():
        if key in block:
            at, value = block[key]
            sample.figures[label.name] = read_quantity(value, label, source, at, key)
    return sample
