"""[host.memory], [ageing] and [[neighbour]]: what may stand together, what is filled in, and what is built of it."""

from __future__ import annotations

from typing import Any

import pytest

from hostsim.core.errors import InputError
from hostsim.memory.frames import kept_at_start
from hostsim.memory.policies.registry import POLICIES
from hostsim.memory.spec import ReclaimSpec
from hostsim.memory.swap_sheet import swap_names
from hostsim.scenario import Scenario, reference
from hostsim.scenario.build import build
from hostsim.scenario.memory_schema import SWAPS

KVM = {"memory": "8MiB", "dirty_tracking": "get-dirty-log"}
PINNED = {"index": "book3s-pr", "era": "E0", "costs": "nehalem-2010"}


def scenario(vm: dict[str, Any] | None = None, **tables: Any) -> Scenario:
    return Scenario.model_validate({"vm": KVM | (vm or {}), **tables})


def memory(**keys: Any) -> dict[str, Any]:
    return {"memory": {"size": "4MiB"} | keys}


def reclaim(keys: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """[host] with [host.memory.reclaim] of ``keys``; more: of [host.memory]."""
    return memory(**{"size": "16MiB", **more, "reclaim": keys or {}})


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "memory without KVM": (
        {"dirty_tracking": "tcg"}, {"host": memory()}, r"host\.memory: got .* 'tcg'.*wanted a guest under",
    ),
    "ageing without KVM": ({"dirty_tracking": "tcg"}, {"ageing": {}}, r"ageing: got a table with dirty_tracking = 'tcg'"),
    "neighbours without KVM": (
        {"dirty_tracking": "tcg"}, {"neighbour": [{"memory": "1MiB"}]}, r"neighbour: got a table with dirty_tracking",
    ),
    "a neighbour without KVM": (
        {}, {"neighbour": [{"memory": "1MiB", "dirty_tracking": "tcg"}]}, r"neighbour\[0\]\.dirty_tracking: got 'tcg'",
    ),
    "large pages": (
        {"mmu": {"page_size": "2MiB"}}, {"host": memory()},
        r"vm\.mmu\.page_size: got '2MiB' with \[host\.memory\], wanted 4KiB",
    ),
    "pinned pages": ({"mmu": PINNED}, {"host": memory()}, r"vm\.mmu\.index: got 'book3s-pr' with \[host\.memory\]"),
    "pinned pages that are aged": ({"mmu": PINNED}, {"ageing": {}}, r"vm\.mmu\.index: got 'book3s-pr' with \[ageing\]"),
    "no such swap": ({}, {"host": memory(swap="nvmee")}, r"host\.memory\.swap: got 'nvmee', wanted 'nvme'.*swap = \"none\""),
    "no such policy": ({}, {"host": memory(policy="lru")}, r"host\.memory\.policy: got 'lru', wanted 'mglru'"),
    "no such ageing": ({}, {"ageing": {"policy": "clock"}}, r"ageing\.policy: got 'clock', wanted one of scan, idle"),
    "no unit": ({}, {"host": memory(size=4)}, r"host\.memory\.size: got 4, wanted "),
    "hardly a frame": (
        {"filled": "none"}, {"host": memory(size="64KiB")}, r"host\.memory\.size: got 64KiB, wanted at least 1MiB",
    ),
    "size of no swap": (
        {"filled": "none"}, {"host": memory(swap="none", swap_size="1GiB")},
        r"host\.memory\.swap_size: got a key that has no effect here, wanted only with a swap device",
    ),
    "a limit of nothing": ({"memory_limit": "4MiB"}, {}, r"vm\.memory_limit: got a key .* no effect.*\[host\.memory\]"),
    "pages a call of a list": (
        {}, {"ageing": {"policy": "idle", "call_pages": 8}}, r"ageing\.call_pages: got a key that has no effect here",
    ),
    "lists beside lists": (
        {}, {"host": memory(), "ageing": {"policy": "mglru"}}, r"ageing\.policy: got 'mglru', wanted 'scan'",
    ),
    "no place to begin with": (
        {}, {"host": memory(swap="none")}, r"host\.memory\.size: got 8MiB that have content.*wanted at most.*do not fit",
    ),
    "too little swap": ({}, {"host": memory(swap_size="1MiB")}, r"host\.memory\.size: got 8MiB.*swap_size is 1MiB"),
    "another kernel": (
        {"mmu": {"era": "E4"}}, {"neighbour": [{"memory": "1MiB", "mmu": {"era": "E2"}}]},
        r"neighbour\[0\]\.mmu\.era: got 'E2', wanted 'E4', as vm\.mmu has it",
    ),
    "a neighbour's own key": (
        {}, {"neighbour": [{"memory": "1MiB"}, {"memory": "1MiB", "vcpus": 2, "workload": [
            {"pattern": "uniform", "write_rate": "1/s", "vcpus": [2]}]}]},
        r"neighbour\[1\]\.workload\[0\]\.vcpus: got vCPU 2, wanted vCPUs from 0 to 1 \(neighbour\[1\]\.vcpus = 2\)",
    ),
    "reclaim without a host": (
        {}, {"host": {"memory": {"reclaim": {}}}},
        r"host\.memory\.size: got nothing, wanted a value.*example: size = \"8GiB\"",
    ),
    "reclaim without KVM": (
        {"dirty_tracking": "tcg"}, {"host": reclaim()}, r"host\.memory: got a table with dirty_tracking = 'tcg'",
    ),
    "reclaim beside a neighbour": (
        {}, {"host": reclaim(), "neighbour": [{"memory": "1MiB"}]},
        r"host\.memory\.reclaim: got a table with \[\[neighbour\]\], wanted no \[\[neighbour\]\]",
    ),
    "a policy that pages nothing out": (
        {}, {"host": reclaim({"policy": "two-list"})},
        r"host\.memory\.reclaim\.policy: got 'two-list', wanted one of idle, .*none; example: policy = \"idle\"",
    ),
    "reclaim from pinned pages": (
        {"mmu": PINNED}, {"host": reclaim()}, r"vm\.mmu\.index: got 'book3s-pr' with \[host\.memory\] and era E0, wanted",
    ),
    "reclaim to no swap": (
        {}, {"host": reclaim(swap="none")},
        r"host\.memory\.swap: got 'none' with \[host\.memory\.reclaim\], wanted a device",
    ),
    "lists beside those of reclaim": (
        {}, {"host": reclaim(policy="mglru")},
        r"host\.memory\.policy: got .* no effect here, wanted .* the policy of \[host\.memory\.reclaim\]",
    ),
    "two clocks": ({}, {"host": reclaim(proactive="1s")}, r"host\.memory\.proactive: got a key that has no effect here"),
    "an age of no reclaim": (
        {}, {"host": reclaim({"policy": "none", "age": "1s"})},
        r"host\.memory\.reclaim\.age: got a key that has no effect here, wanted only with a policy that pages out",
    ),
    "an age between scans": (
        {}, {"host": reclaim({"age": "3s", "scan": "2s"})},
        r"host\.memory\.reclaim\.age: got 3s, wanted a multiple of the time from scan to scan, 2s.*example: age = \"2s\"",
    ),
    "an age of too many scans": (
        {}, {"host": reclaim({"age": "11s", "scan": "1ms"})}, r"reclaim\.age: got 11s, .*at most 10000",
    ),
    "nothing is measured": (
        {}, {"host": reclaim({"warm_up": "10s"}), "duration": "10s"},
        r"host\.memory\.reclaim\.warm_up: got 10s, wanted a warm-up that ends before the run does \(10s\)",
    ),
    "reclaim where memory runs short": (
        {}, {"host": reclaim(size="8MiB")}, r"host\.memory\.size: got 8MiB with .*wanted frames for all of vm\.memory and",
    ),
    "reclaim under a limit": (
        {"memory_limit": "4MiB"}, {"host": reclaim()},
        r"vm\.memory_limit: got 4MiB with \[host\.memory\.reclaim\], wanted no limit",
    ),
    "D bits without A bits": (
        {"mmu": {"write_tracking": "d-bit", "a_bits": False}}, {}, r"vm\.mmu\.a_bits: got false with 'd-bit', wanted true",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_together_is_refused(name: str) -> None:
    vm, tables, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        scenario(vm, **tables)


def test_everything_is_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        scenario({"mmu": {"page_size": "2MiB"}}, host=memory(swap="nvmee"), ageing={"policy": "idle", "call_pages": 8})
    keys = {problem.key for problem in caught.value.problems}
    assert keys == {"host.memory.swap", "ageing.call_pages", "vm.mmu.page_size"}


def test_without_the_tables_nothing_is_said_of_them() -> None:
    resolved = scenario().resolved()
    assert not {"ageing", "neighbour"} & resolved.keys()
    assert "memory" not in resolved["host"]
    assert not {"memory_limit"} & resolved["vm"].keys()
    assert "a_bits" not in resolved["vm"]["mmu"]
    assert not scenario().shares_host


NEIGHBOUR = {"memory": "4MiB", "workload": [{"pattern": "zipf", "write_rate": "9/s"}]}
FULL: tuple[dict[str, Any], ...] = (
    {"host": memory()},
    {"host": memory(swap="none", size="12MiB"), "ageing": {"policy": "idle", "period": "10ms"}},
    {"ageing": {"policy": "scan", "call_pages": 64, "flush": True}},
    {"host": memory(policy="mglru", page_cluster=0, proactive="1s", async_page_faults=True), "neighbour": [NEIGHBOUR] * 2},
    {"vm": {**KVM, "mmu": {"a_bits": False, "era": "E2"}, "memory_limit": "2MiB"}, "host": memory(),
     "neighbour": [NEIGHBOUR]},
    {"host": reclaim({"policy": "damon", "age": "4s", "scan": "2s", "warm_up": "1s"}), "ageing": {"policy": "idle"}},
    {"host": reclaim({"policy": "none", "warm_up": "1s"}, policy="mglru")},
)


@pytest.mark.parametrize("tables", FULL, ids=range(len(FULL)))
def test_what_resolves_can_be_run_again(tables: dict[str, Any]) -> None:
    one = Scenario.model_validate({"vm": KVM, **tables})
    assert Scenario.model_validate(one.resolved()).resolved() == one.resolved()
    assert one.shares_host


def test_a_neighbour_is_on_the_host_of_the_vm_with_draws_of_its_own() -> None:
    one = scenario({"mmu": {"era": "E2", "costs": "haswell", "a_bits": False}}, neighbour=[NEIGHBOUR, NEIGHBOUR], seed=5)
    spec = build(one)
    first, second = spec.neighbours
    assert first.mmu == second.mmu == spec.mmu
    assert len({first.seed, second.seed, spec.seed}) == 3
    assert first.dirty_tracking == "get-dirty-log"
    more = build(scenario({"mmu": {"era": "E2", "costs": "haswell", "a_bits": False}}, neighbour=[NEIGHBOUR] * 3, seed=5))
    assert [n.seed for n in more.neighbours[:2]] == [first.seed, second.seed]


def test_what_is_built_is_what_is_written() -> None:
    spec = build(Scenario.model_validate({"vm": KVM, **FULL[3]}))
    assert spec.memory is not None
    assert (spec.memory.frames, spec.memory.policy, spec.memory.page_cluster) == (1024, "mglru", 0)
    assert (spec.memory.proactive_ns, spec.memory.async_pf, spec.memory.swap_pages) == (1_000_000_000, True, 4 << 20)
    limited = build(Scenario.model_validate({**FULL[4]}))
    assert (limited.limit_pages, limited.mmu.a_bits) == (512, False)
    reclaimed, compared = (build(Scenario.model_validate({"vm": KVM, **FULL[i]})).memory for i in (5, 6))
    assert reclaimed is not None
    assert reclaimed.reclaim == ReclaimSpec("damon", 2, 2_000_000_000, 1_000_000_000)
    assert compared is not None
    assert compared.reclaim is not None
    assert (compared.policy, compared.reclaim.policy, compared.reclaim.warm_up_ns) == ("mglru", "none", 1_000_000_000)
    aged = build(Scenario.model_validate({"vm": KVM, **FULL[2]}))
    assert aged.ageing is not None
    assert (aged.ageing.call_pages, aged.ageing.flush, aged.ageing.period_ns) == (64, True, 1_000_000_000)


def test_the_schema_knows_every_policy_and_device() -> None:
    assert set(SWAPS) == {"none", *swap_names()}
    text = reference.markdown()
    assert all(f"{name}" in text for name in (*SWAPS, *POLICIES))
    assert "`[[neighbour]]`" in text
    assert text.count("## `[vm.mmu]`") == 1


def test_reclaim_scans_once_an_age_unless_it_is_told_otherwise() -> None:
    """A written ``scan`` and a default one are resolved; the error of a wrong table lists all its problems."""
    one = scenario(host=reclaim({"age": "3s"}))
    assert one.resolved()["host"]["memory"]["reclaim"] == {"policy": "idle", "age": "3s", "scan": "3s", "warm_up": "0s"}
    assert not {"policy", "proactive"} & one.resolved()["host"]["memory"].keys()
    with pytest.raises(InputError) as caught:
        scenario(host=reclaim({"policy": "lru", "age": "3s", "scan": "2s"}, proactive="1s"), neighbour=[NEIGHBOUR])
    assert "host.memory.reclaim.policy" in {problem.key for problem in caught.value.problems}
    with pytest.raises(InputError) as caught:
        scenario(host=reclaim({"age": "3s", "scan": "2s"}, proactive="1s"), neighbour=[NEIGHBOUR])
    told = {problem.key for problem in caught.value.problems}
    assert told == {"host.memory.reclaim", "host.memory.reclaim.age", "host.memory.proactive"}


@pytest.mark.parametrize(
    ("filled", "limits", "total", "kept"),
    [
        ([100, 100], [1 << 62] * 2, 1000, [100, 100]),
        ([1000, 3000], [1 << 62] * 2, 2044, [500, 1500]),
        ([1000, 3000], [1 << 62, 200], 2044, [500, 200]),
    ],
)
def test_each_vm_begins_with_its_share(filled: list[int], limits: list[int], total: int, kept: list[int]) -> None:
    got = kept_at_start(filled, limits, total)
    assert all(abs(a - b) <= 0.1 * b for a, b in zip(got, kept, strict=True))
    assert sum(got) <= total


@pytest.mark.parametrize("mmu", [{"index": "slot-list"}, {**PINNED, "era": "E0b"}, {"index": "book3s-hv"}])
def test_an_index_may_be_aged_and_reclaimed_from(mmu: dict[str, str]) -> None:
    one = scenario({"mmu": mmu}, host=memory(), ageing={})
    assert one.vm.mmu is not None
    assert one.vm.mmu.index == mmu["index"]
