"""Continuous checkpoints: a replica follows the VM, so that the replica can go on when the source host fails.

The first copy is a migration; its switchover leaves the VM at the source, and the replica holds the state of that moment.
From then on the source sends checkpoints. Policies:

- ``remus`` (Cully et al., "Remus: High Availability via Asynchronous Virtual Machine Replication", NSDI 2008): the VM runs
  for an epoch, is paused, its dirty pages are copied into a buffer, and the VM runs on while the buffer is sent. Outputs
  of an epoch (packets, writes to shared disks) wait in the source host until the replica has the next checkpoint.
- ``kemari`` (Tamura et al., "Kemari: Virtual Machine Synchronization for Fault Tolerance", 2008): no output waits in a
  buffer; each output pauses the VM until the replica has all pages that the VM dirtied before the output.

# Model limit: outputs are a Poisson process in the time that the VM runs, independent of the guest's workloads.
# Model limit: the disk's writes are outputs; disk contents are not replicated, as if both hosts share the disk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_MS, NS_PER_S
from hostsim.core.errors import InvariantError
from hostsim.core.latency import Latencies
from hostsim.core.memory import Versions
from hostsim.core.rng import keyed_exponential, stream_key
from hostsim.qemu.bitmap_sync import bitmap_sync
from hostsim.qemu.migration import Migration, Step
from hostsim.qemu.recorder import SERIES_PERIOD_NS
from hostsim.qemu.window import total_bytes

Policy = Literal["remus", "kemari"]
STATUS = "colo"
"""qapi/migration.json::MigrationStatus: "VM is in the process of fault tolerance"."""


@dataclass(frozen=True)
class CheckpointSpec:
    """A policy of checkpoints and its constants.

    epoch_ns: remus: time that the VM runs between two pauses.
    output_rate_per_s: outputs of the VM while it runs.
    copy_page_ns: remus: time of the pause for each dirty page that is copied into the buffer.
    fails_ns: simulated time at which the source host fails, 0: never.
    detection_ns: time from the failure until the replica's host takes over.
    """

    policy: Policy
    epoch_ns: int
    output_rate_per_s: float
    copy_page_ns: int
    fails_ns: int = 0
    detection_ns: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint that the replica has; times since the start of the run [ns].

    resumed_ns, paused_ns: bounds of the time that the VM ran; running_again_ns: end of the pause.
    committed_ns: arrival of the replica's answer.
    outputs: outputs between the two bounds, released at ``committed_ns``; delay_ns: sum of their delays.
    """

    number: int
    resumed_ns: int
    paused_ns: int
    running_again_ns: int
    committed_ns: int
    dirty_pages: int
    sent_bytes: int
    outputs: int
    delay_ns: int


@dataclass(frozen=True)
class Failover:
    """The failure of the source host.

    failed_ns: time of the failure. took_over_ns: time at which the replica runs.
    checkpoint: number of the checkpoint that the replica goes on from, 0: the first copy.
    lost_work_ns: work of the VM since that checkpoint, over all work clocks; lost_ns: time since its pause.
    dropped_outputs: outputs that were waiting; no client ever gets them.
    """

    failed_ns: int
    took_over_ns: int
    checkpoint: int
    lost_work_ns: int
    lost_ns: int
    dropped_outputs: int


@dataclass
class _Epoch:
    """The checkpoint under way: bounds of the time that the VM ran, times of its outputs (int64[n], ns), pages to send."""

    resumed_ns: int
    paused_ns: int = 0
    running_again_ns: int = 0
    work_ns: int = 0
    outputs_ns: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    dirty_pages: int = 0
    sent_before: int = 0
    versions: Versions = field(default_factory=lambda: np.empty(0, np.uint16))


