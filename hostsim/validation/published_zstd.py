"""Published rows Z: compressed pages on the wire, and CPU time of a stream that compresses (KubeVirt enhancement 246)."""

from __future__ import annotations

from collections.abc import Iterator

from hostsim.core.constants import NS_PER_S, PAGE_BYTES
from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import load_sheet
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.compression import Content
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import MigrationParameters
from hostsim.results.sender import Sender, sender_of
from hostsim.validation.rows import Row, published

SCALE = 64
"""The guest is so many times smaller than the published one; the ratios do not depend on its size."""
TOLERANCE = 0.10
BUFFER_BYTES = {8: 1 << 17, 1: 1 << 21}
"""Of each socket, by channels: the bytes that eight hold at the end are few beside those that the smaller guest sends, and
one holds a packet.
"""


def zstd_rows() -> Iterator[Row]:
    """Bytes with zstd over bytes without, guest memory a stream compresses in a second, CPU cores of a VM."""
    data = published("zstd")
    link = int(data["link_bytes_per_s"])
    plain, packed = (_sent(method, int(data["streams"]), link) for method in ("none", "zstd"))
    ratio = data["none_gib"] / data["zstd_gib"]
    yield _row("wire_none_over_zstd", ratio, plain.wire_bytes / packed.wire_bytes, "the ratio of pages is the input")
    alone = _sent("zstd", 1, 0, zeros=False)
    speed = alone.normal_pages * PAGE_BYTES / alone.seconds / 1e6
    yield _row("mb_per_s_per_stream", data["mb_per_s_per_stream"], speed, "sets zstd_page_ns; copying and headers beside")
    cores = (packed.channel_cpu_s + packed.thread_cpu_s) / packed.seconds
    note = "shown only: 12 GiB at 500 MB/s take 26 s, the wire 28 s; 0.4 cores are of a longer time, which is not told"
    yield _row("cores_per_vm", data["cores_per_vm"], cores, note, scored=False)


def _sent(method: str, channels: int, link_bytes_per_s: int, *, zeros: bool = True) -> Sender:
    """An idle guest sent once; the share of its memory that is not zero is the published one, or all without ``zeros``."""
    data = published("zstd")
    vm_pages = int(data["vm_gib"] * (1 << 30)) // PAGE_BYTES // SCALE
    filled = int(vm_pages * data["none_gib"] / data["vm_gib"])
    n_pages = vm_pages if zeros else filled
    parameters = MigrationParameters(
        max_bandwidth=0, multifd=True, multifd_channels=channels, multifd_compression="zstd" if method == "zstd" else "none"
    )
    spec = MachineSpec(
        blocks=lay_out([("pc.ram", n_pages, [(0, filled)])]), workloads=(), n_vcpus=1, sheet=load_sheet("generic"),
        duration_ns=600 * NS_PER_S, link=LinkSpec(link_bytes_per_s, 100_000, BUFFER_BYTES[channels]), migration=parameters,
        content=Content(data["zstd_gib"] / data["none_gib"]),
    )  # fmt: skip
    machine = Machine(spec)
    machine.run()
    assert machine.migration is not None
    return sender_of(machine, machine.migration)


def _row(quantity: str, expected: float, got: float, note: str, *, scored: bool = True) -> Row:
    error = got / expected - 1
    passed = abs(error) <= TOLERANCE
    return Row("published", "Z1", quantity, expected, round(got, 4), round(error, 6), TOLERANCE, passed, scored, note)
