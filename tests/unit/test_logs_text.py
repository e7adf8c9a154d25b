"""Pasted output for people: virsh domjobinfo, and both generations of info migrate."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hostsim.core.errors import InputError
from hostsim.logs.forms import FORMS, Form, is_worth_reading
from hostsim.logs.sniff import parse_logs

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
    "no number": (JOB.format(ms="soon"), "total_time_ms", "time elapsed soon"),
    "another unit": (JOB.format(ms=1).replace("remaining: 256.500 MiB", "remaining: 9 ms"), "remaining_bytes", "9 ms"),
    "a figure with two points": (HMP_7.replace("480.01", "480.0.1"), "mbps", "throughput 480.0.1"),
    "not a number": (HMP_7.replace("480.01", "-nan"), "mbps", "throughput -nan"),
    "minus one": (HMP_7.replace("22376", "18446744073709551615"), "remaining_bytes", "remaining ram"),
    "a size without sense": (HMP_10.replace("pagesize=4 KiB", "pagesize=four"), "page_size_bytes", "sizes pagesize"),
    "beyond 64 bits": (JOB.format(ms=10**25), "total_time_ms", "time elapsed"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named_and_not_told(name: str) -> None:
    text, column, wanted = BROKEN[name]
    (log,) = parse_logs(text, "job.txt")
    assert np.isnan(getattr(log, column)[0])
    assert wanted in log.notes[0]


LOCALIZED = """\
Job-Typ:          Unbegrenzt
Operation:        Ausgehende Migration
Verstrichene Zeit: 13050        ms
Verarbeitete Daten: 1,234 GiB
Verbleibende Daten: 256,500 MiB
Gesamte Daten:    4,016 GiB
"""


def test_labels_of_another_language_get_the_hint() -> None:
    for text in (LOCALIZED, LOCALIZED.replace(":", "\uff1a"), LOCALIZED.replace("Verstrichene Zeit", "Time elapsed")):
        with pytest.raises(InputError, match="LC_ALL=C"):
            parse_logs(text)


def test_text_in_no_form_gets_all_forms() -> None:
    with pytest.raises(InputError) as caught:
        parse_logs("it never finishes\n")
    assert all(form.known_by in str(caught.value) for form in FORMS)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_line_a_form_is_known_by_is_read(form: Form) -> None:
    text = form.known_by.replace("{...}", '{"transferred_bytes": 5, "transferred": 5}')
    assert is_worth_reading(text), f"no reader gets this line: give the form {form.name} words of it (Form.words)"
    assert parse_logs(text)[0].format == form.name


PREFIXES = ("", "May  2 10:00:05 host virsh[12]: ", "2024-01-01T10:00:00.123Z ", "[pod/x/compute] ", "12:00:01 | ")


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("text", [JOB.format(ms=900), COMPLETED, HMP_7, HMP_10], ids=["job", "completed", "hmp 7", "hmp 10"])
def test_what_stands_before_a_line_is_passed_over(text: str, prefix: str) -> None:
    (log,) = parse_logs("\n".join(prefix + line.replace("(qemu) ", "") for line in text.splitlines()))
    (plain,) = parse_logs(text)
    assert log.status == plain.status
    for column in ("remaining_bytes", "transferred_bytes", "total_time_ms", "mbps", "dirty_sync_count"):
        np.testing.assert_array_equal(getattr(log, column), getattr(plain, column))


def test_logs_in_the_json_of_a_logger() -> None:
    inner = json.dumps({"log": "Memory remaining: 256.5 MiB\nTime elapsed: 5 ms\n", "stream": "stdout"})
    assert parse_logs(inner)[0].remaining_bytes[0] == 256.5 * 2**20
