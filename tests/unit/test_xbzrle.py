"""XBZRLE: lengths of deltas against an encoder of bytes, the rules of the cache, and undoing a call."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hostsim.core.errors import InputError
from hostsim.core.memory import lay_out
from hostsim.core.rng import natural_log
from hostsim.guest.content import natural_exp, touches
from hostsim.guest.touch import TouchTable, next_touch
from hostsim.guest.workload import Guest, Workload, build_guest
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.parameters import MigrationParameters
from hostsim.qemu.xbzrle import Xbzrle, is_cache_size
from hostsim.qemu.xbzrle_delta import (
    BY_FIRST,
    BY_LATER,
    FOUND,
    NOT_FOUND,
    Course,
    Writes,
    delta_bytes,
    found_by,
    same_chance,
)
from hostsim.qemu.xbzrle_send import save_xbzrle_page
from hostsim.results.qmp import QmpCounters, query_migrate
from hostsim.scenario import Scenario
from hostsim.scenario.assumed import assumptions_of
from hostsim.simulation import run
from tests.unit.test_migration_thread import SHEET

S = 1_000_000_000
CACHE = 4 * 4096


def encoded(old: bytes, new: bytes) -> int:
    """Length of the delta by migration/xbzrle.c's format, byte by byte; -1: longer than a page."""
    at = length = 0
    while at < len(new):
        start = at
        while at < len(new) and old[at] == new[at]:
            at += 1
        if at == len(new):
            break
        gap, start = at - start, at
        while at < len(new) and old[at] != new[at]:
            at += 1
        length += 1 + (gap >= 128) + 1 + (at - start >= 128) + at - start
    return length if length <= len(new) else -1


def written(rng: np.random.Generator, writes: int, size: int) -> int:
    """Length of the delta of a page after ``writes`` writes of ``size`` bytes, each anywhere in the page."""
    page = np.zeros(4096, np.uint8)
    for at in rng.integers(0, 4096 - size + 1, writes):
        page[at : at + size] = 1
    return encoded(bytes(4096), page.tobytes())


def guest_of(**load: object) -> Guest:
    settings: dict[str, object] = {"write_rate_per_s": Fraction(1000), "vcpus": (0,), "pattern": "sequential"} | load
    return build_guest([Workload("load", first_gfn=0, n_pages=8, **settings)], 1)  # type: ignore[arg-type]


def course_of(works_s: list[float], stopped: bool = False) -> Course:
    """Syncs a second apart, with the guest's work at each."""
    ns = (np.array(works_s) * S).astype(np.int64)
    return Course(np.arange(1, len(ns) + 1, dtype=np.int64) * S, ns[:, None], len(ns), stopped)


@pytest.mark.parametrize(
    ("writes", "size"),
    [(1, 1), (60, 1), (400, 1), (1, 8), (5, 8), (60, 8), (1, 64), (20, 64), (1, 200), (2, 200), (15, 200)],
)
def test_the_mean_length_is_an_encoders(writes: int, size: int) -> None:
    rng = np.random.default_rng([writes, size])
    lengths = np.array([written(rng, writes, size) for _ in range(300)], np.float64)
    assert lengths.min() > 0, "none of these deltas is longer than a page"
    guest = guest_of(changed_bytes=size)
    slot = np.array([0, 0, S, 0, 0, 0, -1], np.int64)
    end_ns = S + writes * 8_000_000  # a page of the sweep is written each 8 ms
    got, runs = delta_bytes(guest.content, guest.table, 0, course_of([1.0, 2.0]), slot, end_ns, 1.0)
    error = lengths.std(ddof=1) / len(lengths) ** 0.5
    assert abs(got - lengths.mean()) < 5 * error + 0.02 * lengths.mean()
    assert 0.9 <= runs <= writes + 1e-9


