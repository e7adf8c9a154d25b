"""O30: checkpoints by epochs, on the engine against their closed form; the link or the epoch sets the pace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from hostsim.core.constants import NS_PER_S, PAGE_WIRE_BYTES
from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import load_sheet
from hostsim.guest.workload import Workload
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.checkpoints import Checkpoint, CheckpointSpec
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import MigrationParameters
from hostsim.theory.checkpoints import Epochs
from hostsim.validation.rows import Row, relative
from hostsim.validation.samples import SUITE

PAGES, WRITES_PER_S, SECONDS = 4096, 40_000, 20
SETTLED = 40
"""Checkpoints until those of a slow link have the size at which they settle; these are not counted."""
COPY_NS, OUTPUTS_PER_S = 400, 2_000
PACES = {"epoch": (50_000_000, 1_250_000_000), "link": (10_000_000, 125_000_000)}
"""The limits that set the pace: time that the guest runs at least [ns], bandwidth of the link [bytes/s]."""
OTHER_BYTES = 18
"""End of the section with its header and footer, beside the pages and the state of the devices."""
TOLERANCES = {"share that the guest runs": 0.002, "output delay, s": 0.03, "bytes/s": 0.01}
"""Of the delay's spread: some 40,000 outputs that come in groups of an epoch; pages are drawn, too."""


def checkpoint_rows() -> Iterator[Row]:
    """Share of time, output delay and bytes of ``PACES``."""
    for pace, (epoch_ns, bytes_per_s) in PACES.items():
        done, form = _run(epoch_ns, bytes_per_s), _form(epoch_ns, bytes_per_s)
        seconds = (done[-1].running_again_ns - done[0].resumed_ns) / NS_PER_S
        ran_s = sum(one.paused_ns - one.resumed_ns for one in done) / NS_PER_S
        waited_s = sum(one.delay_ns for one in done) / NS_PER_S
        pairs = {
            "share that the guest runs": (form.run_share, ran_s / seconds),
            "output delay, s": (form.output_delay_s, waited_s / sum(one.outputs for one in done)),
            "bytes/s": (form.sent_bytes_per_s, sum(one.sent_bytes for one in done) / seconds),
        }
        for quantity, (expected, got) in pairs.items():
            yield relative(SUITE, f"O30-run/{pace}", quantity, expected, got, TOLERANCES[quantity])


def _form(epoch_ns: int, bytes_per_s: int) -> Epochs:
    sheet = load_sheet("generic")
    return Epochs(
        PAGES, WRITES_PER_S, epoch_ns / NS_PER_S, sheet.vm_stop_ns / NS_PER_S, COPY_NS / NS_PER_S, PAGE_WIRE_BYTES,
        sheet.device_state_bytes + OTHER_BYTES, bytes_per_s,
    )  # fmt: skip


def _run(epoch_ns: int, bytes_per_s: int) -> list[Checkpoint]:
    # A page costs the sender nothing, so that the link alone is the bottleneck, as in the closed form.
    sheet = replace(load_sheet("generic"), page_send_ns=1, zero_page_ns=1)
    load = Workload("w", "uniform", (0,), 0, PAGES, Fraction(WRITES_PER_S))
    machine = Machine(
        MachineSpec(
            lay_out([("pc.ram", PAGES, [(0, PAGES)])]), (load,), 1, sheet, duration_ns=SECONDS * NS_PER_S,
            link=LinkSpec(bytes_per_s, 0, 1 << 30), migration=MigrationParameters(max_bandwidth=0),
            checkpoints=CheckpointSpec("remus", epoch_ns, OUTPUTS_PER_S, COPY_NS),
        )
    )  # fmt: skip
    machine.run()
    assert machine.checkpoints is not None
    return machine.checkpoints.done[SETTLED:]
