"""Whether trials fit into memory, how many at once, and what is said about their length."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hostsim.core.errors import InputError
from hostsim.measure.selftest.options import Options, asked_for
from hostsim.report import progress as bars
from hostsim.report.progress import describe_runs
from hostsim.study import sizing
from hostsim.study.ageing.options import AgeOptions
from hostsim.study.ageing.preset import age_plan
from hostsim.study.compare import together
from hostsim.study.compare.runner import Progress
from hostsim.study.reclaim.options import ReclaimOptions
from hostsim.study.reclaim.preset import reclaim_plan
from hostsim.study.sizing import Size

GIB = 1 << 30


@pytest.fixture
def four_gib_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for home in (sizing, together):
        monkeypatch.setattr(home, "available_bytes", lambda: 4 * GIB)
    monkeypatch.setattr("hostsim.measure.selftest.options.available_bytes", lambda: 4 * GIB)


@pytest.mark.usefixtures("four_gib_free")
def test_what_fits_into_memory_is_aged_however_large_the_guest() -> None:
    assert age_plan(AgeOptions(vcpus="16", mem_per_vcpu="4GiB")).scenario(0).vm.memory_pages == 1 << 24
    with pytest.raises(InputError, match=r"--mem-per-vcpu: got 64GiB for each of 16 vCPUs, whose simulation takes "):
        age_plan(AgeOptions(vcpus="1,16", mem_per_vcpu="64GiB"))


@pytest.mark.usefixtures("four_gib_free")
def test_reclaim_and_selftests_ask_too() -> None:
    assert reclaim_plan(ReclaimOptions(memory="16GiB")).scenario(0).vm.memory_pages == 1 << 22
    with pytest.raises(InputError, match=r"--memory: got 1TiB, whose simulation takes .*, wanted at most the 4GiB"):
        reclaim_plan(ReclaimOptions(memory="1TiB"))
    assert asked_for(Options(vcpus=4, size="64G"))
    with pytest.raises(InputError, match=r"-b: got 2T for each of 2 vCPUs, whose simulation takes 16GiB"):
        asked_for(Options(vcpus=2, size="2T"))


@pytest.mark.usefixtures("four_gib_free")
def test_there_are_as_many_workers_as_fit() -> None:
    assert together.workers_that_fit(GIB, 8) == 3
    assert together.workers_that_fit(0, 8) == 8
    assert together.workers_that_fit(100 * GIB, 8) == 1


def test_the_bar_says_what_is_left() -> None:
    progress = Progress(4, done=1, shares={1: 0.5})
    assert bars.left_words(progress, 30.0) == "about 50 s left"
    assert describe_runs(progress) == "1 of 4 runs, at 50%"
    assert bars.left_words(Progress(4), 30.0) == ""


@pytest.mark.parametrize(("seconds", "quiet", "is_said"), [(200.0, False, True), (3.0, False, False), (200.0, True, False)])
def test_long_runs_are_announced(monkeypatch: pytest.MonkeyPatch, seconds: float, quiet: bool, is_said: bool) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, no_color=True, highlight=False)
    monkeypatch.setattr(bars, "err_console", lambda: console)
    bars.say_size(Size(6, seconds, GIB, 2), quiet=quiet)
    assert ("6 runs, 2 at a time: about 100 s, at most 2.15 GB of memory" in screen.getvalue()) == is_said
