"""[migration], [link] and [host]: QEMU's parameters, the network, the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from hostsim.core.constants import NS_PER_MS, NS_PER_S
from hostsim.costs.host_sheet import CONSTANTS, HostSheet, load_sheet
from hostsim.qemu.link import MTU, RECEIVE_WINDOW, LinkSpec
from hostsim.qemu.parameters import MigrationParameters, Version
from hostsim.scenario.memory_schema import HostMemory
from hostsim.scenario.profiles import PROFILES
from hostsim.scenario.section import Section
from hostsim.scenario.types import Bandwidth, BandwidthOrMeasured, Bytes, Count, Duration, DurationOrNever, Flag

DOWNTIME_MAX_NS = 2000 * NS_PER_S
"""migration/options.c MAX_MIGRATE_DOWNTIME_SECONDS."""
LATENCY_MAX_NS = 60 * NS_PER_S
WINDOW_MAX = 1 << 32
RECEIVE_WINDOW_MIN = 2304
"""include/net/sock.h SOCK_MIN_RCVBUF, TCP_SKB_MIN_TRUESIZE on x86-64."""
CONSTANT_MAX = NS_PER_S * 60
QEMU_DEFAULTS = MigrationParameters()


def _as_written(value: object) -> object:
    """``qemu = 7.2`` is a number to TOML; there is no doubt which version is meant."""
    return str(value) if type(value) is float else value


class Migration(Section):
    """[migration]: one live migration; without the table the guest just runs."""

    profile: Literal["qemu", "libvirt", "nova", "kubevirt", "proxmox"] = Field(
        default="qemu", description="whose defaults hold for keys not written here, and whose commands a verdict names"
    )
    qemu: Annotated[Version, BeforeValidator(_as_written)] = Field(
        default=QEMU_DEFAULTS.qemu, description="behaviour as coded in this version"
    )
    start: Duration = Field(default=0, description="when the migration is started")
    bandwidth: Bandwidth = Field(default=QEMU_DEFAULTS.max_bandwidth, description="max-bandwidth; default by profile")
    downtime_limit: Duration = Field(
        default=300_000_000, le=DOWNTIME_MAX_NS, description="downtime-limit, whole milliseconds; default by profile",
        examples=["300ms"],
    )  # fmt: skip
    auto_converge: Flag = Field(
        default=QEMU_DEFAULTS.auto_converge, description="capability auto-converge; default by profile"
    )
    throttle_trigger_threshold: Count = Field(
        default=QEMU_DEFAULTS.throttle_trigger_threshold, ge=1, le=100,
        description="dirtied over sent [percent] above which a period counts as too dirty",
    )  # fmt: skip
    cpu_throttle_initial: Count = Field(
        default=QEMU_DEFAULTS.cpu_throttle_initial, ge=1, le=99, description="first throttle [percent]"
    )
    cpu_throttle_increment: Count = Field(
        default=QEMU_DEFAULTS.cpu_throttle_increment, ge=1, le=99, description="step of the throttle [percent]"
    )
    cpu_throttle_tailslow: Flag = Field(
        default=QEMU_DEFAULTS.cpu_throttle_tailslow, description="smaller steps near the end"
    )
    max_cpu_throttle: Count = Field(
        default=QEMU_DEFAULTS.max_cpu_throttle, ge=1, le=99, description="largest throttle [percent]"
    )
    avail_switchover_bandwidth: BandwidthOrMeasured = Field(
        default=QEMU_DEFAULTS.avail_switchover_bandwidth,
        description="10.x: bandwidth the threshold is computed with; measured: that of the last 100 ms",
    )
    return_path: Flag = Field(
        default=QEMU_DEFAULTS.return_path,
        description="capability return-path: downtime ends when the destination's answer is back",
    )
    dirty_limit: Flag = Field(
        default=QEMU_DEFAULTS.dirty_limit,
        description="capability dirty-limit (8.1, dirty rings): writers sleep at full rings, in place of auto_converge",
    )
    vcpu_dirty_limit: Count = Field(
        default=QEMU_DEFAULTS.vcpu_dirty_limit, ge=1, le=1 << 20,
        description="dirty_limit: quota of each vCPU once the guest is to be held back [MiB/s]",
    )  # fmt: skip
    x_vcpu_dirty_limit_period: Duration = Field(
        default=QEMU_DEFAULTS.x_vcpu_dirty_limit_period_ms * NS_PER_MS, gt=0, le=NS_PER_S,
        description="dirty_limit: period over which a vCPU's dirty rate is measured, whole milliseconds",
    )  # fmt: skip
    timeout: DurationOrNever = Field(
        default=0, description="migrate-cancel that long after the start, or never; default by profile and memory"
    )

    @model_validator(mode="before")
    @classmethod
    def _profile_defaults(cls, data: Any) -> Any:
        name = data.get("profile", "qemu") if isinstance(data, Mapping) else None
        if not isinstance(name, str) or name not in PROFILES:
            return data
        return {key: default.value for key, default in PROFILES[name].defaults.items()} | dict(data)

    def parameters(self) -> MigrationParameters:
        """QEMU's parameters; a key whose name is QEMU's is passed on unchanged."""
        keys = type(self).model_fields
        same = {field.name: getattr(self, field.name) for field in fields(MigrationParameters) if field.name in keys}
        return MigrationParameters(
            **same, max_bandwidth=self.bandwidth, downtime_limit_ms=self.downtime_limit // NS_PER_MS, start_ns=self.start,
            timeout_ns=self.timeout, x_vcpu_dirty_limit_period_ms=self.x_vcpu_dirty_limit_period // NS_PER_MS,
        )  # fmt: skip


class Link(Section):
    """[link]: the network between source and destination."""

    bandwidth: Bandwidth = Field(
        default=1_250_000_000, description="what the network carries; unlimited: the migration thread is the brake"
    )
    latency: Duration = Field(
        default=100_000, le=LATENCY_MAX_NS,
        description="one way (assumed: one rack); a stream carries at most a window each round trip. 0s: no window limits",
    )  # fmt: skip
    socket_buffer: Bytes = Field(
        default=2_621_440, le=WINDOW_MAX,
        description="payload the send buffer holds until it is acknowledged, at least 4.5 KiB with latency (assumed: of the "
        "4 MiB of tcp_wmem)",
    )  # fmt: skip
    receive_window: Bytes = Field(
        default=RECEIVE_WINDOW, ge=RECEIVE_WINDOW_MIN, le=WINDOW_MAX,
        description="most bytes the destination lets be in flight (half of tcp_rmem's 6 MiB, by tcp_adv_win_scale = 1)",
    )  # fmt: skip
    mtu: Count = Field(
        default=MTU, ge=576, le=65_535,
        description="bytes of an IP packet, 52 of them headers; the stream starts with 10 packets in flight (TCP_INIT_CWND)",
    )  # fmt: skip
    slow_start_after_idle: Flag = Field(
        default=True,
        description="sysctl tcp_slow_start_after_idle: the congestion window halves for each 200 ms + round trip of idling",
    )

    def spec(self) -> LinkSpec:
        """The link of a machine."""
        return LinkSpec(
            self.bandwidth, self.latency, self.socket_buffer, self.receive_window, self.mtu, self.slow_start_after_idle
        )


def _constant(description: str, least: int = 0) -> Any:
    return Field(default=None, ge=least, le=CONSTANT_MAX, description=f"{description}; default from the sheet")


def _spread(of: str) -> Any:
    return Field(
        default=None, ge=0, le=CONSTANT_MAX,
        description=f"standard deviation of {of} [ns], at most {of}; default 0, or from the sheet if drawn",
    )  # fmt: skip


class Host(Section):
    """[host]: a sheet of constants, each of which may be replaced."""

    machine: Literal["generic", "qemu-tcg-2core"] = Field(default="generic", description="host sheet")
    page_send_ns: Count | None = _constant("CPU time of the migration thread per page sent [ns]", least=1)
    first_copy_ns: Count | None = _constant("more of it for a page the destination never held [ns]")
    zero_page_ns: Count | None = _constant("CPU time per zero page [ns]")
    setup_ns: Count | None = _constant("from migrate to the first pass [ns]")
    vm_stop_ns: Count | None = _constant("stopping all vCPUs [ns]")
    switchover_ns: Count | None = _constant("device state and the rest of a switchover [ns]")
    sleep_overshoot_ns: Count | None = _constant("lateness of the migration thread's sleeps [ns]")
    throttle_overshoot_ns: Count | None = _constant("lateness of a throttled vCPU's wake-up [ns]")
    throttle_timer_late_ns: Count | None = _constant("lateness of the throttle timer; it adds up from tick to tick [ns]")
    lateness: Literal["mean", "drawn"] = Field(
        default="mean", description="the three latenesses above: always as given, or drawn around it with the spreads below"
    )
    sleep_overshoot_spread_ns: Count | None = _spread("sleep_overshoot_ns")
    throttle_overshoot_spread_ns: Count | None = _spread("throttle_overshoot_ns")
    throttle_timer_late_spread_ns: Count | None = _spread("throttle_timer_late_ns")
    device_state_bytes: Count | None = _constant("device state on the wire [bytes]")
    memory: HostMemory | None = Field(default=None, description="frames and swap; all memory is there without it")

    def sheet(self) -> HostSheet:
        """The constants that hold."""
        written = {name: getattr(self, name) for name in CONSTANTS if name in type(self).model_fields}
        values = {name: value for name, value in written.items() if value is not None}
        return load_sheet(self.machine, values, drawn=self.lateness == "drawn")
