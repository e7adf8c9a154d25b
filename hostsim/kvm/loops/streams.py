"""Streams of touches: for each (touch class, work clock) the next touch that may be seen.

Sweeps find it among the visits that go to armed pages, traces take touch by touch. Of memoryless classes the time to the
next touch of *any* armed page is drawn, and at that time the page: with fewer pages armed by then the touch is one of theirs
with that probability (thinning), with more it was drawn anew when they were armed.
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined, late
from hostsim.compiled.prefetch import prefetch
from hostsim.core.rng import NEVER, keyed_uniform, uniform_of
from hostsim.guest.armed import NO_WRITE
from hostsim.guest.paced import next_hit
from hostsim.guest.pacing import MODE, STOPPED, work_at
from hostsim.guest.touch import (
    CYCLE,
    FIRST_GFN,
    N_PAGES,
    PACED,
    RATE_DEN,
    RATE_NUM,
    START_PAGE,
    STRIDE,
    SWEEP,
    TRACE,
    WEIGHTED,
    touch_index,
    touch_time,
)
from hostsim.kvm.loops.armed import sweep_sees
from hostsim.kvm.loops.draws import ACCEPT, PART, column, expected_wait, reach, word_at
from hostsim.kvm.loops.layout import (
    IN_GUEST,
    PLACES,
    PROBES,
    REGION_BITS,
    THINS,
    TRIED,
    UNIFORM,
    Ints,
    Kvm,
    Part,
    Stream,
)
from hostsim.kvm.loops.pick import is_nearly_all, pick, place, taken_place, within
from hostsim.kvm.loops.visits import clear_visit, next_visit
from hostsim.kvm.loops.work import active_time, touch_ns, work_time

MOST = 0xFFFFFFFF
"""The largest word."""


@inlined
def find(k: Kvm, s: int, active_ns: int, goes_on: bool) -> None:
    """The candidate of stream ``s`` from ``active_ns`` of its class on. goes_on: from the touch before, which was made."""
    stream, row = k.streams[s], k.ints[k.streams[s].touch_class]
    stream.page = -1
    if stream.kind == SWEEP:
        _find_visit(k, stream, row, active_ns, goes_on)
    elif stream.kind == TRACE:
        at = stream.index
        stream.found_index = at
        ended = at >= k.classes[stream.touch_class].trace_end
        stream.next_work_ns = NEVER if ended else work_time(row, k.tape[at])
        stream.page = -1 if ended else k.tape[at + k.classes[stream.touch_class].gfn_distance]
    elif stream.kind == PACED:
        _draw_write(k, s, stream, row, active_ns)
    else:
        _draw_touch(k, s, stream, row, active_ns, goes_on)


@inlined
def _find_visit(k: Kvm, stream: Stream, row: Ints, active_ns: int, goes_on: bool) -> None:
    tape, levels = k.tape, k.classes[stream.touch_class]
    index, at = stream.index, stream.visit + 1
    if not goes_on:
        index = max(index, touch_index(row[RATE_NUM], row[RATE_DEN], active_ns))
        at = index % row[CYCLE]
    elif at == row[CYCLE]:  # no remainder: a division costs as much as the search
        at = 0
    start, visit = index - at, next_visit(tape, levels, at)
    if visit < 0:
        start += row[CYCLE]
        visit = next_visit(tape, levels, 0)
    if visit < 0:
        stream.next_work_ns = NEVER
        return
    stream.found_index, stream.visit = start + visit, visit
    stream.next_work_ns = work_time(row, touch_time(row[RATE_NUM], row[RATE_DEN], start + visit))
    ahead = row[START_PAGE] + visit * row[STRIDE]
    stream.page = row[FIRST_GFN] + (ahead if ahead < row[N_PAGES] else ahead % row[N_PAGES])
    # Its flags are read an exit later, and the time of the next step waits for them: read from a table, they are no branch
    # that the processor could foresee. Strides go to another cache line each time.
    prefetch(k.sptes.spte, stream.page)


@inlined
def _shares(k: Kvm, c: int) -> tuple[float, float]:
    """Shares of the writes of paced class ``c`` that go to armed pages of its hot part and of its cold part."""
    p = k.classes[c].part
    return k.parts[p].armed * k.rates[c].hot_share, k.parts[p + 1].armed * k.rates[c].cold_share


@inlined
def _draw_write(k: Kvm, s: int, stream: Stream, row: Ints, active_ns: int) -> None:
    hot, cold = _shares(k, stream.touch_class)
    since_ns = active_ns - stream.offset_ns
    due = touch_index(row[RATE_NUM], row[RATE_DEN], since_ns) if since_ns > 0 else 0
    stream.draws += 1
    reach(k, s, stream.draws + 1)
    k.exact[s] = hot + cold
    write = next_hit(int(stream.key0), int(stream.draws), max(stream.index, due), hot + cold)
    stream.found_index = write
    stream.next_work_ns = NEVER
    if write < NO_WRITE:
        stream.next_work_ns = work_time(row, touch_time(row[RATE_NUM], row[RATE_DEN], write) + stream.offset_ns)
        _expect(k, s, k.classes[stream.touch_class].part + (1 if _is_cold(stream, hot, cold) else 0))


@inlined
def _draw_touch(k: Kvm, s: int, stream: Stream, row: Ints, active_ns: int, goes_on: bool) -> None:
    c = stream.touch_class
    part = k.parts[k.classes[c].part]
    armed = part.armed
    stream.draws += 1
    reach(k, s, stream.draws + 1)
    stream.drawn_weight, stream.next_work_ns = armed, NEVER
    if not goes_on:
        k.exact[s] = active_ns
    if armed == 0:
        return
    mean_ns = k.rates[c].mean_ns if part.kind == UNIFORM else k.rates[c].scale
    wait_ns = expected_wait(k, s, stream.draws) * (mean_ns / armed)
    if wait_ns < 4.0e18:
        k.exact[s] += wait_ns
        stream.next_work_ns = work_time(row, int(k.exact[s]))
        if stream.kind != WEIGHTED:
            _expect(k, s, k.classes[c].part)


@inlined
def _is_cold(stream: Stream, hot: float, cold: float) -> bool:
    """Whether a write of a paced class goes to its cold part: armed shares of both."""
    return bool(cold > 0.0 and (hot <= 0.0 or _uniform(stream, PART) * (hot + cold) >= hot))


@inlined
def _expect(k: Kvm, s: int, p: int) -> None:
    """Fetch the bytes that the draw after the one at hand will read.

    They are seldom in a cache, and that draw may be due sooner than memory answers; its words are known a whole exit ahead.
    """
    part, at = k.parts[p], column(s, k.streams[s].draws + 1)
    if is_nearly_all(part):
        # More hints than are used cost more than they save.
        _fetch(k, part, place(part, word_at(k.words, at, PLACES)))
        return
    page = max(taken_place(k, part, at, TRIED), part.first)
    _fetch(k, part, page)
    for n in range(TRIED - 1):
        prefetch(k.sptes.spte, within(page, word_at(k.words, at, PROBES + n)))


@inlined
def _fetch(k: Kvm, part: Part, page: int) -> None:
    prefetch(k.counts[part.is_write], page >> REGION_BITS)
    prefetch(k.sptes.spte, page)


@inlined
def page_of(k: Kvm, s: int) -> int:
    """The page of the candidate of stream ``s`` of ``k``, whose time has come; -1 if the touch goes to no armed page."""
    stream = k.streams[s]
    if stream.page >= 0:
        return int(stream.page)
    c = stream.touch_class
    p = k.classes[c].part
    if stream.kind == PACED:
        hot, cold = _shares(k, c)
        if not _is_still(k, s, hot + cold, k.exact[s]):
            return -1
        if _is_cold(stream, hot, cold):
            p += 1
    elif not _is_still(k, s, float(k.parts[p].armed), float(stream.drawn_weight)):
        return -1
    if k.parts[p].armed == 0:
        return -1
    stream.page = pick(k, p, s)
    return int(stream.page)


@inlined
def _uniform(stream: Stream, purpose: int) -> float:
    return keyed_uniform(int(stream.key0), int(stream.key1), int(stream.draws), purpose)


@inlined
def _is_still(k: Kvm, s: int, now: float, drawn: float) -> bool:
    """Thinning: whether a touch drawn when ``drawn`` was armed goes to the part that still is."""
    if now >= drawn:
        return True
    # Few pages were disarmed meanwhile, so most touches are accepted for all low bits of the draw.
    if uniform_of(word_at(k.words, column(s, k.streams[s].draws), THINS), MOST) * drawn < now:
        return True
    return _uniform(k.streams[s], ACCEPT) * drawn < now


@inlined
def go_on(k: Kvm, s: int) -> None:
    """The candidate of stream ``s`` is over, made or not: the next one."""
    stream = k.streams[s]
    if stream.kind == SWEEP and not sweep_sees(k, stream.touch_class, stream.page, stream.is_write):
        clear_visit(k.tape, k.classes[stream.touch_class], stream.visit)
    stream.index = stream.found_index + 1
    find(k, s, 0, True)


@inlined
def choose(k: Kvm, v: int) -> None:
    """The next touch of vCPU ``v``, whose clocks run: the earliest of its streams, of equals the first.

    No stream if it leaves by itself before: after the touches of the instant in which it has done its work.
    """
    best_ns, best = NEVER, -1
    vcpu, streams, clocks = k.vcpus[v], k.streams, k.clocks
    for s in range(vcpu.stream_first, vcpu.stream_end):
        if streams[s].next_work_ns < NEVER and clocks[streams[s].clock, MODE] != STOPPED:
            ns = touch_ns(clocks[streams[s].clock], streams[s].next_work_ns)
            if ns < best_ns:  # of equals the first stream: an order that no window can change
                best_ns, best = ns, s
    if vcpu.stop_work_ns < NEVER:
        stop_ns = touch_ns(clocks[k.own_clocks[vcpu.clock_first]], vcpu.stop_work_ns)
        if stop_ns < best_ns:  # not <=: the touches of the instant in which the work is done are made
            best_ns, best = stop_ns, -1
    vcpu.next_ns, vcpu.stream, vcpu.stage = best_ns, best, IN_GUEST


@inlined
def _is_drawn(stream: Stream) -> bool:
    return bool(stream.kind not in (SWEEP, TRACE))


@late
def rearm(k: Kvm, first: int, end: int, now_ns: int) -> None:
    """Pages of [first, end) were armed at ``now_ns``: streams that touch them look again, from their work by now on.

    A drawn touch that is under way has its page and is left alone.
    """
    for v in range(len(k.vcpus)):
        has_looked = False
        for s in range(k.vcpus[v].stream_first, k.vcpus[v].stream_end):
            stream = k.streams[s]
            row = k.ints[stream.touch_class]
            if row[FIRST_GFN] >= end or row[FIRST_GFN] + row[N_PAGES] <= first or stream.kind == TRACE:
                continue
            # The exit of such a touch is under way. Another candidate would be drawn from its key, and the access lost.
            if _is_drawn(stream) and stream.page >= 0:
                continue
            find(k, s, active_time(row, work_at(k.clocks[stream.clock], now_ns)), False)
            has_looked = True
        if has_looked:
            k.state.is_reordered = 1
            if k.vcpus[v].stage == IN_GUEST:
                choose(k, v)


@inlined
def pass_by(k: Kvm, v: int, stream_under_way: int, now_ns: int) -> None:
    """As vCPU ``v`` stops within ``now_ns``, sweeps before the stream under way have made their touches of that instant."""
    for s in range(k.vcpus[v].stream_first, stream_under_way):
        stream = k.streams[s]
        if stream.kind == SWEEP:
            row = k.ints[stream.touch_class]
            done_ns = active_time(row, work_at(k.clocks[stream.clock], now_ns + 1))
            stream.index = max(stream.index, touch_index(row[RATE_NUM], row[RATE_DEN], done_ns))
