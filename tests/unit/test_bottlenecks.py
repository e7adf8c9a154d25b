"""Verdicts name the bottleneck where it is not the network: stages of post-copy, a sending thread, compressing channels."""

from __future__ import annotations

from typing import Any

import pytest

from hostsim import Scenario, run
from hostsim.results.tables import RunResult
from hostsim.verdict.diagnose import diagnose
from hostsim.verdict.from_result import evidence_from_result
from hostsim.verdict.model import Verdict

MOVED = {"bandwidth": "unlimited", "postcopy_ram": True, "postcopy_after": "1ms", "downtime_limit": "1ms"}
FAST, SLOW = {"bandwidth": "100Gbit/s"}, {"bandwidth": "1Gbit/s"}


def ran(migration: dict[str, Any], link: dict[str, Any], **tables: Any) -> RunResult:
    load = {"pattern": "uniform", "write_rate": "300k/s", **tables.pop("load", {})}
    vm = {"memory": "1GiB", "filled": "all", "workload": [load], **tables.pop("vm", {})}
    return run(Scenario.model_validate({"duration": "60s", "vm": vm, "migration": migration, "link": link, **tables}))


def note_of(result: RunResult, subject: str) -> str:
    return next((note for note in verdict_of(result).notes if note.startswith(f"{subject}: ")), "")


def verdict_of(result: RunResult) -> Verdict:
    return diagnose(evidence_from_result(result))


@pytest.mark.parametrize(
    ("migration", "link", "host", "stage", "words"),
    [
        ({}, FAST, {"page_send_ns": 300}, "placing", "UFFDIO_COPY"),
        ({}, FAST, {"page_send_ns": 4_000}, "source", "CPU of the source's one migration thread"),
        ({}, SLOW, {}, "link", "the link, which was used for"),
        ({}, {**FAST, "latency": "20ms"}, {"page_send_ns": 300}, "window", "the window of the one connection"),
        ({"max_postcopy_bandwidth": "1Gbit/s"}, FAST, {}, "max-postcopy-bandwidth", "held the source back"),
    ],
)
def test_the_busiest_stage_of_post_copy_is_the_bottleneck(
    migration: dict[str, Any], link: dict[str, Any], host: dict[str, int], stage: str, words: str
) -> None:
    result = ran({**MOVED, **migration}, link, host=host)
    busy = result.migrations[0].facts["postcopy"]["busy"]
    assert max(busy, key=busy.__getitem__) == stage
    assert 0.85 <= busy[stage] <= 1.0
    (bottleneck,) = [line for line in verdict_of(result).findings if line.startswith("Bottleneck: ")]
    assert words in bottleneck


def test_pages_are_placed_as_fast_as_the_bottleneck_says() -> None:
    """A page of 4104 bytes each 1504 ns is 21.8 Gbit/s, whatever the link carries."""
    facts = ran(MOVED, FAST, host={"page_send_ns": 300}).migrations[0].facts["postcopy"]
    assert facts["sent_bytes_per_s"] == pytest.approx(4104 / 1504e-9, rel=0.1)
    assert facts["busy"]["link"] == pytest.approx(facts["sent_bytes_per_s"] / 12.5e9, rel=1e-6)


def test_one_sending_thread_is_named_where_its_cpu_is_the_bottleneck() -> None:
    plain = {"bandwidth": "unlimited", "downtime_limit": "5ms"}
    thread_bound = ran(plain, FAST, host={"page_send_ns": 2_000})
    assert "CPU of the migration thread was the bottleneck" in note_of(thread_bound, "Sender")
    assert not note_of(ran(plain, SLOW), "Sender")


def test_the_part_of_xbzrle_in_the_threads_work_is_named() -> None:
    keys = {"bandwidth": "unlimited", "downtime_limit": "1ms", "xbzrle": True, "xbzrle_cache_size": "1GiB", "timeout": "3s"}
    load = {"size": "256MiB", "write_rate": "2M/s", "changed_bytes": 256, "changed_place": "scattered"}
    result = ran(keys, FAST, load=load, host={"page_send_ns": 2_000})
    sender = result.migrations[0].sender
    assert sender is not None
    assert 0.1 < sender.encoder_cpu_s / sender.thread_cpu_s < 1
    assert "to encode pages as deltas" in note_of(result, "Sender")


def test_channels_that_compress_say_with_what_they_are_busy() -> None:
    keys = {"bandwidth": "unlimited", "multifd": True, "multifd_compression": "zstd"}
    result = ran(keys, FAST, vm={"compression_ratio": 0.5})
    assert "the CPUs of the channels, busy with zstd, were the bottleneck" in note_of(result, "Channels")
