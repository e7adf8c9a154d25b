"""Through /dev/kvm of this machine: what KVM does is looked at by its counters, never by time, which neighbours take."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hostsim.costs.costs import load_costs
from hostsim.measure.kvm import abi, calibrate_kvm, device, directories, kernel_mode, table_syncs
from hostsim.measure.kvm.bench import Bench, asking, guest_timing
from hostsim.measure.kvm.chain_costs import WORKS, form_ns, modelled_ns
from hostsim.measure.kvm.counters import changed
from hostsim.measure.kvm.device import Kvm, KvmError, ioctl
from hostsim.measure.kvm.guest import Command, Work
from hostsim.measure.kvm.host import read_host
from hostsim.measure.kvm.real_selftest import dirty_pages
from hostsim.measure.kvm.repetitions import CALM_MIN
from hostsim.measure.kvm.vm import Vm, VmSpec, address_of, usable_cpus
from hostsim.spte_index.cache_costs import CacheCosts
from hostsim.validation.kvm_map_passes import faults_where
from hostsim.validation.kvm_recycling import PASSES, passes_of
from tests.helpers.command import hostsim, started
from tests.helpers.needs import needs_kvm, needs_shadow_mmu

MIB = 1 << 20
N = 2 * MIB // 4096
TEST = ("kvm-selftest", "dirty_log_perf_test", "--real", "--busy")
NOBODY = 65534
SMALL_BYTES = 8 * MIB


@pytest.fixture
def kvm() -> Iterator[Kvm]:
    with Kvm.open() as opened:
        yield opened


def faults(vm: Vm, *works: Work) -> int:
    return guest_timing(vm, works).counters.get("pf_taken", 0)


def written(vm: Vm, **more: Any) -> list[int]:
    """Pages that the log has after one pass."""
    guest_timing(vm, [Work(Command.WRITE, address_of(0), N, **more)])
    bitmaps = vm.bitmaps()
    vm.ask(vm.gets(bitmaps))
    return np.flatnonzero(np.unpackbits(bitmaps[0].view(np.uint8), bitorder="little")).tolist()


@needs_kvm
def test_the_log_has_what_the_guest_wrote(kvm: Kvm) -> None:
    with Vm(kvm, VmSpec(2 * MIB)) as vm:
        assert faults(vm, Work(Command.NOTHING)) < 8
        assert faults(vm, Work(Command.WRITE, address_of(0), N)) >= N // 64
        assert faults(vm, Work(Command.READ, address_of(0), N, passes=3)) < 8
        vm.ask(vm.logs(on=True))
        bitmaps = vm.bitmaps()
        for every in (1, 2, 7):
            guest_timing(vm, [Work(Command.MIXED, address_of(0), N, every=every)])
            vm.ask(vm.gets(bitmaps))
            assert dirty_pages(bitmaps) == -(-N // every)
        guest_timing(vm, [Work(Command.PACED, address_of(5), 3, every=vm.tsc_khz // 10)])
        vm.ask(vm.gets(bitmaps))
        assert bitmaps[0][0] == 0b11100000
        vm.ask(vm.gets(bitmaps))
        assert dirty_pages(bitmaps) == 0


@needs_kvm
def test_each_write_protected_page_is_one_fault_and_clear_protects_again(kvm: Kvm) -> None:
    with Vm(kvm, VmSpec(2 * MIB, manual_protect=1)) as vm:
        whole = Work(Command.WRITE, address_of(0), N)
        guest_timing(vm, [whole])
        vm.ask(vm.logs(on=True))
        bitmaps = vm.bitmaps()
        for _ in range(2):
            assert read_host().pml or abs(faults(vm, whole) - N) < 8
            vm.ask(vm.gets(bitmaps))
            assert faults(vm, whole) < 8  # GET protects nothing here
            cleared = asking(vm, vm.clears(bitmaps, 64))
            assert cleared.counters["remote_tlb_flush_requests"] == N // 64


@needs_kvm
def test_vcpus_share_the_work_and_the_log(kvm: Kvm) -> None:
    with Vm(kvm, VmSpec(2 * MIB, n_vcpus=2, n_slots=2)) as vm:
        vm.ask(vm.logs(on=True))
        halves = [Work(Command.WRITE, address_of(v * N // 2), N // 2) for v in range(2)]
        timing = guest_timing(vm, halves)
        bitmaps = vm.bitmaps()
        vm.ask(vm.gets(bitmaps))
        assert [dirty_pages([one]) for one in bitmaps] == [N // 2] * 2
        assert all(outcome.ticks > 0 for outcome in timing.outcomes)


@needs_kvm
def test_a_full_ring_stops_the_guest_until_it_is_reset(kvm: Kvm) -> None:
    entries = 1024
    with Vm(kvm, VmSpec(8 * MIB, ring_entries=entries)) as vm:
        vm.ask(vm.logs(on=True))
        ring = vm.vcpus[0].ring
        assert ring is not None
        done = guest_timing(vm, [Work(Command.WRITE, address_of(0), 4 * N)])
        reserved = 576 if read_host().pml else 64
        assert abs(done.outcomes[0].ring_fulls - 4 * N / (entries - reserved)) <= 2
        left = ring.harvest()
        assert set(left["slot"]) == {1}
        assert left["offset"][-1] == 4 * N - 1
        assert vm.reset_rings() == len(left)


@needs_kvm
def test_a_page_at_many_addresses_is_one_page(kvm: Kvm) -> None:
    with Vm(kvm, VmSpec(2 * MIB, aliases=4)) as vm:
        for alias in range(4):
            guest_timing(vm, [Work(Command.WRITE, address_of(alias, alias), 1)])
        assert vm.memory.array(np.uint64)[:: 4096 // 8][:4].tolist() == [1] * 4


@needs_shadow_mmu
def test_shadow_pages_are_recycled_as_the_model_says(kvm: Kvm) -> None:
    """64 shadow pages for a guest that goes over 8 MiB at 16 addresses, twice: every counter."""
    mib, addresses, limit = 8, 16, 64
    with Vm(kvm, VmSpec(mib * MIB, aliases=addresses)) as vm:
        vm.run([Work(Command.NOTHING)])
        ioctl(vm.fd, abi.KVM_SET_NR_MMU_PAGES, limit)
        vm.memory.array(np.uint64)[:: 4096 // 8] = 1
        found = [_counted_pass(vm, addresses) for _ in range(PASSES)]
    model = passes_of({"mib": mib, "addresses": addresses, "limit": limit})
    assert found == [one.as_tuple() for one in model]
    assert found[1][2] > 64


@needs_shadow_mmu
@pytest.mark.parametrize("stride", [1, 5063])
def test_a_fault_prefetches_what_the_model_says(kvm: Kvm, stride: int) -> None:
    """The host has written three pages of four, at random: the faults of a pass show which neighbours each maps."""
    present = np.random.default_rng(stride).random(N) < 0.75
    command = Command.WRITE if stride == 1 else Command.SCATTER
    with Vm(kvm, VmSpec(2 * MIB)) as vm:
        vm.run([Work(Command.NOTHING)])
        vm.memory.array(np.uint64)[:: 4096 // 8][present] = 1
        assert faults(vm, Work(command, address_of(0), N, every=stride)) == faults_where(present, stride)


def _counted_pass(vm: Vm, addresses: int) -> tuple[int, ...]:
    """Faults, allocated and recycled shadow pages, flushes."""
    whole = [Work(Command.WRITE, address_of(0, alias), vm.spec.n_pages) for alias in range(addresses)]
    counters = [guest_timing(vm, [work]).counters for work in whole]
    names = ("pf_taken", "mmu_cache_miss", "mmu_recycled", "remote_tlb_flush_requests")
    return tuple(sum(one.get(name, 0) for one in counters) for name in names)


@needs_kvm
def test_python_goes_on_while_the_guest_runs(kvm: Kvm) -> None:
    with Vm(kvm, VmSpec(2 * MIB)) as vm:
        vm.start(Work(Command.SPIN, address_of(0), 1))
        until, turns = time.monotonic() + 5, 0
        while vm.vcpus[0].mailbox.progress < 1000 and time.monotonic() < until:
            turns += 1
        assert turns > 0
        assert vm.stop().progress >= 1000


@needs_kvm
def test_exits_end_in_the_kernel_or_in_user_space(kvm: Kvm) -> None:
    with Vm(kvm, VmSpec(2 * MIB)) as vm:
        assert vm.run([Work(Command.EVENT, count=50)])[0].user_exits == 50
        with vm.event_ends_in_kernel():
            assert vm.run([Work(Command.EVENT, count=50)])[0].user_exits == 0
        assert vm.run([Work(Command.EVENT, count=50)])[0].user_exits == 50


def left_over() -> tuple[list[str], list[str], int]:
    """Descriptors of KVM, threads of vCPUs and mappings of KVM that this process has."""
    kvms = [link for link in links_of(os.getpid()) if "kvm" in link]
    threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("vcpu-")]
    return kvms, threads, Path("/proc/self/maps").read_text().count("kvm")


@needs_kvm
@pytest.mark.parametrize("work", [None, Work(Command.SPIN, address_of(0), 1), Work(Command.WRITE, address_of(0), N)])
def test_nothing_is_left_whatever_ends_a_vm(work: Work | None) -> None:
    before = left_over()

    def interrupted() -> None:
        with Kvm.open() as kvm, Vm(kvm, VmSpec(2 * MIB, n_vcpus=2, ring_entries=1024)) as vm:
            assert len(left_over()[1]) == 2
            if work:
                vm.start(work)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert left_over() == before


@needs_kvm
def test_an_ioctl_that_fails_says_which_and_why(kvm: Kvm) -> None:
    with pytest.raises(KvmError, match=r"^KVM_CREATE_VCPU: "):
        ioctl(kvm.fd, device.abi.KVM_CREATE_VCPU, 0)
    descriptors = len(links_of(os.getpid()))
    with pytest.raises(KvmError, match="KVM_ENABLE_CAP: Invalid argument"):
        Vm(kvm, VmSpec(2 * MIB, ring_entries=1000))
    assert len(links_of(os.getpid())) == descriptors


def in_a_child(call: Callable[[], bool]) -> bool:
    """The result of ``call`` in a fork of this process."""
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            os._exit(0 if call() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def give_up_root() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


@needs_kvm
def test_no_root_is_needed(kvm: Kvm) -> None:
    """The descriptor is opened before root is given up: where only root may open /dev/kvm no right is changed for a test."""

    def works() -> bool:
        give_up_root()
        with Vm(kvm, VmSpec(2 * MIB)) as vm:
            vm.ask(vm.logs(on=True))
            return os.geteuid() != 0 and written(vm) == list(range(N))

    assert in_a_child(works)


@needs_kvm
def test_who_may_not_open_it_is_told_what_to_do() -> None:
    def told() -> bool:
        give_up_root()
        if os.access(device.DEVICE, os.R_OK | os.W_OK, effective_ids=True):
            Kvm.open().close()
            return True
        try:
            Kvm.open()
        except KvmError as error:
            return "Permission denied; join the group kvm" in str(error)
        return False

    assert in_a_child(told)


@needs_kvm
def test_calibrate_writes_a_sheet_of_this_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate_kvm, "memory_bytes", lambda *_: SMALL_BYTES)
    done = hostsim("calibrate", "--kvm", "--busy", "--quick", "--json", "--out", "mine.toml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    told, sheet = json.loads(done.stdout), load_costs(str(tmp_path / "mine.toml"))
    through = set(told["through_kvm"])
    assert {"loop_ns", "populate_pass_ns", "protect_page_ns", "clear_call_ns", "event_exit_ns", "unmap_page_ns"} <= through
    assert read_host().pml or {"exit_ns", "entry_ns", "dirty_pass_ns", "populate_ns"} <= through
    for number in told["numbers"]:
        if number["name"] in through:
            assert number["repetitions"] >= CALM_MIN  # the counted ones: a neighbour on the core takes some of the seven
            assert number["value"] == sheet.numbers[number["name"]].value
            assert number["source"].startswith("measured on ")
    assert any(line.strip().startswith("age_page_ns: ") for line in told["notes"])
    test = ("kvm-selftest", "dirty_log_perf_test", "-b", "4M", "--json", "--sheet", "mine.toml", "--mmu", "shadow")
    assert hostsim(*test, cwd=tmp_path).returncode == 0


@needs_kvm
@pytest.mark.parametrize(
    "options",
    [(), ("-g",), ("--initially-all-set", "-i", "3"), ("-v", "2", "-f", "4", "-x", "3", "-e"), ("-v", "2", "-o")],
)
def test_phases_stand_side_by_side(options: tuple[str, ...], tmp_path: Path) -> None:
    done = hostsim(*TEST, "-b", "2M", "--json", *options, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    phases = {row["phase"]: row for row in told["phases"]}
    assert list(phases)[:2] == ["populate", "enable logging"]
    assert list(phases)[-1] == "disable logging"
    assert ("clear dirty log 1" in phases) == ("-g" not in options)
    assert all(row["real_ms"] > 0 and row["ratio"] >= 0 for row in told["phases"])
    dirty = phases["dirty memory 2"]
    assert read_host().pml or "-o" in options or abs(dirty["real_faults"] - dirty["pages"]) < 16
    assert told["options"]["mmu"] == read_host().mmu


@needs_kvm
def test_a_table_and_a_verdict(tmp_path: Path) -> None:
    done = hostsim(*TEST, "-b", "2M", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    host = read_host()
    head = f"real: {host.words} simulated: {host.version}, {host.mmu}, sheet cascade-lake"
    assert " ".join(done.stdout.split()).startswith(head)
    assert "phases of at least 20 ns a page are simulated within 20%" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@needs_kvm
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-s", "anonymous_hugetlb_1gb"), "no page of 1 GiB"),
        (("-v", "65", "-b", "4M"), "more vCPUs than 64"),
        (("-b", "4K", "-x", "2"), "more memslots than pages, 1"),
    ],
)
def test_what_cannot_be_had_is_refused(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = hostsim(*TEST, *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@needs_kvm
def test_ctrl_c_ends_it_without_a_trace(tmp_path: Path) -> None:
    process = started("calibrate", "--kvm", "--busy", "--out", "mine.toml", cwd=tmp_path)
    until = time.monotonic() + 30
    while not any("kvm-vm" in link for link in links_of(process.pid)) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "interrupted: files that were finished are whole, no other was begun\n"
    assert list(tmp_path.iterdir()) == []


def links_of(pid: int) -> list[str]:
    links = []
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # the descriptor of this walk itself is gone
                links.append(str(entry.readlink()))
    return links


@needs_shadow_mmu
def test_a_page_table_is_unsync_after_one_exit_and_synced_at_the_next_root(kvm: Kvm) -> None:
    with Vm(kvm, VmSpec(16 * MIB)) as vm:
        guest_timing(vm, [Work(Command.WRITE, address_of(0), vm.spec.n_pages)])
        for root in (1, 0):
            vm.load_root(root)
            guest_timing(vm, [Work(Command.READ, address_of(0), vm.spec.n_pages)])
        at, entries = vm.page_tables(4)
        writes, kept = Work(Command.WRITE, at + 4088, 4), entries.copy()
        first, second = (guest_timing(vm, [writes]).counters for _ in range(2))
        entries[:] = kept
        entries[0, :8] = 0
        before = vm.read_counters()
        vm.load_root(1)
        vm.run([Work(Command.NOTHING)])
        synced = changed(before, vm.read_counters())
        assert (first["mmu_unsync"], first["pf_taken"]) == (4, 4)
        assert second.get("pf_taken", 0) == 0
        assert synced["pages_4k"] == -8, "sptes of entries that the guest has changed"
        assert synced["remote_tlb_flush_requests"] == 2, "for the tables that are protected, and for sptes that are gone"


@needs_kvm
@pytest.mark.parametrize(
    ("measure", "names"),
    [
        (table_syncs.table_syncs, table_syncs.NAMES),
        (directories.directories, ("emulated_more_ns", "zap_table_ns", "zap_entry_ns")),
        (kernel_mode.kernel_mode, kernel_mode.NAMES),
    ],
)
def test_work_on_page_tables_is_measured_or_there_is_none(
    kvm: Kvm, measure: Callable[[Bench], None], names: tuple[str, ...]
) -> None:
    bench = Bench(kvm, 2, SMALL_BYTES, usable_cpus())
    measure(bench)
    assert bench.refused == {}
    if read_host().mmu == "shadow":
        assert set(bench.taken) == set(names)
    else:
        assert not bench.taken
        assert bench.absent


@needs_shadow_mmu
def test_the_third_write_to_a_directory_zaps_it(kvm: Kvm) -> None:
    with Vm(kvm, VmSpec(16 * directories.REGION_BYTES)) as vm:
        vm.run([Work(Command.NOTHING)])
        few, all_of_it = (directories._cleared(vm, n).counters for n in (2, 16))
    assert (few["pf_emulate"], few.get("mmu_flooded", 0)) == (2, 0)
    assert (all_of_it["pf_emulate"], all_of_it["mmu_flooded"], all_of_it["pf_taken"]) == (3, 1, 4)


@needs_kvm
def test_switching_a_log_sleeps_and_get_does_not(kvm: Kvm) -> None:
    with Vm(kvm, VmSpec(16 * MIB)) as vm:
        switched = asking(vm, vm.logs(on=True))
        got = asking(vm, vm.gets(vm.bitmaps()))
    assert (switched.slept, got.slept) == (True, False)
    assert switched.ns == switched.wall_ns


@pytest.mark.parametrize("command", [("calibrate", "--kvm"), TEST])
def test_without_kvm_a_message_says_what_is_missing(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "DEVICE", str(tmp_path / "no-kvm"))
    done = hostsim(*command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {tmp_path}/no-kvm: No such file or directory; load the module kvm_intel")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
@needs_kvm
def test_two_calibrations_agree(tmp_path: Path) -> None:
    """Nine numbers of ten within 10 %; a machine that is busy is refused."""
    sheets = []
    for name in ("first.toml", "second.toml"):
        begin = time.monotonic()
        done = hostsim("calibrate", "--kvm", "--json", "--out", name, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert time.monotonic() - begin < 30
        told = json.loads(done.stdout)
        numbers = {number["name"]: number["value"] for number in told["numbers"]}
        sheets.append({name: numbers[name] for name in told["through_kvm"]})
    first, second = sheets
    near = [name for name in first if first[name] == second[name] or abs(first[name] / second[name] - 1) <= 0.1]
    assert len(near) >= 0.9 * len(first), sorted(set(first) - set(near))


@pytest.mark.real
@needs_kvm
@pytest.mark.parametrize("options", [(), ("-g",)])
def test_phases_are_as_the_own_sheet_says(options: tuple[str, ...], tmp_path: Path) -> None:
    """Nine phases of ten above 20 ns a page within 20 %, on a machine that is not busy."""
    assert hostsim("calibrate", "--kvm", "--out", "mine.toml", cwd=tmp_path).returncode == 0
    test = (*TEST[:3], "-b", "64M", "-i", "4", *options, "--sheet", "mine.toml", "--json")
    done = hostsim(*test, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    long = [row for row in json.loads(done.stdout)["phases"] if row["real_ns_a_page"] >= 20]
    near = [row for row in long if abs(row["ratio"] - 1) <= 0.2]
    assert len(near) >= 0.9 * len(long), [(row["phase"], row["ratio"]) for row in long]


@needs_kvm
def test_the_debate_measures_chains_beside_model_and_form(tmp_path: Path) -> None:
    done = hostsim("debate", "--real", "--busy", "--json", "--out", "mine", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)["rows"]
    names = {path.name for path in (tmp_path / "mine").iterdir()}
    assert names == {f"real-chains.{kind}" for kind in ("json", "png", "svg")}
    assert json.loads((tmp_path / "mine" / "real-chains.json").read_text())["rows"] == rows
    if read_host().mmu == "shadow":
        assert [(row["work"], row["sptes_a_page"]) for row in rows][:4] == [("enable", k) for k in (1, 2, 8, 16)]
        assert all(row["low_ns"] <= row["real_ns"] <= row["high_ns"] for row in rows)
        assert all(row["low_ns"] > 0 for row in rows)


@pytest.mark.parametrize("length", [1, 2, 8, 16])
def test_the_form_of_a_chain_is_near_the_index_where_lines_cost_alike(length: int) -> None:
    """All levels of the memory cost the same, so the order in which lines are read does not matter."""
    costs = replace(CacheCosts.from_sheet(load_costs("zen4-pvm")), l1_ns=5, l2_ns=5, llc_ns=5, dram_ns=5, line_stream_ns=5)
    for work, ns in modelled_ns(dict.fromkeys(WORKS, costs), length).items():
        if work == "enable":
            assert form_ns(costs, work, length) == pytest.approx(ns, rel=0.35)
