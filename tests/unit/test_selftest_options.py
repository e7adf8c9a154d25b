"""Options of the selftest: what they make of the VM, and what does not go together."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from hostsim.core.errors import InputError
from hostsim.kvm.build import log_plan
from hostsim.kvm.plan import LogPlan
from hostsim.measure.selftest.dirty_log_perf_test import SelftestResult, run_selftest
from hostsim.measure.selftest.options import Options, asked_for, write_every

HUGE = "anonymous_hugetlb_2mb"
PAGES = 2048


def ran(**options: Any) -> SelftestResult:
    asked = asked_for(Options(**{"vcpus": 2, "size": "8M"} | options))
    return run_selftest(asked.spec, asked.plan)


def problems(**options: Any) -> list[tuple[str, str]]:
    with pytest.raises(InputError) as caught:
        asked_for(Options(**options))
    return [(problem.file, f"{problem.wanted} {problem.example}") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "n"), [("1", 1), ("20", 20), ("1/20", 20), ("5%", 20), ("0.05", 20), ("100%", 1), ("12.5%", 8)]
)
def test_a_share_of_pages_is_one_in_n(text: str, n: int) -> None:
    assert write_every(text) == n


@pytest.mark.parametrize("text", ["0", "40%", "0%", "2/3", "-1", "", "x", "1/0", "101%"])
def test_what_is_not_one_in_n_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        write_every(text)


@pytest.mark.parametrize(("size", "pages"), [("8M", 2048), ("8MiB", 2048), ("4k", 1), ("1G", 262144), ("8388608", 2048)])
def test_sizes_are_read_as_the_selftest_reads_them(size: str, pages: int) -> None:
    assert asked_for(Options(size=size)).spec.vcpu_pages == pages


def plan_of(**options: Any) -> LogPlan:
    spec = asked_for(Options(**options)).spec
    return log_plan(spec.mmu, spec.interface)


def test_defaults_are_those_of_the_era() -> None:
    assert (plan_of().eager_split, plan_of().interface) == (True, "clear-dirty-log")
    old = plan_of(era="E1", source=HUGE)
    assert (old.eager_split, old.interface, old.recovery) == (False, "get-dirty-log", "none")
    plans = {era: plan_of(era=era, source=HUGE) for era in ("E3", "E4", "E5")}
    recovered = {era: (plan.recovery, plan.recovery_flush) for era, plan in plans.items()}
    assert recovered == {"E3": ("zap", "spte"), "E4": ("zap", "each"), "E5": ("in-place", "slot")}
    assert plan_of(era="E4", eager_split=False).eager_split is False


@pytest.mark.parametrize("written", ["4", "1/4", "25%"])
def test_pages_that_are_only_read_do_not_fault(written: str) -> None:
    assert [p.tally.wp_faults for p in ran(written=written, source=HUGE).of("dirty memory")] == [PAGES // 2] * 2


def test_every_option_reaches_the_model() -> None:
    assert ran(get_protects=True).of("clear dirty log") == []
    assert ran(era="E1").of("clear dirty log") == []
    assert len(ran(iterations=3).of("dirty memory")) == 3
    assert ran(slots=4).of("enable logging")[0].tally.flushes == 4
    assert ran(pml=True).of("dirty memory")[0].tally.pml_full == 2 * PAGES // 512
    assert ran(source=HUGE, eager_split=False).of("dirty memory")[0].tally.split_faults == 8
    assert ran(initially_all_set=True, written="4").of("get dirty log")[0].pages == 2 * PAGES
    assert ran(overlap=True).of("get dirty log")[0].pages == PAGES
    assert ran(mmu="shadow").of("dirty memory")[0].tally.hold_ns > 0
    assert ran(mmu="tdp").of("dirty memory")[0].tally.hold_ns == 0


def test_vcpus_that_run_make_disabling_longer() -> None:
    quiet, evil = (ran(source=HUGE, run_while_disabling=e).of("disable logging")[0] for e in (False, True))
    assert quiet.tally.flushes == evil.tally.flushes == 8
    assert evil.duration_ns > quiet.duration_ns


def test_sheets_and_eras_change_times_only_where_they_should() -> None:
    fast, slow = (ran(era=era).of("dirty memory")[0] for era in ("E3", "E2"))
    assert fast.tally.wp_faults == slow.tally.wp_faults
    assert fast.tally.wait_ns == fast.tally.hold_ns == 0 < slow.tally.hold_ns
    assert ran(sheet="skylake").of("dirty memory") != ran().of("dirty memory")


def test_all_problems_are_told_at_once() -> None:
    found = problems(
        vcpus=0, size="1.3G", source="huge", era="E9", sheet="skylak", written="0", iterations=1, slots=0, mmu="ept"
    )  # fmt: skip
    assert [key for key, _ in found] == ["-v", "-i", "-x", "-b", "-s", "--mmu", "--sheet", "--era", "-f"]
    assert dict(found)["--sheet"].endswith("--sheet skylake")


@pytest.mark.parametrize(
    ("options", "key", "said"),
    [
        (dict(get_protects=True, initially_all_set=True), "--initially-all-set", "no -g"),
        (dict(pml=True, mmu="shadow"), "--pml", "--mmu tdp"),
        (dict(pml=True, sheet="haswell"), "--pml", "--sheet cascade-lake"),
        (dict(eager_split=True, era="E1"), "--eager-split", "E4 (kernel 5.17) or later"),
        (dict(initially_all_set=True, era="E1"), "--initially-all-set", "E2 (kernel 5.10) or later"),
        (dict(source=HUGE, eager_split=False, written="20"), "-f", "-f 16"),
        (dict(size="5K"), "-b", "multiple of 4K"),
        (dict(size="0"), "-b", "not 0"),
        (dict(size="1T", vcpus=64), "-b", "4 TiB"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, Any], key: str, said: str) -> None:
    ((got, text),) = problems(**options)
    assert (got, said in text) == (key, True)


def test_a_mixed_walk_over_huge_pages_is_fine_if_each_begins_with_a_write() -> None:
    for source, size, written in ((HUGE, "8M", "16"), (HUGE, "1M", "20"), ("anonymous_hugetlb_1gb", "1G", "20")):
        options = Options(size=size, source=source, written=written, eager_split=False)
        assert asdict(asked_for(options).plan)["write_every"] == int(written)
