"""[migration], [link] and [host]: QEMU's parameters, the network, the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from hostsim.core.constants import NS_PER_MS, NS_PER_S
from hostsim.core.rng import stream_key
from hostsim.costs.host_sheet import CONSTANTS, HostSheet, load_sheet
from hostsim.qemu.link import MTU, RECEIVE_WINDOW, Drops, LinkSpec, Outage
from hostsim.qemu.parameters import BEHAVIOUR, MigrationParameters, ParameterChange
from hostsim.qemu.version import Version
from hostsim.scenario.mechanism import bases_of, host_bases_of, mechanisms
from hostsim.scenario.memory_schema import HostMemory
from hostsim.scenario.profiles import PROFILES
from hostsim.scenario.section import Section
from hostsim.scenario.types import (
    CONSTANT_MAX,
    Bandwidth,
    BandwidthOrMeasured,
    Bytes,
    Count,
    Duration,
    DurationOrNever,
    Flag,
    Share,
    constant,
)

DOWNTIME_MAX_NS = 2000 * NS_PER_S
"""migration/options.c MAX_MIGRATE_DOWNTIME_SECONDS."""
LATENCY_MAX_NS = 60 * NS_PER_S
WINDOW_MAX = 1 << 32
RECEIVE_WINDOW_MIN = 2304
"""include/net/sock.h SOCK_MIN_RCVBUF, TCP_SKB_MIN_TRUESIZE on x86-64."""
LOSS_MAX = 0.1
"""A tenth of all packets: beyond it TCP does little but wait for its timer."""
CONTINUE_AFTER_NS = 5 * NS_PER_MS
RETRIES_MAX = 100
RETRY_AFTER_MAX_NS = 86_400 * NS_PER_S
QEMU_DEFAULTS = MigrationParameters()


def _as_written(value: object) -> object:
    """``qemu = 7.2`` is a number to TOML; there is no doubt which version is meant."""
    return str(value) if type(value) is float else value


class Change(Section):
    """[[migration.set]]: parameters that an operator sets while the migration runs, at a time or with a sync."""

    after: Duration | None = Field(default=None, description="time of the change, from the start of the migration")
    after_round: Count | None = Field(
        default=None, ge=1, description="number of the sync (dirty-sync-count) at which it changes; instead of `after`"
    )
    bandwidth: Bandwidth | None = Field(default=None, description="max-bandwidth from then on")
    downtime_limit: Duration | None = Field(
        default=None, le=DOWNTIME_MAX_NS, description="downtime-limit from then on, whole milliseconds"
    )
    avail_switchover_bandwidth: BandwidthOrMeasured | None = Field(
        default=None, description="avail-switchover-bandwidth from then on"
    )
    max_cpu_throttle: Count | None = Field(default=None, ge=1, le=99, description="max-cpu-throttle from then on [percent]")
    max_postcopy_bandwidth: Bandwidth | None = Field(
        default=None, description="max-postcopy-bandwidth from then on, in the phase of post-copy as well"
    )

    def change(self) -> ParameterChange:
        """The change as QEMU gets it."""
        limit_ms = None if self.downtime_limit is None else self.downtime_limit // NS_PER_MS
        values = {
            "max_bandwidth": self.bandwidth, "downtime_limit_ms": limit_ms, "max_cpu_throttle": self.max_cpu_throttle,
            "avail_switchover_bandwidth": self.avail_switchover_bandwidth,
            "max_postcopy_bandwidth": self.max_postcopy_bandwidth,
        }  # fmt: skip
        given = tuple((name, value) for name, value in values.items() if value is not None)
        return ParameterChange(self.after or 0, self.after_round or 0, given)


class FirstKeys(Section):
    """Keys of [migration] of no mechanism: manager, version, limits."""

    profile: Literal["qemu", "libvirt", "nova", "kubevirt", "proxmox"] = Field(
        default="qemu",
        description="management layer: gives the defaults of keys that are not set, and the commands in a verdict",
    )
    qemu: Annotated[Version, BeforeValidator(_as_written)] = Field(
        default=QEMU_DEFAULTS.qemu, description="behaviour as coded in this version"
    )
    start: Duration = Field(default=0, description="simulated time at which the migration starts")
    bandwidth: Bandwidth = Field(default=QEMU_DEFAULTS.max_bandwidth, description="max-bandwidth; default by profile")
    downtime_limit: Duration = Field(
        default=300_000_000, le=DOWNTIME_MAX_NS, description="downtime-limit, whole milliseconds; default by profile",
        examples=["300ms"],
    )  # fmt: skip


class OperatorKeys(Section):
    """Keys of [migration] of no mechanism: the switchover, and acts of an operator or of the manager."""

    avail_switchover_bandwidth: BandwidthOrMeasured = Field(
        default=QEMU_DEFAULTS.avail_switchover_bandwidth,
        description="10.x: bandwidth from which QEMU computes the threshold; measured: that of the last 100 ms",
    )
    return_path: Flag = Field(
        default=QEMU_DEFAULTS.return_path,
        description="capability return-path: downtime ends when the destination's answer is back; default by profile",
    )
    switchover_ack: Flag = Field(
        default=QEMU_DEFAULTS.switchover_ack,
        description="10.x: capability switchover-ack: no switchover before the destination agrees; default by profile",
    )
    pause_before_switchover: Flag = Field(
        default=QEMU_DEFAULTS.pause_before_switchover,
        description="capability pause-before-switchover: the stopped guest waits for migrate-continue; default by profile",
    )
    continue_after: DurationOrNever = Field(
        default=CONTINUE_AFTER_NS,
        description="time from pre-switchover to the manager's migrate-continue (assumed: an event, a command, locks)",
    )
    set: tuple[Change, ...] = Field(default=(), description="parameters that an operator changes during the migration")
    suspend_after: DurationOrNever = Field(
        default=0,
        description="time after the start at which an operator suspends the guest; no page is dirtied any more",
    )
    suspend_after_round: Count | None = Field(
        default=None, ge=1, description="number of the sync (dirty-sync-count) at which an operator suspends the guest"
    )
    cancel_after_round: Count | None = Field(
        default=None, ge=1, description="number of the sync at which a tool that counts iterations sends migrate-cancel"
    )
    keepalive: DurationOrNever = Field(
        default=0,
        description="time without an answer on the manager's own connection to the destination, then it cancels; default by "
        "profile",
    )  # fmt: skip
    retries: Count = Field(
        default=QEMU_DEFAULTS.retries, ge=0, le=RETRIES_MAX, description="further attempts after a cancel or a failure"
    )
    retry_after: Duration = Field(
        default=NS_PER_S,
        le=RETRY_AFTER_MAX_NS,
        description="time from the end of an attempt to the start of the next attempt",
    )


class LastKeys(Section):
    """Keys of [migration] of no mechanism: its end."""

    timeout: DurationOrNever = Field(
        default=0,
        description="time after the start at which the manager cancels, or never; default by profile and memory",
    )


if TYPE_CHECKING:
    # Circle of types: bases are joined when the program runs; mypy needs their fields.
    from hostsim.scenario.mechanisms.auto_converge import AutoConvergeKeys
    from hostsim.scenario.mechanisms.dirty_limit import DirtyLimitKeys
    from hostsim.scenario.mechanisms.multifd import MultifdKeys
    from hostsim.scenario.mechanisms.postcopy import PostcopyKeys

    class _Keys(LastKeys, PostcopyKeys, MultifdKeys, DirtyLimitKeys, OperatorKeys, AutoConvergeKeys, FirstKeys):
        """Keys of all mechanisms, as far as mypy has to know their names."""
else:
    _Keys = type("_Keys", bases_of({0: FirstKeys, 20: OperatorKeys, 90: LastKeys}), {"__module__": __name__})


class Migration(_Keys):
    """[migration]: one live migration; without the table the guest just runs."""

    @model_validator(mode="before")
    @classmethod
    def _profile_defaults(cls, data: Any) -> Any:
        name = data.get("profile", "qemu") if isinstance(data, Mapping) else None
        if not isinstance(name, str) or name not in PROFILES:
            return data
        qemu = _as_written(data.get("qemu", QEMU_DEFAULTS.qemu))
        return PROFILES[name].values(qemu if qemu in BEHAVIOUR else QEMU_DEFAULTS.qemu, data) | dict(data)

    def parameters(self) -> MigrationParameters:
        """QEMU's parameters; a key whose name is QEMU's is passed on unchanged, unless a mechanism reads it otherwise."""
        keys = type(self).model_fields
        values = {field.name: getattr(self, field.name) for field in fields(MigrationParameters) if field.name in keys}
        for one in mechanisms():
            values |= {} if one.parameters is None else one.parameters(self)
        return MigrationParameters(
            **values, max_bandwidth=self.bandwidth, downtime_limit_ms=self.downtime_limit // NS_PER_MS, start_ns=self.start,
            timeout_ns=self.timeout,
            continue_after_ns=self.continue_after, suspend_after_ns=self.suspend_after,
            suspend_after_sync=self.suspend_after_round or 0, cancel_after_sync=self.cancel_after_round or 0,
            keepalive_ns=self.keepalive, retry_after_ns=self.retry_after, changes=tuple(one.change() for one in self.set),
        )  # fmt: skip


class LinkOutage(Section):
    """[[link.outage]]: a time in which the network drops packets."""

    start: Duration = Field(description="start of the outage, in simulated time", examples=["12s"])
    length: Duration = Field(gt=0, description="length of the outage", examples=["3s"])
    drops: Drops = Field(default="both", description="direction whose packets are dropped")

    def outage(self) -> Outage:
        """The outage of a link."""
        return Outage(self.start, self.length, self.drops)


class Link(Section):
    """[link]: the network between source and destination."""

    bandwidth: Bandwidth = Field(
        default=1_250_000_000, description="bandwidth of the network; unlimited: the migration thread is the bottleneck"
    )
    latency: Duration = Field(
        default=100_000, le=LATENCY_MAX_NS,
        description="one-way latency (assumed: one rack); a stream carries a window each round trip. 0s: no window limits",
    )  # fmt: skip
    socket_buffer: Bytes = Field(
        default=2_621_440, le=WINDOW_MAX,
        description="payload in the send buffer until it is acknowledged, at least 4.5 KiB with latency (assumed: of the "
        "4 MiB of tcp_wmem)",
    )  # fmt: skip
    receive_window: Bytes = Field(
        default=RECEIVE_WINDOW, ge=RECEIVE_WINDOW_MIN, le=WINDOW_MAX,
        description="receive window: most bytes in flight (half of tcp_rmem's 6 MiB, by tcp_adv_win_scale = 1)",
    )  # fmt: skip
    mtu: Count = Field(
        default=MTU, ge=576, le=65_535,
        description="bytes of an IP packet, 52 of them headers; the stream starts with 10 packets in flight (TCP_INIT_CWND)",
    )  # fmt: skip
    slow_start_after_idle: Flag = Field(
        default=True,
        description="sysctl tcp_slow_start_after_idle: the congestion window halves for each 200 ms + round trip of idling",
    )

    outage: tuple[LinkOutage, ...] = Field(
        default=(), description="times without a network; TCP recovers, or the connection breaks"
    )
    loss: Share = Field(
        default=0.0, ge=0.0, le=LOSS_MAX,
        description="share of the packets to the destination that is lost at random, drawn for each connection",
    )  # fmt: skip

    def spec(self, seed: int) -> LinkSpec:
        """The link of a machine; ``seed``: of the run, for the packets that are lost."""
        return LinkSpec(
            self.bandwidth, self.latency, self.socket_buffer, self.receive_window, self.mtu, self.slow_start_after_idle,
            tuple(one.outage() for one in self.outage), self.loss, stream_key(seed, "link.loss"),
        )  # fmt: skip


def _spread(of: str) -> Any:
    return Field(
        default=None, ge=0, le=CONSTANT_MAX,
        description=f"standard deviation of {of} [ns], at most {of}; default 0, or from the sheet if drawn",
    )  # fmt: skip


class HostKeys(Section):
    """Keys of [host] of no mechanism."""

    machine: Literal["generic", "qemu-tcg-2core"] = Field(default="generic", description="host sheet")
    page_send_ns: Count | None = constant("CPU time of the migration thread per page sent [ns]", least=1)
    first_copy_ns: Count | None = constant("further CPU time for a page that the destination never held [ns]")
    zero_page_ns: Count | None = constant("CPU time per zero page [ns]")
    setup_ns: Count | None = constant("time from migrate to the first pass [ns]")
    vm_stop_ns: Count | None = constant("stopping all vCPUs [ns]")
    switchover_ns: Count | None = constant("device state and the rest of a switchover [ns]")
    sleep_overshoot_ns: Count | None = constant("lateness of the migration thread's sleeps [ns]")
    throttle_overshoot_ns: Count | None = constant("lateness of a throttled vCPU's wake-up [ns]")
    throttle_timer_late_ns: Count | None = constant("lateness of the throttle timer; it adds up from tick to tick [ns]")
    lateness: Literal["mean", "drawn"] = Field(
        default="mean",
        description="the three latenesses above: always as given, or drawn around the mean with the spreads below",
    )
    sleep_overshoot_spread_ns: Count | None = _spread("sleep_overshoot_ns")
    throttle_overshoot_spread_ns: Count | None = _spread("throttle_overshoot_ns")
    throttle_timer_late_spread_ns: Count | None = _spread("throttle_timer_late_ns")
    device_state_bytes: Count | None = constant("device state on the wire [bytes]")


class MemoryKeys(Section):
    """The table [host.memory]."""

    memory: HostMemory | None = Field(default=None, description="frames and swap; default: memory for all guests")


if TYPE_CHECKING:

    class _HostKeys(MemoryKeys, HostKeys):
        """Keys of [host] of no mechanism."""
else:
    _HostKeys = type("_HostKeys", host_bases_of(HostKeys, MemoryKeys), {"__module__": __name__})


class Host(_HostKeys):
    """[host]: a sheet of constants, each of which may be replaced."""

    def sheet(self) -> HostSheet:
        """The constants that hold."""
        written = {name: getattr(self, name) for name in CONSTANTS if name in type(self).model_fields}
        values = {name: value for name, value in written.items() if value is not None}
        return load_sheet(self.machine, values, drawn=self.lateness == "drawn")