def test_a_write_of_the_whole_page_overflows_and_one_at_its_place_has_one_run() -> None:
    slot = np.array([0, 0, S, 0, 0, 0, -1], np.int64)
    whole = guest_of(changed_bytes=4096)
    assert delta_bytes(whole.content, whole.table, 0, course_of([1.0, 2.0]), slot, 2 * S, 1.0)[0] > 4096
    same = guest_of(changed_bytes=8, changed_place="same")
    lengths = {delta_bytes(same.content, same.table, gfn, course_of([1.0, 2.0]), slot, 2 * S, 1.0) for gfn in range(8)}
    assert lengths <= {(10.0, 1.0), (11.0, 1.0)}, "the length of the gap takes one byte or two, then 1 + 8"
    start = guest_of(changed_bytes=8, changed_place="start")
    lengths = {delta_bytes(start.content, start.table, gfn, course_of([1.0, 2.0]), slot, 2 * S, 1.0) for gfn in range(8)}
    assert lengths == {(10.0, 1.0)}, "the gap before them is empty: its length takes one byte"


def test_a_page_that_was_written_before_its_send_may_be_equal() -> None:
    """Of the pages found dirty: P(written before the send, not after it), by drawing both."""
    rng = np.random.default_rng(5)
    before, after, last = rng.poisson(0.7, 200_000), rng.poisson(1.1, 200_000), rng.poisson(0.4, 200_000)
    found = before + after > 0
    share = ((after + last)[found] == 0).mean()
    writes = Writes(0.0, 0.7, 0.0, 1.1, 9.0, 0.4)
    assert abs(same_chance(writes, BY_FIRST, False) - share) < 5 * (share / found.sum()) ** 0.5
    assert same_chance(writes, BY_FIRST, True) == pytest.approx(np.exp(-9) * same_chance(writes, BY_FIRST, False))
    assert same_chance(writes, BY_LATER, False) == 0.0, "a later sync saw a later write"
    assert same_chance(writes, NOT_FOUND, False) == pytest.approx(np.exp(-10.5)), "nothing is known of it"


@pytest.mark.parametrize(
    ("first_found", "versions", "found"), [(-1, 0, NOT_FOUND), (5, 1, BY_FIRST), (5, 2, BY_LATER), (6, 1, BY_LATER)]
)
def test_the_sync_that_found_a_page_is_known(first_found: int, versions: int, found: int) -> None:
    """Sent after sync 4 with version 3; the page waits over further syncs."""
    ran = machine()
    cache = ran.migration.ram.encoder
    for t_s in range(1, 6):
        cache.note_sync(t_s * S, [0, 0], np.zeros(256, np.uint8))
    send(cache, 9)
    for sync in range(5, 8):
        bmap = np.zeros(256, np.uint8)
        bmap[9] = 5 <= first_found <= sync
        cache.note_sync((1 + sync) * S, [0, 0], bmap)
    slot = cache._slots[9 % len(cache._slots)]
    assert slot[FOUND] == first_found
    assert found_by(slot, versions) == found


