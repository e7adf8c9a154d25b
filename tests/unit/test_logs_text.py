"""Pasted output for people: virsh domjobinfo, and both generations of info migrate."""

from __future__ import annotations

import pytest

from hostsim.errors import InputError
from hostsim.logs import parse_logs

JOB = """\
Job type:         Unbounded
Operation:        Outgoing migration
Time elapsed:     {ms}         ms
Data processed:   1.234 GiB
Data remaining:   256.500 MiB
Data total:       4.016 GiB
Memory processed: 1.234 GiB
Memory remaining: 256.500 MiB
Memory total:     4.016 GiB
Memory bandwidth: 57.220 MiB/s
Dirty rate:       14602        pages/s
Page size:        4096         bytes
Iteration:        3
Postcopy requests: 0
Constant pages:   196625
Normal pages:     323000
Normal data:      1.232 GiB
Expected downtime: 4473        ms
Setup time:       2            ms
Auto converge throttle: 30
"""
COMPLETED = """\
Job type:         Completed
Operation:        Outgoing migration
Time elapsed:     9104         ms
Memory processed: 516.130 MiB
Memory remaining: 0.000 B
Memory total:     1.000 GiB
Memory bandwidth: 56.712 MiB/s
Total downtime:   3            ms
Downtime w/o network: 2        ms
Compression cache: 256.000 MiB
Compressed data:  417.885 KiB
Compressed pages: 87319
Compression cache misses: 65536
Compression overflows: 0
"""
HMP_7 = """\
(qemu) info migrate
globals:
store-global-state: on
clear-bitmap-shift: 18
Migration status: active
total time: 12893 ms
expected downtime: 4473 ms
setup: 1 ms
transferred ram: 755868 kbytes
throughput: 480.01 mbps
remaining ram: 22376 kbytes
total ram: 1049096 kbytes
duplicate: 196625 pages
skipped: 0 pages
normal: 188168 pages
normal bytes: 752672 kbytes
dirty sync count: 3
page size: 4 kbytes
multifd bytes: 0 kbytes
pages-per-second: 14620
dirty pages rate: 14696 pages
precopy ram: 755868 kbytes
cache size: 268435456 bytes
xbzrle transferred: 968 kbytes
xbzrle pages: 129432 pages
xbzrle cache miss: 65536 pages
xbzrle cache miss rate: 0.00
xbzrle encoding rate: 563.54
xbzrle overflow: 0
cpu throttle percentage: 20
"""
HMP_10 = """\
Status:                 active
Time (ms):              total=47317, setup=5, exp_down=812
RAM info:
  Throughput (Mbps):    1342.83
  Sizes:                pagesize=4 KiB, total=4.02 GiB
  Transfers:            transferred=1.41 GiB, remain=2.46 GiB
    Channels:           precopy=15.2 MiB, multifd=0 B, postcopy=1.39 GiB
    Page Types:         normal=367713, zero=41195
  Page Rates (pps):     transfer=40900, dirty=4
  Others:               dirty_syncs=2, postcopy_req=57503
CPU Throttle (%):       40
"""


def test_domjobinfo() -> None:
    (log,) = parse_logs(JOB.format(ms=13050))
    assert (log.format, log.status, log.t_s[0]) == ("domjobinfo", ("active",), 13.05)
    assert log.remaining_bytes[0] == 256.5 * 2**20
    assert log.mbps[0] == pytest.approx(480.0, abs=0.01)
    assert (log.normal_pages[0], log.zero_pages[0], log.dirty_sync_count[0]) == (323000, 196625, 3)
    assert (log.expected_downtime_ms[0], log.throttle_percent[0], log.page_size_bytes[0]) == (4473, 30, 4096)


def test_domjobinfo_many_times_over() -> None:
    text = "".join(f"$ virsh domjobinfo vm1\n{JOB.format(ms=ms)}\n" for ms in (1000, 2000, 3000))
    (log,) = parse_logs(text)
    assert log.t_s.tolist() == [1, 2, 3]


def test_domjobinfo_of_a_completed_job() -> None:
    (log,) = parse_logs(COMPLETED)
    assert (log.status, log.downtime_ms[0], log.xbzrle_pages[0]) == (("completed",), 3, 87319)
    assert log.xbzrle_bytes[0] == pytest.approx(417.885 * 1024)


def test_whole_job_figures_stand_in_for_memory() -> None:
    text = "\n".join(line for line in JOB.format(ms=1).splitlines() if not line.startswith("Memory"))
    assert parse_logs(text)[0].remaining_bytes[0] == 256.5 * 2**20


def test_info_migrate_up_to_10_0() -> None:
    (log,) = parse_logs(HMP_7)
    assert (log.format, log.status) == ("info-migrate", ("active",))
    assert log.t_s[0] == 12.893
    assert log.transferred_bytes[0] == 755868 * 1024
    assert (log.page_size_bytes[0], log.dirty_pages_rate_per_s[0]) == (4096, 14696)
    assert (log.xbzrle_encoding_rate[0], log.throttle_percent[0]) == (563.54, 20)


def test_info_migrate_since_10_1() -> None:
    (log,) = parse_logs(HMP_10)
    assert (log.t_s[0], log.setup_time_ms[0], log.expected_downtime_ms[0]) == (47.317, 5, 812)
    assert log.total_bytes[0] == pytest.approx(4.02 * 2**30)
    assert log.postcopy_bytes[0] == pytest.approx(1.39 * 2**30)
    assert (log.pages_per_second[0], log.dirty_pages_rate_per_s[0]) == (40900, 4)
    assert (log.dirty_sync_count[0], log.postcopy_requests[0], log.throttle_percent[0]) == (2, 57503, 40)


def test_a_failure_and_its_reason() -> None:
    (log,) = parse_logs("Status:                 failed (Unable to write to socket: Broken pipe)\n")
    assert (log.status, log.error_desc) == (("failed",), "Unable to write to socket: Broken pipe")


BROKEN = {
    "no number": (JOB.format(ms="soon"), "line 3, time elapsed"),
    "a unit of another kind": (JOB.format(ms=1).replace("256.500 MiB", "256.500 ms"), "data remaining"),
    "a figure with two points": (HMP_7.replace("480.01", "480.0.1"), "throughput"),
    "a size without sense": (HMP_10.replace("pagesize=4 KiB", "pagesize=four"), "sizes pagesize"),
    "beyond 64 bits": (JOB.format(ms=10**25), "time elapsed"),
    "backwards": (JOB.format(ms=2000) + JOB.format(ms=1000), "line 21"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named(name: str) -> None:
    text, wanted = BROKEN[name]
    with pytest.raises(InputError) as caught:
        parse_logs(text, "job.txt")
    assert wanted.replace("data remaining", "remaining") in str(caught.value)
