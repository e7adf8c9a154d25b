"""Each form with all of its fields: every figure that a form prints arrives in the log."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hostsim.logs.sniff import parse_logs

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
QMP_RAM = {
    "total": 101, "remaining": 60, "transferred": 103, "precopy-bytes": 104, "postcopy-bytes": 105, "downtime-bytes": 106,
    "multifd-bytes": 107, "normal": 108, "normal-bytes": 109, "duplicate": 110, "page-size": 4096, "dirty-sync-count": 112,
    "dirty-pages-rate": 113, "mbps": 114.5, "pages-per-second": 115, "postcopy-requests": 116,
}  # fmt: skip
QMP = {
    "status": "active", "total-time": 1000, "setup-time": 2, "downtime": 3, "expected-downtime": 4,
    "cpu-throttle-percentage": 5, "ram": QMP_RAM,
    "xbzrle-cache": {"cache-size": 6, "bytes": 7, "pages": 8, "cache-miss": 9, "overflow": 10, "encoding-rate": 11.5},
    "disk": {"total": 100, "remaining": 12, "transferred": 13}, "vfio": {"transferred": 14},
}  # fmt: skip
TIMES = {"total_time_ms": 1000, "setup_time_ms": 2, "expected_downtime_ms": 4, "throttle_percent": 5}
XBZRLE = {"xbzrle_cache_bytes": 6, "xbzrle_bytes": 7, "xbzrle_pages": 8, "xbzrle_cache_misses": 9, "xbzrle_overflows": 10,
          "xbzrle_encoding_rate": 11.5}  # fmt: skip
PAGES = {"normal_pages": 108, "zero_pages": 110, "page_size_bytes": 4096, "dirty_sync_count": 112, "mbps": 114.5,
         "dirty_pages_rate_per_s": 113, "postcopy_requests": 116}  # fmt: skip
HMP_9 = """\
Migration status: active
total time: 1000 ms
expected downtime: 4 ms
setup: 2 ms
transferred ram: 103 kbytes
throughput: 114.50 mbps
remaining ram: 60 kbytes
total ram: 101 kbytes
duplicate: 110 pages
normal: 108 pages
normal bytes: 109 kbytes
dirty sync count: 112
page size: 4 kbytes
multifd bytes: 107 kbytes
pages-per-second: 115
dirty pages rate: 113 pages
postcopy request count: 116
precopy ram: 104 kbytes
downtime ram: 106 kbytes
postcopy ram: 105 kbytes
cache size: 6 bytes
xbzrle transferred: 7 kbytes
xbzrle pages: 8 pages
xbzrle cache miss: 9 pages
xbzrle cache miss rate: 0.10
xbzrle encoding rate: 11.50
xbzrle overflow: 10
cpu throttle percentage: 5
vfio device transferred: 14 kbytes
"""
HMP_10 = """\
Status: \t\tactive
Time (ms): \t\ttotal=1000, setup=2, exp_down=4
RAM info:
  Throughput (Mbps): \t114.50
  Sizes: \t\tpagesize=4 KiB, total=101 KiB
  Transfers: \t\ttransferred=103 KiB, remain=60 KiB
    Channels: \t\tprecopy=104 KiB, multifd=107 KiB, postcopy=105 KiB, vfio=14 KiB
    Page Types: \tnormal=108, zero=110
  Page Rates (pps): \ttransfer=115, dirty=113
  Others: \t\tdirty_syncs=112, postcopy_req=116, downtime_bytes=106
XBZRLE: size=6, transferred=7, pages=8, miss=9
  miss_rate=0.10, encode_rate=11.50, overflow=10
CPU Throttle (%): \t5
"""
VIRSH = """\
Job type:         Unbounded
Operation:        Outgoing migration
Time elapsed:     1000         ms
Data processed:   113.000 KiB
Data remaining:   62.000 KiB
Data total:       121.000 KiB
Memory processed: 103.000 KiB
Memory remaining: 60.000 KiB
Memory total:     101.000 KiB
Memory bandwidth: 13.649463653564453 MiB/s
Dirty rate:       113          pages/s
Page size:        4096         bytes
Iteration:        112
Postcopy requests: 116
Constant pages:   110
Normal pages:     108
Normal data:      109.000 KiB
Expected downtime: 4           ms
Setup time:       2            ms
Compression cache: 6.000 B
Compressed data:  7.000 KiB
Compressed pages: 8
Compression cache misses: 9
Compression overflows: 10
Auto converge throttle: 5
File processed:   10.000 KiB
File remaining:   2.000 KiB
File total:       20.000 KiB
"""
RAW = """\
  operation: 5
  time_elapsed: 1000
  downtime: 4
  setup_time: 2
  memory_total: 103424
  memory_processed: 105472
  memory_remaining: 61440
  memory_bps: 14312500
  memory_dirty_rate: 113
  memory_page_size: 4096
  memory_iteration: 112
  memory_postcopy_requests: 116
  memory_constant: 110
  memory_normal: 108
  memory_normal_bytes: 111616
  compression_cache: 6
  compression_bytes: 7168
  compression_pages: 8
  compression_cache_misses: 9
  compression_overflow: 10
  auto_converge_throttle: 5
  disk_total: 20480
  disk_processed: 10240
  disk_remaining: 2048