class Outputs:
    """Times of the outputs of a VM: a Poisson process in the time that the VM runs, drawn from a stream of its own."""

    def __init__(self, seed: int, rate_per_s: float) -> None:
        """``rate_per_s`` 0: no output."""
        self._key, self._rate, self._drawn = stream_key(seed, "checkpoints/outputs"), rate_per_s, 0
        self.left_ns = self._gap_ns()

    def within(self, start_ns: int, end_ns: int) -> NDArray[np.int64]:
        """Times [ns] of the outputs of a VM that runs from ``start_ns`` to ``end_ns``, int64[n], ascending."""
        found, at = [], start_ns + self.left_ns
        while at < end_ns:
            found.append(at)
            at += self._gap_ns()
        self.left_ns = at - end_ns
        return np.array(found, np.int64)

    def next(self) -> None:
        """Draw the gap to the next output: the VM has made the one that was due."""
        self.left_ns = self._gap_ns()

    def _gap_ns(self) -> int:
        if not self._rate:
            return 1 << 60
        self._drawn += 1
        return 1 + int(keyed_exponential(*self._key, self._drawn, 0) * NS_PER_S / self._rate)


class Checkpoints:
    """Checkpoints of one VM.

    done: all checkpoints that the replica has, in order.
    delays: of outputs, from the output to its release.
    failover: None as long as the source host has not failed.
    """

    def __init__(self, migration: Migration, spec: CheckpointSpec, seed: int) -> None:
        """``migration``: makes the first copy; ``seed``: of the run."""
        self.spec, self.done, self.delays = spec, list[Checkpoint](), Latencies()
        self.failover: Failover | None = None
        self.began_ns = 0
        self._m, self._outputs, self._failed = migration, Outputs(seed, spec.output_rate_per_s), False
        self._now: _Epoch | None = None
        self._replica_work_ns, self._replica_ns = 0, 0
        self._waiting = 0

    def run(self) -> Step:
        """Send checkpoints until the source host fails; the VM is stopped, and its first copy has been sent."""
        m = self._m
        yield from m.link.answered()
        m.throttle.stop()
        self._replica_work_ns, self._replica_ns, self.began_ns = m.vm.work_ns(), m.env.now_ns, m.env.now_ns
        m.state.handed_over_ns = self.began_ns
        m.set_status(STATUS)
        m.env.process(self._sampler())
        if self.spec.fails_ns:
            m.env.process(self._fails())
        yield from (self._remus() if self.spec.policy == "remus" else self._kemari())

    def _sampler(self) -> Step:
        """Go on with the series, whose sampler ended with the first copy; the bandwidth is that of a sample's time."""
        m = self._m
        while self._goes_on():
            before = total_bytes(m.state, m.ram)
            yield m.env.timeout(SERIES_PERIOD_NS)
            m.state.bandwidth_bytes_per_ms = (total_bytes(m.state, m.ram) - before) * NS_PER_MS / SERIES_PERIOD_NS
            m.sample()

    # -- policies

    def _remus(self) -> Step:
        """Run, pause, copy into the buffer, run on; there is one buffer, so a pause waits until it has been sent."""
        env, sending = self._m.env, None
        while self._goes_on():
            epoch = self._resume()
            yield env.timeout(self.spec.epoch_ns)
            if sending is not None:
                yield sending
            if not self._goes_on():
                return
            yield from self._pause(epoch)
            yield env.timeout(self.spec.copy_page_ns * epoch.dirty_pages)
            self._release_vm(epoch)
            sending = env.process(self._send(epoch))

    def _kemari(self) -> Step:
        """Run until an output, pause, send, let the output go, run on."""
        env = self._m.env
        while self._goes_on():
            epoch = self._resume()
            yield env.timeout(self._outputs.left_ns)
            if not self._goes_on():
                return
            epoch.outputs_ns = np.array([env.now_ns], np.int64)
            self._outputs.next()
            yield from self._pause(epoch)
            yield from self._send(epoch)

    # -- steps

    def _resume(self) -> _Epoch:
        m = self._m
        if not m.vm.running:
            m.vm.start()
        self._now = _Epoch(m.env.now_ns)
        return self._now

    def _release_vm(self, epoch: _Epoch) -> None:
        """End the pause, unless the host has failed meanwhile."""
        epoch.running_again_ns = self._m.env.now_ns
        if self._goes_on():
            self._m.vm.start()

    def _pause(self, epoch: _Epoch) -> Step:
        """Stop the VM and harvest; the log is cleared whole, as the guest may write again before its pages are sent."""
        m = self._m
        epoch.paused_ns = m.env.now_ns
        if self.spec.policy == "remus":
            epoch.outputs_ns = self._outputs.within(epoch.resumed_ns, epoch.paused_ns)
        self._waiting += len(epoch.outputs_ns)
        yield from m.vm.stop()
        epoch.work_ns, epoch.sent_before = m.vm.work_ns(), total_bytes(m.state, m.ram)
        yield from bitmap_sync(m)
        for chunk in np.flatnonzero(m.tracker.clear_marks).tolist():
            yield from m.tracker.before_send(chunk << m.tracker.chunk_shift)
        epoch.dirty_pages = int(np.count_nonzero(m.ram.bmap))
        epoch.versions = m.vm.memory.version.copy()

    def _send(self, epoch: _Epoch) -> Step:
        """Send the pages of a pause and the state of the devices, wait for the answer, release the outputs."""
        m = self._m
        buffered = np.flatnonzero(m.ram.bmap)
        yield from m.ram.save(0, m.behaviour.flush_pages, False, self._goes_on)
        if not self._goes_on():
            return
        m.ram.write(0, m.sheet.device_state_bytes)
        yield m.env.timeout(m.ram.ahead_ns)
        yield from m.link.answered()
        if not self._goes_on():
            return
        # The pages were copied in the pause; later writes of the guest are not in the copies.
        m.ram.copied[buffered] = epoch.versions[buffered]
        self._commit(epoch)

    def _goes_on(self) -> bool:
        """Whether the source host still works."""
        return not self._failed

    def _commit(self, epoch: _Epoch) -> None:
        """The replica has the checkpoint. InvariantError unless the replica equals the VM at the pause, page by page."""
        m = self._m
        wrong = np.flatnonzero(m.ram.copied != epoch.versions)
        if len(wrong):
            told = f"the replica does not have the content of the pause at {epoch.paused_ns} ns"
            raise InvariantError(f"gfn {wrong[0]}: {told}")
        delays = m.env.now_ns - epoch.outputs_ns
        for delay_ns in delays.tolist():
            self.delays.record(delay_ns)
        self._waiting -= len(delays)
        again_ns = epoch.running_again_ns or m.env.now_ns
        self.done.append(
            Checkpoint(
                len(self.done) + 1, epoch.resumed_ns, epoch.paused_ns, again_ns, m.env.now_ns, epoch.dirty_pages,
                total_bytes(m.state, m.ram) - epoch.sent_before, len(delays), int(delays.sum()),
            )
        )  # fmt: skip
        self._replica_work_ns, self._replica_ns = epoch.work_ns, epoch.paused_ns

    # -- failure

    def _fails(self) -> Step:
        """The source host fails: outputs that wait are gone, and the replica goes on from its last whole checkpoint."""
        m, spec = self._m, self.spec
        yield m.env.timeout(max(0, spec.fails_ns - m.env.now_ns))
        self._failed, failed_ns = True, m.env.now_ns
        m.state.source_failed = True
        lost_work_ns = m.vm.work_ns() - self._replica_work_ns
        if m.vm.running:
            yield from m.vm.stop()
        yield m.env.timeout(max(0, failed_ns + spec.detection_ns - m.env.now_ns))
        if m.done.triggered:  # given up as the checkpoints began: no replica takes over
            return
        self.failover = Failover(
            failed_ns, m.env.now_ns, len(self.done), lost_work_ns, failed_ns - self._replica_ns,
            self._waiting + self._unseen(failed_ns),
        )  # fmt: skip
        m.finish("failed")

    def _unseen(self, failed_ns: int) -> int:
        """Outputs since the last resume, whose epoch has not ended; Kemari makes none before its pause."""
        epoch = self._now
        if self.spec.policy == "kemari" or epoch is None or epoch.paused_ns:
            return 0
        return len(self._outputs.within(epoch.resumed_ns, failed_ns))


def begin(migration: Migration, spec: CheckpointSpec, seed: int) -> Checkpoints:
    """Let ``migration`` change into checkpoints at its switchover, as ``spec`` says; return the checkpoints.

    seed: of the draws.
    """
    checkpoints = Checkpoints(migration, spec, seed)
    handover: Callable[[], Step] = checkpoints.run
    migration.handover = handover
    return checkpoints
