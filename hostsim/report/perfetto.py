"""A recording as a file that Perfetto opens: native track events, times in simulated nanoseconds.

Rows: a process a VM and one for the host, a thread an actor, rows of their own for slices that overlap.
https://perfetto.dev/docs/reference/synthetic-track-event
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from hostsim.core.errors import MissingExtraError
from hostsim.core.timeline import OPEN, Argument, Span, Track
from hostsim.costs.exits import COUNTED, NONE, TRACK, WP

if TYPE_CHECKING:
    from hostsim.machine.recording import Exits, Recording
    from hostsim.results.tables import RunResult

SEQUENCE = 1
"""trusted_packet_sequence_id of all packets: one writer."""
KINDS = {kind.number: kind for kind in COUNTED}
ABOUT = Track("hostsim", "about this trace")
AGGREGATES = "rounds; bytes of ram_save_iterate; kvm_age_hva and kvm_test_age_hva with more than one call; the destination"
"""Slices that stand for many things of their kind."""


@dataclass(frozen=True)
class Drawn:
    """A slice as the file has it; ends: flows that end here."""

    span: Span
    end_ns: int
    ends: int = 0


def check_extra() -> None:
    """MissingExtraError without the package perfetto."""
    try:
        import perfetto.trace_builder.proto_builder  # noqa: F401
    except ImportError:
        raise MissingExtraError("perfetto", "trace") from None


def sampling_lines(recording: Recording) -> list[str]:
    """A line for each kind of thing of which the trace has a part only."""
    lines = [f"kept 1 of {one.stride} {one.what}: {one.kept} of {one.seen}" for one in recording.samples]
    for exits in recording.exits:
        full = exits.counts["pml_full"]
        lines += [f"{full} full PML buffers of {exits.vm.name} are counted, not drawn"] if full else []
        lines += [f"{exits.lost} exits of {exits.vm.name} came too fast to be kept"] if exits.lost else []
    return lines


def trace_bytes(recording: Recording, result: RunResult) -> bytes:
    """The bytes of a Perfetto file of ``recording``; ``result`` gives the text beside it.

    Numbers the flows of ``recording`` in place. MissingExtraError without the package perfetto.
    """
    check_extra()
    file = BytesIO()
    writer = _Writer(file)
    _number_flows(recording)
    rows = _rows(recording)
    events = _by_track(recording.marks)
    for track in sorted({*rows, *events, ABOUT}, key=_place):
        marks = [Drawn(span, span.end_ns) for span in events.get(track, ())]
        marks += [_about(recording, result)] if track == ABOUT else []
        writer.thread(track, _lanes(rows.get(track, []), nests=track.nests), marks)
    for counter in recording.counters:
        writer.counter(counter.process, counter.name, counter.unit, counter.t_ns, counter.values)
    return file.getvalue()


def _about(recording: Recording, result: RunResult) -> Drawn:
    lines = sampling_lines(recording) or ["all slices and exits are kept"]
    args: dict[str, Argument] = {
        "hostsim": result.version, "scenario": result.name, "seed": result.seed, "times": "simulated, in ns",
        "aggregates": AGGREGATES,
    }  # fmt: skip
    args |= {f"sampling {number}": line for number, line in enumerate(lines, 1)}
    for exits in recording.exits:
        args |= {f"{exits.vm.name}, {kind}": n for kind, n in exits.counts.items() if n}
    return Drawn(Span(ABOUT.thread, 0, 0, args), 0)


def _place(track: Track) -> tuple[Any, ...]:
    """Order of rows: by process, threads of the migration first, vCPUs by number."""
    name, _, number = track.thread.rpartition(" ")
    return (track.process != ABOUT.process, track.process != "vm", track.process,
            *((1, name, int(number)) if number.isdecimal() else (0, track.thread, 0)))  # fmt: skip


# -- slices


def _number_flows(recording: Recording) -> None:
    """Give each invalidation that sent a kept exit back a flow of its own."""
    numbers = count(1)
    for exits in recording.exits:
        for one in exits.retried.kept:
            if one.by is not None and not one.by.flow:
                one.by.flow = next(numbers)


def _rows(recording: Recording) -> dict[Track, list[Drawn]]:
    """Slices by track; slices under way end with the run, and slices that took no time are left out."""
    found: dict[Track, list[Drawn]] = {}
    for track, span in recording.spans:
        end_ns = recording.end_ns if span.end_ns == OPEN else span.end_ns
        if end_ns > span.begin_ns:
            found.setdefault(track, []).append(Drawn(span, end_ns))
    for exits in recording.exits:
        _add_exits(exits, found)
    return found


def _add_exits(exits: Exits, found: dict[Track, list[Drawn]]) -> None:
    """Exits and their waits for mmu_lock on the rows of the vCPUs, each within its KVM_RUN."""
    entry_ns = int(exits.vm.engine.kvm.costs.entry_ns)
    runs = [_ends_of_runs(found.get(vcpu.track, [])) for vcpu in exits.vm.vcpus]
    senders = [(row, 0) for row in exits.rows]
    senders += [(one.row, one.by.flow if one.by else 0) for one in exits.retried.kept]
    for row, flow in senders:
        vcpu = int(row["vcpu"])
        track, end_ns = exits.vm.vcpus[vcpu].track, int(row["ns"]) + entry_ns
        # An exit that leads to user space ends with KVM_RUN: the vCPU does not enter the guest.
        at = int(np.searchsorted(runs[vcpu], int(row["ns"])))
        end_ns = min(end_ns, int(runs[vcpu][at])) if at < len(runs[vcpu]) else end_ns
        found.setdefault(track, []).extend(_exit(row, end_ns, flow))


def _ends_of_runs(drawn: Iterable[Drawn]) -> Any:
    return np.array([one.end_ns for one in drawn if one.span.name == "KVM_RUN"], np.int64)


def _exit(row: Any, end_ns: int, flow: int) -> Iterator[Drawn]:
    kind, mode = int(row["kind"]), int(row["lock_mode"])
    name = "fast_page_fault" if mode == NONE and kind in (WP, TRACK) else "kvm_page_fault"
    args: dict[str, Argument] = {"exit": KINDS[kind].heading, "gfn": int(row["page"]), "spte_set_ns": int(row["ns"])}
    since_ns, asked_ns, granted_ns = int(row["since_ns"]), int(row["asked_ns"]), int(row["granted_ns"])
    yield Drawn(Span(name, since_ns, end_ns, dict(args)), end_ns, flow)
    if mode != NONE and granted_ns > asked_ns:
        yield Drawn(Span("waits for mmu_lock", asked_ns, granted_ns), granted_ns)


def _lanes(drawn: list[Drawn], *, nests: bool) -> list[list[Drawn]]:
    """``drawn`` in rows in which slices nest, or with ``nests`` false follow each other; the first row that has room."""
    lanes: list[list[Drawn]] = []
    stacks: list[list[int]] = []
    for one in sorted(drawn, key=lambda one: (one.span.begin_ns, -one.end_ns)):
        number = next((i for i, stack in enumerate(stacks) if _fits(one, stack, nests=nests)), len(lanes))
        if number == len(lanes):
            lanes.append([])
            stacks.append([])
        lanes[number].append(one)
        stacks[number].append(one.end_ns)
    return lanes


def _fits(one: Drawn, stack: list[int], *, nests: bool) -> bool:
    while stack and stack[-1] <= one.span.begin_ns:
        stack.pop()
    return not stack or (nests and stack[-1] >= one.end_ns)


def _by_track(marks: Iterable[tuple[Track, Span]]) -> dict[Track, list[Span]]:
    found: dict[Track, list[Span]] = {}
    for track, span in marks:
        found.setdefault(track, []).append(span)
    return found


# -- packets


class _Writer:
    """Packets of one sequence; names are written once and referred to by number."""

    def __init__(self, file: BytesIO) -> None:
        from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TracePacket, TrackEvent
        from perfetto.trace_builder.proto_builder import StreamingTraceProtoBuilder

        self._builder, self._event, self._packet = StreamingTraceProtoBuilder(file), TrackEvent, TracePacket
        self._uuids, self._tids = count(1), count(1)
        self._processes: dict[str, tuple[int, int]] = {}
        self._names: dict[tuple[str, str], int] = {}
        first = self._new()
        first.sequence_flags = TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
        self._builder.write_packet(first)

    def thread(self, track: Track, lanes: list[list[Drawn]], marks: list[Drawn]) -> None:
        """Write a row of ``track`` for each of ``lanes``, as ``_lanes`` fills them.

        marks: events at one instant; they stand on the first row.
        """
        for number, lane in enumerate(lanes or [[]]):
            uuid = self._thread(track.process, track.thread if number == 0 else f"{track.thread} ({number + 1})")
            for one, is_end in _in_order(lane):
                self._slice(uuid, one, is_end=is_end)
            for mark in marks if number == 0 else ():
                self._write(uuid, mark.span, mark.span.begin_ns, self._event.TYPE_INSTANT)

    def counter(self, process: str, name: str, unit: str, t_ns: Any, values: Any) -> None:
        """Write the counter ``name`` of ``process``, with its ``unit``.

        t_ns: int64[n], simulated. values: int64[n] or float64[n].
        """
        packet = self._new()
        packet.track_descriptor.uuid = uuid = next(self._uuids)
        packet.track_descriptor.parent_uuid = self._process(process)[0]
        packet.track_descriptor.name = name
        packet.track_descriptor.counter.unit_name = unit
        self._builder.write_packet(packet)
        for at_ns, value in zip(t_ns.tolist(), values.tolist(), strict=True):
            packet = self._new(at_ns)
            packet.track_event.type, packet.track_event.track_uuid = self._event.TYPE_COUNTER, uuid
            setattr(packet.track_event, "counter_value" if isinstance(value, int) else "double_counter_value", value)
            self._builder.write_packet(packet)

    def _process(self, name: str) -> tuple[int, int]:
        """(uuid, pid) of a process; the first call for a process writes its description into the trace."""
        if name not in self._processes:
            self._processes[name] = uuid, pid = next(self._uuids), len(self._processes) + 1
            packet = self._new()
            packet.track_descriptor.uuid = uuid
            packet.track_descriptor.process.pid, packet.track_descriptor.process.process_name = pid, name
            self._builder.write_packet(packet)
        return self._processes[name]

    def _thread(self, process: str, name: str) -> int:
        parent, pid = self._process(process)
        packet = self._new()
        packet.track_descriptor.uuid = uuid = next(self._uuids)
        packet.track_descriptor.parent_uuid = parent
        thread = packet.track_descriptor.thread
        thread.pid, thread.tid, thread.thread_name = pid, 1000 + next(self._tids), name
        self._builder.write_packet(packet)
        return uuid

    def _slice(self, uuid: int, one: Drawn, *, is_end: bool) -> None:
        if is_end:
            packet = self._new(one.end_ns)
            packet.track_event.type, packet.track_event.track_uuid = self._event.TYPE_SLICE_END, uuid
            self._builder.write_packet(packet)
            return
        self._write(uuid, one.span, one.span.begin_ns, self._event.TYPE_SLICE_BEGIN, one.ends)

    def _write(self, uuid: int, span: Span, t_ns: int, kind: int, ends: int = 0) -> None:
        packet = self._new(t_ns)
        event = packet.track_event
        event.type, event.track_uuid = kind, uuid
        event.name_iid = self._iid(packet, "event_names", span.name)
        event.flow_ids.extend([span.flow] if span.flow else [])
        event.terminating_flow_ids.extend([ends] if ends else [])
        self._annotate(packet, span.args)
        self._builder.write_packet(packet)

    def _annotate(self, packet: Any, args: Mapping[str, Any]) -> None:
        for name, value in args.items():
            note = packet.track_event.debug_annotations.add()
            note.name_iid = self._iid(packet, "debug_annotation_names", name)
            kind = "int_value" if isinstance(value, int) else "double_value" if isinstance(value, float) else "string_value"
            setattr(note, kind, value)

    def _iid(self, packet: Any, table: str, name: str) -> int:
        number = self._names.get((table, name))
        if number is None:
            number = self._names[table, name] = len(self._names) + 1
            entry = getattr(packet.interned_data, table).add()
            entry.iid, entry.name = number, name
        return number

    def _new(self, t_ns: int | None = None) -> Any:
        packet = self._builder.create_packet()
        packet.trusted_packet_sequence_id = SEQUENCE
        if t_ns is not None:
            packet.timestamp = t_ns
            packet.sequence_flags = self._packet.SEQ_NEEDS_INCREMENTAL_STATE
        return packet


def _in_order(lane: list[Drawn]) -> Iterator[tuple[Drawn, bool]]:
    """(slice, whether it ends), in the order in which they begin and end: of one instant ends come first."""
    stack: list[Drawn] = []
    for one in lane:
        while stack and stack[-1].end_ns <= one.span.begin_ns:
            yield stack.pop(), True
        yield one, False
        stack.append(one)
    while stack:
        yield stack.pop(), True
