"""One TCP connection: closed forms of what a window carries, how it opens and how it shrinks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.core.constants import PAGE_WIRE_BYTES
from hostsim.qemu import tcp, tcp_row
from hostsim.qemu.link import LinkSpec

MS = 1_000_000
S = 1_000_000_000
IW = 14_480
GBIT10 = 1_250_000_000


class Writer:
    """A thread that writes pages to a connection of its own."""

    def __init__(self, spec: LinkSpec, page_ns: int = 300) -> None:
        self.path, self.page_ns = spec.path, page_ns
        self.row = np.zeros(tcp_row.N_ROW, np.int64)
        tcp_row.connect(self.row, self.path)
        self.t_ns = self.written = 0

    def write(self, n_bytes: int = PAGE_WIRE_BYTES) -> None:
        self.t_ns = tcp.write(self.row, self.path, self.t_ns + self.page_ns, n_bytes)
        self.written += n_bytes

    def until(self, t_ns: int) -> int:
        """Bytes acknowledged at ``t_ns``, if it writes all the time until then."""
        while self.t_ns < t_ns:
            self.write()
        return int(self.row[tcp_row.ACKED])

    def burst(self, n_bytes: int, pause_ns: int) -> None:
        for _ in range(n_bytes // PAGE_WIRE_BYTES):
            self.write()
        self.t_ns += pause_ns

    def at(self, t_ns: int) -> np.ndarray:
        """The connection at ``t_ns``, if nothing more is written."""
        row = self.row.copy()
        tcp.write(row, self.path, t_ns, 0)
        return row

    @property
    def cwnd(self) -> int:
        return int(self.row[tcp_row.CWND])


def goodput(spec: LinkSpec, trips: int = 40) -> float:
    """Bytes acknowledged a second over ``trips`` round trips, once the window is open."""
    writer, trip_ns = Writer(spec), 2 * spec.latency_ns
    begun_ns = 20 * trip_ns
    before, start_ns = writer.until(begun_ns), writer.t_ns
    after = writer.until(start_ns + trips * trip_ns)
    return (after - before) * S / (writer.t_ns - start_ns)


@pytest.mark.parametrize("latency_ns", [1 * MS, 10 * MS, 50 * MS])
@pytest.mark.parametrize("buffer", [65_536, 262_144, 1 << 20])
@pytest.mark.parametrize("bytes_per_s", [0, GBIT10])
def test_a_stream_carries_a_send_buffer_each_round_trip(bytes_per_s: int, latency_ns: int, buffer: int) -> None:
    spec = LinkSpec(bytes_per_s, latency_ns, buffer)
    assert goodput(spec) == pytest.approx(buffer * S / (2 * latency_ns), rel=0.01)
    assert spec.stream_bytes_per_s == buffer * S // (2 * latency_ns)
    assert spec.stream_limit == "socket buffer"


@pytest.mark.parametrize("window", [30_000, 65_536, 1 << 20])
def test_a_stream_carries_a_receive_window_each_round_trip(window: int) -> None:
    spec = LinkSpec(GBIT10, 10 * MS, 4 << 20, receive_window_bytes=window)
    assert goodput(spec) == pytest.approx(window * S / (20 * MS), rel=0.01)
    assert spec.stream_limit == "receive window"


def test_a_stream_carries_what_the_link_has_where_the_windows_are_larger() -> None:
    spec = LinkSpec(GBIT10, 100_000, 2_621_440)
    assert goodput(spec, 200) == pytest.approx(GBIT10, rel=0.002)
    assert (spec.stream_bytes_per_s, spec.stream_limit) == (GBIT10, "link")


def test_without_latency_no_window_limits_a_stream() -> None:
    assert LinkSpec(GBIT10, 0, 4096).stream_bytes_per_s == GBIT10
    assert LinkSpec(0, 0, 4096).stream_limit is None
    assert LinkSpec(0, 0, 4096).path == tcp_row.NO_LATENCY


@pytest.mark.parametrize("trips", range(1, 8))
def test_slow_start_doubles_the_window_each_round_trip(trips: int) -> None:
    """10 segments at once, 20 a round trip later, and so on: after n trips 10 (2^n - 1) segments are acknowledged."""
    writer = Writer(LinkSpec(0, 25 * MS, 1 << 24, receive_window_bytes=1 << 24))
    writer.write(1 << 24)
    row = writer.at(trips * 50 * MS + 25 * MS)
    assert row[tcp_row.ACKED] == IW * (2**trips - 1)
    assert row[tcp_row.CWND] == IW * 2**trips


@pytest.mark.parametrize("mtu", [1500, 9000])
def test_the_first_window_is_ten_packets(mtu: int) -> None:
    writer = Writer(LinkSpec(0, 25 * MS, 1 << 24, mtu=mtu))
    writer.write(1 << 24)
    assert writer.at(49 * MS)[tcp_row.IN_FLIGHT] == 10 * (mtu - 52)


@pytest.mark.parametrize("latency_ns", [1 * MS, 10 * MS])
def test_a_window_is_full_after_log2_round_trips(latency_ns: int) -> None:
    window = 1 << 20
    writer = Writer(LinkSpec(0, latency_ns, 1 << 24, receive_window_bytes=window))
    writer.write(1 << 24)
    trips = int(np.ceil(np.log2(window / IW)))
    full = [writer.at(2 * latency_ns * n + latency_ns)[tcp_row.IN_FLIGHT] == window for n in (trips - 1, trips)]
    assert full == [False, True]


def test_slow_start_ends_where_the_acknowledgements_take_half_a_round_trip() -> None:
    """1 Gbit/s over 40 ms: 5 MB fill the link. At half of that, and of the 1 ms that HyStart forgives, it is 5 % a trip."""
    writer = Writer(LinkSpec(125_000_000, 20 * MS, 64 << 20, receive_window_bytes=16 << 20))
    writer.write(64 << 20)
    windows = [int(writer.at(n * 40 * MS)[tcp_row.CWND]) for n in range(1, 14)]
    left = next(i for i, cwnd in enumerate(windows) if cwnd > 2_562_500)
    assert windows[left] < 1.1 * 2_562_500
    assert windows[left - 1] > 0.5 * 2_562_500 / 1.05
    growth = np.diff(windows[left:]) / windows[left:-1]
    assert ((growth > 0.04) & (growth < 0.051)).all()


@pytest.mark.parametrize(("idle_ms", "halvings"), [(100, 0), (219, 0), (221, 1), (441, 2), (661, 3), (1000, 4)])
def test_a_window_halves_for_each_rto_of_idling(idle_ms: int, halvings: int) -> None:
    """RTO: 20 ms and 200 ms; idle since the last byte has left."""
    writer = Writer(LinkSpec(0, 10 * MS, 1 << 20))
    writer.until(1 * S)
    opened, free_ns = writer.cwnd, int(writer.at(2 * S)[tcp_row.FREE_PS]) // 1000
    writer.t_ns = free_ns + idle_ms * MS
    writer.row[tcp_row.STAMP_PS] = 10 * S * 1000  # not for being used too little
    writer.write()
    assert writer.cwnd == opened >> halvings
    assert writer.row[tcp_row.SSTHRESH] == tcp_row.UNBOUNDED


def test_a_window_shrinks_to_the_first_one_and_comes_back_to_three_quarters_by_slow_start() -> None:
    writer = Writer(LinkSpec(12_500_000, 10 * MS, 1 << 20))
    writer.until(2 * S)
    assert writer.row[tcp_row.SSTHRESH] < tcp_row.UNBOUNDED
    opened, before = writer.cwnd, int(writer.row[tcp_row.SSTHRESH])
    writer.t_ns += 10 * S
    writer.write(9)
    assert writer.cwnd == IW
    assert writer.row[tcp_row.SSTHRESH] == max(before, (opened >> 1) + (opened >> 2))


def test_bursts_of_a_rate_limit_do_not_restart_a_stream_and_longer_pauses_do() -> None:
    """QEMU sleeps the rest of its 100 ms window: less than an RTO."""
    def after(pauses: list[int], **other: bool) -> int:
        writer = Writer(replace(LinkSpec(GBIT10, 5 * MS, 2_621_440), **other))
        for pause_ms in (50, 50, 50, 50, *pauses):
            writer.burst(3_355_443, pause_ms * MS)
        writer.write(9)
        return writer.cwnd

    assert after([90] * 5) >= after([50]) > 1 << 20
    assert after([1000]) < after([50]) / 8
    assert after([1000], slow_start_after_idle=False) >= after([50])


def test_a_stream_that_does_not_use_its_window_does_not_open_it() -> None:
    """16 kB each 50 ms over a round trip of 20 ms: the window grows to twice of that in flight, and no further."""
    writer = Writer(LinkSpec(GBIT10, 10 * MS, 1 << 20))
    for _ in range(100):
        writer.burst(4 * PAGE_WIRE_BYTES, 50 * MS)
    assert IW < writer.cwnd <= 2 * 4 * PAGE_WIRE_BYTES


def test_a_window_that_is_too_wide_for_an_rto_shrinks_towards_what_is_used() -> None:
    """To the middle between the window and what was in flight, each 220 ms; less than 10 segments count as 10.

    The first time a full buffer is still what was in flight.
    """
    writer = Writer(LinkSpec(GBIT10, 10 * MS, 1 << 20))
    writer.until(1 * S)
    assert writer.cwnd == 2 << 20
    writer.page_ns = 10 * MS
    writer.until(writer.t_ns + 700 * MS)
    assert writer.cwnd == ((((2 << 20) + (1 << 20)) // 2 + IW) // 2 + IW) // 2


def test_a_writer_that_waits_for_the_buffer_keeps_the_window() -> None:
    """A buffer of 64 KiB holds the stream back, not its writer: the window stays at twice of it."""
    writer = Writer(LinkSpec(GBIT10, 10 * MS, 65_536))
    writer.until(3 * S)
    assert writer.cwnd == 2 * 65_536


def test_a_write_returns_when_the_last_byte_fits_into_the_buffer() -> None:
    """What is in flight stays in the buffer for a round trip: the 5th page has to wait for the first acknowledgement."""
    writer = Writer(LinkSpec(0, 10 * MS, 4 * PAGE_WIRE_BYTES), page_ns=1)
    for _ in range(4):
        writer.write()
        assert writer.t_ns < 10
    writer.write()
    assert writer.t_ns == pytest.approx(20 * MS, rel=1 / 64)


def test_no_socket_has_less_than_the_least_buffer() -> None:
    """One page in flight, a page a round trip."""
    assert goodput(LinkSpec(GBIT10, 10 * MS, 0)) == pytest.approx(4608 * S / (20 * MS), rel=0.15)


writes = st.lists(st.tuples(st.sampled_from([0, 300, 10**6, 3 * 10**8]), st.integers(1, 9000)), min_size=1, max_size=60)
specs = st.builds(
    LinkSpec, st.sampled_from([0, 10**5, 10**7, 10**9]), st.sampled_from([1, 10**5, 10**7, 10**8]),
    st.sampled_from([0, 20_000, 1 << 20]), st.sampled_from([3000, 65_536, 3 << 20]), st.sampled_from([576, 1500, 9000]),
)  # fmt: skip


@given(specs, writes)
def test_no_byte_is_lost_and_no_limit_is_passed(spec: LinkSpec, writes: list[tuple[int, int]]) -> None:
    writer = Writer(spec)
    for gap_ns, n_bytes in writes:
        before_ns, writer.page_ns = writer.t_ns, gap_ns
        writer.write(n_bytes)
        row = writer.row
        assert writer.t_ns >= before_ns + gap_ns
        assert row[tcp_row.ACKED] + row[tcp_row.IN_FLIGHT] + row[tcp_row.UNSENT] == writer.written
        assert row[tcp_row.ACKS :].sum() == row[tcp_row.IN_FLIGHT] <= spec.window_bytes
        assert row[tcp_row.IN_FLIGHT] + row[tcp_row.UNSENT] <= spec.send_buffer_bytes
        assert min(row[tcp_row.CWND], row[tcp_row.UNSENT]) >= 0
    tcp.drain(row, writer.path)
    assert row[tcp_row.UNSENT] == 0


@given(specs, writes, st.lists(st.integers(0, 10**9), max_size=5))
def test_looking_at_a_connection_moves_nothing(spec: LinkSpec, writes: list[tuple[int, int]], looks: list[int]) -> None:
    """A write of no bytes only lets time pass."""
    one, other = Writer(spec), Writer(spec)
    for i, (gap_ns, n_bytes) in enumerate(writes):
        one.page_ns = other.page_ns = gap_ns
        if i < len(looks) and gap_ns < 10**8:
            other.row = other.at(other.t_ns + looks[i] % (gap_ns + 1))
        one.write(n_bytes)
        other.write(n_bytes)
    assert one.t_ns == other.t_ns
    assert (one.row == other.row).all()