@pytest.mark.parametrize("pattern", ["sequential", "strided"])
def test_touches_of_a_sweep_are_counted_one_by_one(pattern: str) -> None:
    table: TouchTable = guest_of(pattern=pattern, stride_pages=3).table
    for page in range(8):
        at, counted = 0, 0
        while (at := next_touch(table, 0, page, at)) < S // 3:
            counted, at = counted + 1, at + 1
        assert touches(table, 0, page, 0, S // 3) == counted
        assert touches(table, 0, page, 0, S // 7) + touches(table, 0, page, S // 7, S // 3) == counted


@pytest.mark.parametrize("value", [0.0, -1e-12, -0.3, 1.0, -30.0, -700.0, -1e9, 20.0])
def test_the_exponential(value: float) -> None:
    assert natural_exp(value) == pytest.approx(np.exp(value), rel=1e-14, abs=1e-300)
    if -30 <= value < 20:
        assert natural_log(natural_exp(value)) == pytest.approx(value, abs=1e-12)


@pytest.fixture
def cache() -> Xbzrle:
    guest = guest_of(changed_bytes=4096)
    found = Xbzrle(CACHE, 8, guest.content, 1, 1, SHEET)
    found.note_sync(S, [S], np.zeros(8, np.uint8))
    return found


def send(cache: Xbzrle, gfn: int, last_stage: bool = False) -> int:
    """Bytes of the delta of ``gfn``, which nothing has written; -1: sent whole."""
    table = guest_of(write_rate_per_s=Fraction(0), read_rate_per_s=Fraction(1)).table
    arrays = cache.cache(0, last_stage)
    return int(save_xbzrle_page(arrays, table, gfn % len(arrays.slots), gfn, 0, S, 0)[0])


def test_a_fresh_page_keeps_its_slot_for_two_syncs(cache: Xbzrle) -> None:
    """page_cache.c::cache_insert: replaced once its age + CACHED_PAGE_LIFETIME is not above the sync count."""
    cache.age = 5
    assert [send(cache, 1), send(cache, 1)] == [-1, 0]
    assert [send(cache, 5), send(cache, 5), send(cache, 1)] == [-1, -1, 0]
    cache.age = 6
    assert [send(cache, 5), send(cache, 1)] == [-1, 0], "a hit makes it young again"
    cache.age = 8
    assert [send(cache, 5), send(cache, 5), send(cache, 1)] == [-1, 0, -1]
    assert (cache.counters.cache_miss, cache.counters.pages) == (6, 4)


def test_the_last_stage_inserts_nothing(cache: Xbzrle) -> None:
    assert [send(cache, 1, last_stage=True), send(cache, 1, last_stage=True)] == [-1, -1]


def test_rates_are_of_the_period(cache: Xbzrle) -> None:
    send(cache, 1), send(cache, 1)
    cache.update_rates(4)
    assert (cache.counters.cache_miss_rate, cache.counters.encoding_rate) == (0.25, 0.0)
    cache.update_rates(4)
    assert cache.counters.cache_miss_rate == 0.25, "QEMU leaves the rates of a period in which nothing was sent"
    cache.update_rates(6)
    assert cache.counters.cache_miss_rate == 0.0


@pytest.mark.parametrize(("size", "fits"), [(4096, True), (1 << 26, True), (2048, False), (3 << 20, False), (0, False)])
def test_a_cache_is_a_power_of_two_of_pages(size: int, fits: bool) -> None:
    assert is_cache_size(size) is fits


@pytest.mark.parametrize("size", ["48MiB", "2KiB"])
def test_the_loader_refuses_other_sizes_in_qemus_words(size: str) -> None:
    with pytest.raises(InputError, match=r"xbzrle_cache_size: got .*wanted a power of two no less than the target page"):
        Scenario.model_validate({"vm": {"memory": "4MiB"}, "migration": {"xbzrle": True, "xbzrle_cache_size": size}})


def test_what_a_write_changes_is_assumed_until_the_file_says_it() -> None:
    load = {"pattern": "uniform", "write_rate": "1000/s"}
    told = {**load, "name": "told", "changed_bytes": 8, "changed_place": "same"}
    base = {"vm": {"memory": "4MiB", "workload": [load, told]}}
    on = Scenario.model_validate({**base, "migration": {"xbzrle": True}})
    assert [text.split(" changes")[0] for text in assumptions_of(on)] == ["a write of vm.workload.0"]
    assert assumptions_of(Scenario.model_validate({**base, "migration": {}})) == ()


def machine(tracking: str = "tcg", **parameters: object) -> Machine:
    settings: dict[str, object] = {
        "max_bandwidth": 1_000_000, "downtime_limit_ms": 20, "xbzrle": True, "xbzrle_cache_size": 1 << 19,
        "timeout_ns": 4 * S,
    } | parameters  # fmt: skip
    loads = (
        Workload("drawn", "uniform", (0,), 0, 128, Fraction(800), changed_bytes=16),
        Workload("sweep", "sequential", (0,), 128, 64, Fraction(300), changed_bytes=8, changed_place="same"),
    )
    blocks = lay_out([("pc.ram", 256, [(0, 220)])])
    spec = MachineSpec(blocks, loads, 1, SHEET, 3, 10 * S, tracking, migration=MigrationParameters(**settings))  # type: ignore[arg-type]
    return Machine(spec)


def test_query_migrate_has_the_cache_with_the_capability_alone() -> None:
    on, off = machine(), machine(xbzrle=False)
    on.run(), off.run()
    answers = []
    for ran in (on, off):
        counters = ran.migration.counters()
        fields = {name: getattr(counters, name) for name in counters.__dataclass_fields__}
        answers.append(query_migrate(QmpCounters(**{**fields, "status": "active"})))
    assert list(answers[0]["xbzrle-cache"]) == [
        "cache-size", "bytes", "pages", "cache-miss", "cache-miss-rate", "encoding-rate", "overflow",
    ]  # fmt: skip
    assert "xbzrle-cache" not in answers[1]


def test_the_first_pass_fills_nothing_and_the_first_resend_is_whole() -> None:
    ran = machine()
    ran.run()
    syncs = ran.migration.recorder.syncs
    assert syncs[1].mechanisms["xbzrle"].pages == syncs[1].mechanisms["xbzrle"].cache_miss == 0
    assert syncs[2].mechanisms["xbzrle"].pages == 0 < syncs[2].mechanisms["xbzrle"].cache_miss
    assert syncs[4].mechanisms["xbzrle"].pages > 0


@pytest.mark.parametrize("larger", [8 << 20, 1 << 42])
def test_a_cache_larger_than_the_guest_changes_nothing_and_takes_no_memory(larger: int) -> None:
    """The slot of a page is its gfn modulo the slots, so slots behind those of the last gfn stay empty."""
    scenario = {
        "vm": {"memory": "6MiB", "workload": [{"pattern": "uniform", "write_rate": "20000/s"}]},
        "migration": {"bandwidth": "8MiB/s", "downtime_limit": "1ms", "xbzrle": True, "timeout": "3s"},
    }
    found = []
    for size in (8 << 20, larger):
        keys = {**scenario["migration"], "xbzrle_cache_size": f"{size}B"}
        result = run(Scenario.model_validate(scenario | {"migration": keys}))
        found.append({name: column.tolist() for name, column in result.migrations[0].rounds.columns.items()})
        assert bool([text for text in result.warnings if "never holds a page" in text]) is (size > 8 << 20)
    assert found[0] == found[1]


def test_a_call_that_is_taken_back_leaves_no_trace() -> None:
    guest = guest_of(changed_bytes=16)
    cache = Xbzrle(CACHE, 8, guest.content, 1, 1, SHEET)
    cache.note_sync(S, [S], np.zeros(8, np.uint8))
    for gfn in (0, 1, 4):
        save_xbzrle_page(cache.cache(0, False), guest.table, gfn % 4, gfn, 0, S, 0)
    before, counters = cache._slots.copy(), cache._counters.copy()
    call = cache.cache(3, False)
    cache.age = 9
    call = call._replace(age=9)
    for at, gfn in enumerate((0, 4, 5)):  # 0 and 4 share a slot
        call.saved[at] = call.slots[gfn % 4]
        save_xbzrle_page(call, guest.table, gfn % 4, gfn, 1, 2 * S, 0)
    assert (cache._slots != before).any()
    cache.take_back(np.array([0, 4, 5]))
    assert (cache._slots == before).all()
    assert (cache._counters == counters).all()


def test_a_write_of_all_bytes_that_has_not_happened_yet_changes_no_delta() -> None:
    seldom = Workload("seldom", "sequential", (0,), 0, 8, Fraction(1, 1000), changed_bytes=4096, changed_place="scattered")
    often = Workload("often", "uniform", (0,), 0, 8, Fraction(1000), changed_bytes=64, changed_place="scattered")
    guest, alone = build_guest([seldom, often], 1), build_guest([often], 1)
    slot = np.array([0, 7, S, 0, 0, 0, -1], np.int64)
    works = np.repeat((np.array([1, 2]) * S)[:, None], 2, 1)
    course = Course(np.arange(1, 3, dtype=np.int64) * S, works, 2, False)
    beside = delta_bytes(guest.content, guest.table, 7, course, slot, 2 * S, 1.0)
    assert beside == delta_bytes(alone.content, alone.table, 7, course, slot, 2 * S, 1.0)
