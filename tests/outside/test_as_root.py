"""``hostsim calibrate --kvm --as-root``: refusals anywhere; ageing and swap-ins where there are root, /dev/kvm and zram."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from hostsim.measure.kvm.bench import Bench
from hostsim.measure.kvm.device import Kvm, KvmError
from hostsim.measure.kvm.vm import pinned, usable_cpus
from hostsim.measure.privileged import putting_back, swap_device, swap_in
from hostsim.measure.privileged.measures import AsRoot, measure_as_root
from hostsim.measure.privileged.putting_back import PuttingBack
from hostsim.measure.privileged.swap_device import BLOCK, swaps_on, take_device
from tests.helpers.command import PATIENCE_S, hostsim, started
from tests.helpers.needs import needs_kvm, needs_no_swap, needs_root, needs_zram

needs_swap = [pytest.mark.real, needs_kvm, needs_root, needs_zram]


def host() -> tuple[list[str], list[str]]:
    """Swap devices that are on, and zram devices that there are."""
    return [device.path for device in swaps_on()], sorted(path.name for path in BLOCK.glob("zram*"))


@pytest.fixture
def bench() -> Bench:
    kvm = Kvm.open()
    return Bench(kvm, 3, 64 << 20, usable_cpus())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("calibrate", "--as-root"), "--as-root: got no --kvm"),
        (("calibrate", "--kvm", "--swap", "zram"), "--swap: got zram, wanted --as-root beside it"),
        (("calibrate", "--kvm", "--as-root", "--swap", "disk"), "--swap: got disk, wanted present or zram"),
        (("debate", "--as-root"), "--as-root: got no --real"),
    ],
)
def test_options_that_lack_another_one(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = hostsim(*options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("calibrate", "--kvm"), ("debate", "--real")])
def test_who_is_not_root_is_told_so_at_once(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(putting_back.os, "geteuid", lambda: 1000)
    done = hostsim(*command, "--as-root", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --as-root: this process is not root's; leave the option out")
    assert list(tmp_path.iterdir()) == []


class TestOnThisHost:
    pytestmark = needs_swap

    def test_a_vcpu_waits_for_a_page_from_zram(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(swap_in, "REPETITIONS", 7)
        before = host()
        with bench.kvm, pinned(bench.cpus[0]):
            told = measure_as_root(bench, AsRoot("zram"))
        assert host() == before
        assert told.endswith(", made for it and removed")
        assert "age_page_ns" in bench.absent or bench.sample("age_page_ns")
        samples = {name: bench.sample(name) for name in ("swap_in_ns", "swap_in_p99_ns", "swap_out_page_ns")}
        assert all(samples.values()), dict(bench.refused)
        middle, late, out = (sample.median_ns for sample in samples.values() if sample)
        assert 500 < middle < late
        assert out > 500

    def test_the_device_that_is_on_is_swapped_to_and_stays_on(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(swap_in, "REPETITIONS", 1)
        before = host()
        with bench.kvm, pinned(bench.cpus[0]), PuttingBack() as back:
            device = take_device("zram", back, swap_in.SWAPPED_BYTES)
            with_zram = host()
            assert measure_as_root(bench, AsRoot("present")) == f"{device.path}, on before"
            assert host() == with_zram
        assert len(bench.taken["swap_in_ns"].ns) == 1
        assert host() == before

    @needs_no_swap
    def test_without_a_device_the_way_to_one_is_told(self, bench: Bench) -> None:
        with bench.kvm, pytest.raises(KvmError, match="no swap device is on; --swap zram makes one"):
            measure_as_root(bench, AsRoot("present"))

    @pytest.mark.parametrize("step", ["_write", "_await", "_write_header", "_swap_on", "swap_ins"])
    def test_a_failure_at_any_step_leaves_the_host_as_it_was(
        self, step: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_arguments: object) -> None:
            raise OSError("made to fail")

        place = "hostsim.measure.privileged.measures" if step == "swap_ins" else swap_device.__name__
        monkeypatch.setattr(f"{place}.{step}", fail)
        before = host()
        with bench.kvm, pytest.raises(OSError, match="made to fail"):
            measure_as_root(bench, AsRoot("zram"))
        assert host() == before

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_signal_leaves_the_host_as_it_was(self, number: int, code: int, tmp_path: Path) -> None:
        before = host()
        process = started("calibrate", "--kvm", "--as-root", "--swap", "zram", "--busy", "--quick", cwd=tmp_path)
        until = time.monotonic() + PATIENCE_S
        while host()[0] == before[0] and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        assert host() != before
        process.send_signal(number)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == code
        assert host() == before
        assert list(tmp_path.iterdir()) == []
