"""A file for Perfetto, read back: rows with their slices and events, counters, flows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Slice:
    name: str
    begin_ns: int
    end_ns: int
    depth: int
    args: dict[str, Any]
    begins: list[int]
    ends: list[int]


@dataclass
class Row:
    """A row: process, thread."""

    process: str
    thread: str
    slices: list[Slice] = field(default_factory=list)
    events: list[Slice] = field(default_factory=list)


@dataclass
class Timeline:
    """rows by (process, thread); counters: (t_ns, value) by (process, name); units by the same."""

    rows: dict[tuple[str, str], Row]
    counters: dict[tuple[str, str], list[tuple[int, float]]]
    units: dict[tuple[str, str], str]

    def slices(self, name: str) -> list[Slice]:
        return [one for row in self.rows.values() for one in row.slices if one.name == name]


def read(content: bytes) -> Timeline:
    """AssertionError unless slices of each row nest, and begin and end in the order of time."""
    from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace

    trace = Trace()
    trace.ParseFromString(content)
    names: dict[str, dict[int, str]] = defaultdict(dict)
    processes: dict[int, str] = {}
    rows: dict[int, Row] = {}
    counters: dict[int, tuple[str, str]] = {}
    found = Timeline({}, {}, {})
    stacks: dict[int, list[Slice]] = defaultdict(list)
    last_ns: dict[int, int] = defaultdict(int)
    for packet in trace.packet:
        for table in ("event_names", "debug_annotation_names"):
            names[table] |= {entry.iid: entry.name for entry in getattr(packet.interned_data, table)}
        if packet.HasField("track_descriptor"):
            _describe(packet.track_descriptor, processes, rows, counters, found)
            continue
        if not packet.HasField("track_event"):
            continue
        event, t_ns = packet.track_event, packet.timestamp
        uuid = event.track_uuid
        if event.type == event.TYPE_COUNTER:
            value = event.counter_value if event.HasField("counter_value") else event.double_counter_value
            found.counters[counters[uuid]].append((t_ns, value))
            continue
        if event.type == event.TYPE_INSTANT:
            rows[uuid].events.append(_slice(event, t_ns, 0, names))
            continue
        assert t_ns >= last_ns[uuid], "slices of a row stand in the order of time"
        last_ns[uuid] = t_ns
        if event.type == event.TYPE_SLICE_BEGIN:
            one = _slice(event, t_ns, len(stacks[uuid]), names)
            stacks[uuid].append(one)
            rows[uuid].slices.append(one)
        else:
            stacks[uuid].pop().end_ns = t_ns
    assert not any(stacks.values()), "each slice ends"
    for row in rows.values():
        for outer, inner in _parents(row.slices):
            assert outer.begin_ns <= inner.begin_ns < inner.end_ns <= outer.end_ns, (row.thread, outer, inner)
    return found


def _describe(described: Any, processes: Any, rows: Any, counters: Any, found: Timeline) -> None:
    if described.HasField("process"):
        processes[described.uuid] = described.process.process_name
    elif described.HasField("counter"):
        key = (processes[described.parent_uuid], described.name)
        counters[described.uuid], found.counters[key], found.units[key] = key, [], described.counter.unit_name
    else:
        key = (processes[described.parent_uuid], described.thread.thread_name)
        found.rows[key] = rows[described.uuid] = Row(*key)


def _slice(event: Any, t_ns: int, depth: int, names: Any) -> Slice:
    args = {
        names["debug_annotation_names"][note.name_iid]: getattr(note, note.WhichOneof("value"))
        for note in event.debug_annotations
    }
    name = names["event_names"][event.name_iid]
    return Slice(name, t_ns, t_ns, depth, args, list(event.flow_ids), list(event.terminating_flow_ids))


def _parents(slices: list[Slice]) -> list[tuple[Slice, Slice]]:
    pairs, stack = [], []
    for one in slices:
        del stack[one.depth :]
        if stack:
            pairs.append((stack[-1], one))
        stack.append(one)
    return pairs