"""
KV = ("Migration info for 1ab8: TimeElapsed:1000ms DataProcessed:3MiB DataRemaining:2MiB DataTotal:9MiB "
      "MemoryProcessed:3MiB MemoryRemaining:2MiB MemoryTotal:9MiB MemoryBandwidth:25Mbps DirtyRate:8Mbps Iteration:112 "
      "PostcopyRequests:116 "
      "ConstantPages:110 NormalPages:108 NormalData:2MiB ExpectedDowntime:4ms DiskMbps:0\n")  # fmt: skip
VDSM = ("(vmId='ab') Migration Progress: 1 seconds elapsed, 77% of data processed, total data: 9MB, processed data: 3MB, "
        "remaining data: 2MB, transfer speed 14MBps, zero pages: 110MB, compressed: 7MB, dirty rate: 113, "
        "memory iteration: 112\n")  # fmt: skip
NOVA = ("[instance: ab] Migration running for 1 secs, memory 2% remaining (bytes processed=103, remaining=60, total=101); "
        "disk 12% remaining (bytes processed=13, remaining=12, total=100).\n")  # fmt: skip
BYTES = {"total_bytes": 101, "remaining_bytes": 60, "transferred_bytes": 103}
CHANNELS = {"precopy_bytes": 104, "postcopy_bytes": 105, "downtime_bytes": 106, "multifd_bytes": 107, "vfio_bytes": 14}
IN_KIB = {name: value * KIB for name, value in (BYTES | {"normal_bytes": 109}).items()}
JOB = TIMES | PAGES | IN_KIB | XBZRLE | {
    "xbzrle_bytes": 7 * KIB, "disk_total_bytes": 20 * KIB, "disk_remaining_bytes": 2 * KIB,
}  # fmt: skip
JOB.pop("xbzrle_encoding_rate")
HMP = TIMES | PAGES | IN_KIB | {name: value * KIB for name, value in CHANNELS.items()} | XBZRLE | {"pages_per_second": 115}
FORMS = {
    "query-migrate": (json.dumps({"return": QMP}), TIMES | PAGES | BYTES | CHANNELS | XBZRLE | {
        "downtime_ms": 3, "normal_bytes": 109, "pages_per_second": 115, "disk_total_bytes": 100, "disk_remaining_bytes": 12,
        "disk_transferred_bytes": 13}),
    "info-migrate, 9": (HMP_9, HMP | {"xbzrle_bytes": 7 * KIB}),
    "info-migrate, 10": (HMP_10, {k: v for k, v in HMP.items() if k != "normal_bytes"} | {"downtime_bytes": 106}),
    "domjobinfo": (VIRSH, JOB | {"disk_transferred_bytes": 10 * KIB}),
    "rawstats": (RAW, JOB | {"disk_transferred_bytes": 10 * KIB}),
    "kubevirt": (KV, {
        "total_time_ms": 1000, "transferred_bytes": 3 * MIB, "remaining_bytes": 2 * MIB, "total_bytes": 9 * MIB, "mbps": 25,
        "dirty_pages_rate_per_s": 1e6 / 4096, "dirty_sync_count": 112, "postcopy_requests": 116, "zero_pages": 110,
        "normal_pages": 108, "normal_bytes": 2 * MIB, "expected_downtime_ms": 4}),
    "vdsm": (VDSM, {
        "total_time_ms": 1000, "transferred_bytes": 3 * MIB, "remaining_bytes": 2 * MIB, "total_bytes": 9 * MIB,
        "mbps": 14 * MIB * 8 / 1e6, "dirty_pages_rate_per_s": 113, "dirty_sync_count": 112, "zero_pages": 110,
        "xbzrle_bytes": 7 * MIB}),
    "nova": (NOVA, BYTES | {
        "total_time_ms": 1000, "disk_total_bytes": 100, "disk_remaining_bytes": 12, "disk_transferred_bytes": 13}),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_field_of_a_form_is_read(form: str) -> None:
    text, wanted = FORMS[form]
    (log,) = parse_logs(text)
    read = {name: float(getattr(log, name)[0]) for name in wanted}
    assert read == pytest.approx({name: float(value) for name, value in wanted.items()}, rel=1e-6)
    assert not np.isnan(log.t_s).any()
    assert log.notes == ()
