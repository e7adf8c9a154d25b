"""Streams of touches: for each (touch class, work clock) the next touch that may be seen.

Sweeps find it among the visits that go to armed pages, traces take touch by touch. Of memoryless classes the time to the
next touch of *any* armed page is drawn, the page when it comes up: with fewer pages armed by then the touch is one of theirs
with that probability (thinning), with more it was drawn anew when they were armed.
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined, jit
from hostsim.compiled.prefetch import prefetch
from hostsim.core.rng import NEVER, keyed_exponential, keyed_uniform
from hostsim.guest.armed import NO_WRITE
from hostsim.guest.paced import next_hit, page_share
from hostsim.guest.pacing import MODE, STOPPED, work_at
from hostsim.guest.touch import (
    CYCLE,
    FIRST_GFN,
    HOT_PAGES,
    IS_WRITE,
    KIND,
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
from hostsim.kvm.loops.layout import (
    C_GFN,
    C_PART,
    C_TRACE_END,
    IN_GUEST,
    P_ARMED,
    P_KIND,
    P_WRITE,
    R_MEAN,
    R_SCALE,
    REGION_BITS,
    REORDERED,
    S_CLASS,
    S_CLOCK,
    S_DRAWN,
    S_DRAWS,
    S_FOUND,
    S_INDEX,
    S_KEY0,
    S_KEY1,
    S_NEXT,
    S_OFFSET,
    S_PAGE,
    UNIFORM,
    V_CLOCK,
    V_END,
    V_FIRST,
    V_NS,
    V_STAGE,
    V_STOP,
    V_STREAM,
    Ints,
    Kvm,
)
from hostsim.kvm.loops.pick import pick, place
from hostsim.kvm.loops.visits import clear_visit, next_visit, visit_of
from hostsim.kvm.loops.work import active_time, touch_ns, work_time

ACCEPT, PART = 1 << 20, 1 << 21
"""Keys of draws beside those of the page."""


@inlined
def find(k: Kvm, s: int, active_ns: int, goes_on: bool) -> None:
    """The candidate of stream ``s`` from ``active_ns`` of its class on. goes_on: from the touch before, which was made."""
    stream, row = k.streams[s], k.ints[k.streams[s, S_CLASS]]
    stream[S_PAGE] = -1
    if row[KIND] == SWEEP:
        _find_visit(k.tape, stream, row, active_ns)
    elif row[KIND] == TRACE:
        at = stream[S_INDEX]
        stream[S_FOUND] = at
        ended = at >= k.ints[stream[S_CLASS], C_TRACE_END]
        stream[S_NEXT] = NEVER if ended else work_time(row, k.tape[at])
        stream[S_PAGE] = -1 if ended else k.tape[at + k.ints[stream[S_CLASS], C_GFN]]
    elif row[KIND] == PACED:
        _draw_write(k, s, stream, row, active_ns)
    else:
        _draw_touch(k, s, stream, row, active_ns, goes_on)


@inlined
def _find_visit(tape: Ints, stream: Ints, row: Ints, active_ns: int) -> None:
    index = max(stream[S_INDEX], touch_index(row[RATE_NUM], row[RATE_DEN], active_ns))
    start = index - index % row[CYCLE]
    visit = next_visit(tape, row, index % row[CYCLE])
    if visit < 0:
        start += row[CYCLE]
        visit = next_visit(tape, row, 0)
    if visit < 0:
        stream[S_NEXT] = NEVER
        return
    stream[S_FOUND] = start + visit
    stream[S_NEXT] = work_time(row, touch_time(row[RATE_NUM], row[RATE_DEN], start + visit))
    stream[S_PAGE] = row[FIRST_GFN] + (row[START_PAGE] + visit * row[STRIDE]) % row[N_PAGES]


@inlined
def _shares(k: Kvm, c: int) -> tuple[float, float]:
    """Shares of the writes of paced class ``c`` that go to armed pages of its hot part and of its cold part."""
    row, p = k.ints[c], k.ints[c, C_PART]
    hot_share, scale = k.rates[R_MEAN, c], k.rates[R_SCALE, c]
    hot = k.parts[p, P_ARMED] / scale * page_share(hot_share, row[HOT_PAGES])
    return hot, k.parts[p + 1, P_ARMED] / scale * page_share(1.0 - hot_share, row[N_PAGES] - row[HOT_PAGES])


@inlined
def _draw_write(k: Kvm, s: int, stream: Ints, row: Ints, active_ns: int) -> None:
    hot, cold = _shares(k, stream[S_CLASS])
    due = touch_index(row[RATE_NUM], row[RATE_DEN], max(0, active_ns - stream[S_OFFSET]))
    stream[S_DRAWS] += 1
    k.exact[s] = hot + cold
    write = next_hit(int(stream[S_KEY0]), int(stream[S_DRAWS]), max(stream[S_INDEX], due), hot + cold)
    stream[S_FOUND] = write
    never = write >= NO_WRITE
    stream[S_NEXT] = NEVER if never else work_time(row, touch_time(row[RATE_NUM], row[RATE_DEN], write) + stream[S_OFFSET])
    if not never:
        _expect(k, stream, k.ints[stream[S_CLASS], C_PART] + (1 if _is_cold(stream, hot, cold) else 0))


@inlined
def _draw_touch(k: Kvm, s: int, stream: Ints, row: Ints, active_ns: int, goes_on: bool) -> None:
    c = stream[S_CLASS]
    part = k.parts[k.ints[c, C_PART]]
    armed = part[P_ARMED]
    stream[S_DRAWS] += 1
    stream[S_DRAWN], stream[S_NEXT] = armed, NEVER
    if not goes_on:
        k.exact[s] = active_ns
    if armed == 0:
        return
    mean_ns = k.rates[R_MEAN, c] if part[P_KIND] == UNIFORM else k.rates[R_SCALE, c]
    wait_ns = keyed_exponential(int(stream[S_KEY0]), int(stream[S_KEY1]), 0, int(stream[S_DRAWS])) * (mean_ns / armed)
    if wait_ns < 4.0e18:
        k.exact[s] += wait_ns
        stream[S_NEXT] = work_time(row, int(k.exact[s]))
        if row[KIND] != WEIGHTED:
            _expect(k, stream, k.ints[c, C_PART])


@inlined
def _is_cold(stream: Ints, hot: float, cold: float) -> bool:
    """Whether a write of a paced class goes to its cold part: armed shares of both."""
    return bool(cold > 0.0 and (hot <= 0.0 or _uniform(stream, PART) * (hot + cold) >= hot))


@inlined
def _expect(k: Kvm, stream: Ints, p: int) -> None:
    """What is known of the page that will be tried first when the candidate comes up is fetched: it is seldom in a cache."""
    page = place(k.parts[p], int(stream[S_KEY0]), int(stream[S_DRAWS]), 0)
    prefetch(k.counts[k.parts[p, P_WRITE]], page >> REGION_BITS)
    prefetch(k.sptes.spte, page)


@inlined
def page_of(k: Kvm, s: int) -> int:
    """The page of the candidate that has come up; -1 if it goes to no armed page."""
    stream = k.streams[s]
    if stream[S_PAGE] >= 0:
        return int(stream[S_PAGE])
    c = stream[S_CLASS]
    row, p = k.ints[c], k.ints[c, C_PART]
    if row[KIND] == PACED:
        hot, cold = _shares(k, c)
        if not _is_still(stream, hot + cold, k.exact[s]):
            return -1
        if _is_cold(stream, hot, cold):
            p += 1
    elif not _is_still(stream, float(k.parts[p, P_ARMED]), float(stream[S_DRAWN])):
        return -1
    if k.parts[p, P_ARMED] == 0:
        return -1
    stream[S_PAGE] = pick(k, p, int(stream[S_KEY0]), int(stream[S_KEY1]), int(stream[S_DRAWS]))
    return int(stream[S_PAGE])


@inlined
def _uniform(stream: Ints, purpose: int) -> float:
    return keyed_uniform(int(stream[S_KEY0]), int(stream[S_KEY1]), int(stream[S_DRAWS]), purpose)


@inlined
def _is_still(stream: Ints, now: float, drawn: float) -> bool:
    """Thinning: whether a touch drawn when ``drawn`` was armed goes to the part that still is."""
    return now >= drawn or _uniform(stream, ACCEPT) * drawn < now


@inlined
def go_on(k: Kvm, s: int) -> None:
    """The candidate of stream ``s`` is over, made or not: the next one."""
    stream = k.streams[s]
    row = k.ints[stream[S_CLASS]]
    if row[KIND] == SWEEP and not sweep_sees(k, stream[S_CLASS], stream[S_PAGE], row[IS_WRITE]):
        clear_visit(k.tape, k.ints[stream[S_CLASS]], visit_of(row, stream[S_PAGE] - row[FIRST_GFN]))
    stream[S_INDEX] = stream[S_FOUND] + 1
    find(k, s, 0, True)


@inlined
def choose(vcpus: Ints, streams: Ints, clocks: Ints, state: Ints, v: int) -> None:
    """What vCPU ``v``, whose clocks run, will touch next: the earliest of its streams, of equals the first.

    No stream if it leaves by itself before: after the touches of the instant in which it has done its work.
    """
    best_ns, best = NEVER, -1
    for s in range(vcpus[V_FIRST, v], vcpus[V_END, v]):
        if streams[s, S_NEXT] < NEVER and clocks[streams[s, S_CLOCK], MODE] != STOPPED:
            ns = touch_ns(clocks[streams[s, S_CLOCK]], streams[s, S_NEXT])
            if ns < best_ns:
                best_ns, best = ns, s
    if vcpus[V_STOP, v] < NEVER:
        stop_ns = touch_ns(clocks[state[vcpus[V_CLOCK, v]]], vcpus[V_STOP, v])
        if stop_ns < best_ns:
            best_ns, best = stop_ns, -1
    vcpus[V_NS, v], vcpus[V_STREAM, v], vcpus[V_STAGE, v] = best_ns, best, IN_GUEST


@inlined
def _is_drawn(row: Ints) -> bool:
    return bool(row[KIND] != SWEEP and row[KIND] != TRACE)


@jit
def rearm(k: Kvm, first: int, end: int, now_ns: int) -> None:
    """Pages of [first, end) were armed at ``now_ns``: streams that touch them look again, from their work by now on.

    A drawn touch that is under way has its page and is left alone.
    """
    for v in range(k.vcpus.shape[1]):
        has_looked = False
        for s in range(k.vcpus[V_FIRST, v], k.vcpus[V_END, v]):
            stream = k.streams[s]
            row = k.ints[stream[S_CLASS]]
            if row[FIRST_GFN] >= end or row[FIRST_GFN] + row[N_PAGES] <= first or row[KIND] == TRACE:
                continue
            if _is_drawn(row) and stream[S_PAGE] >= 0:
                continue
            find(k, s, active_time(row, work_at(k.clocks[stream[S_CLOCK]], now_ns)), False)
            has_looked = True
        if has_looked:
            k.state[REORDERED] = 1
            if k.vcpus[V_STAGE, v] == IN_GUEST:
                choose(k.vcpus, k.streams, k.clocks, k.state, v)


@inlined
def pass_by(k: Kvm, v: int, stream_under_way: int, now_ns: int) -> None:
    """As vCPU ``v`` stops within ``now_ns``, sweeps before the stream under way have made their touches of that instant."""
    for s in range(k.vcpus[V_FIRST, v], stream_under_way):
        stream = k.streams[s]
        row = k.ints[stream[S_CLASS]]
        if row[KIND] == SWEEP:
            done_ns = active_time(row, work_at(k.clocks[stream[S_CLOCK]], now_ns + 1))
            stream[S_INDEX] = max(stream[S_INDEX], touch_index(row[RATE_NUM], row[RATE_DEN], done_ns))
