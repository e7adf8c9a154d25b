"""O19-O21: queues at mmu_lock. Closed forms at the digits of their vectors, and guests under KVM against the forms."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hostsim.costs.exits import EXCLUSIVE, MAP, SHARED, WP
from hostsim.spte_index.spte import PRESENT, make_sptes
from hostsim.theory import queues
from hostsim.validation import draws
from hostsim.validation.lock_runs import ENTRY_NS, EXIT_NS, Arrivals, Faults, Ints, LockRun, Loops, exit_costs
from hostsim.validation.rows import Row, digits, exact, sigma
from hostsim.validation.samples import SUITE, little_row, sample_z

SERVICE_NS = 20_000
WAITS_US = {0.5: ("20", "10"), 0.7: ("46.7", "23.3"), 0.9: ("180", "90")}
"""Utilisation: mean wait with exponential and with constant service of 20 us."""
REPLICATIONS, REQUESTS, FIRST_COUNTED = 30, 20_000, 4_000
"""Each replication begins with an empty queue; its effect after 4000 requests at 0.9 is below 1e-4 of the wait."""
OPEN_VCPUS = 256
"""More vCPUs than ever wait: each arrival finds a vCPU in the guest."""
TWO_POINTS_NS = ((0.2, 3 * SERVICE_NS), (0.8, SERVICE_NS // 2))
"""Mean and second moment of an exponential service of 20 us, hence its mean wait, by Pollaczek and Khinchine."""

THINK_NS, CLOSED_SERVICE_NS = 10_000, 2_000
CLOSED = {4: ("300829", "3.2966"), 8: ("464976", "7.2052"), 16: ("499975", "22.0016")}
"""vCPUs: throughput a second and response in us, exponential service."""
BATCHES, BATCH_FAULTS, LEFT_OUT = 24, 500, 400

READER_LOOPS_NS = tuple(range(13_000, 29_000, 2_000))
READ_NS, WRITE_NS = 5_000, 9_000
WRITERS, WRITER_GAP_NS = 800, 2_000_000


def lock_rows(seed: int = 1) -> Iterator[Row]:
    """Open and closed queues at an exclusive lock, and a shared lock with and without a writer."""
    yield from _open_form_rows()
    yield from _open_drawn_rows(draws.generator(seed, 19))
    yield from _open_run_rows(draws.generator(seed, 119))
    yield from _closed_form_rows()
    yield from _closed_run_rows(draws.generator(seed, 120))
    yield from _reader_rows()
    yield from _one_writer_rows(draws.generator(seed, 121))
    yield _fair_row()


def _open_form_rows() -> Iterator[Row]:
    for rho, (exponential, constant) in WAITS_US.items():
        yield digits(SUITE, f"O19/{rho}", "mean wait, exponential service, us", exponential, queues.mm1_wait(rho, 20.0))
        yield digits(SUITE, f"O19/{rho}", "mean wait, constant service, us", constant, queues.md1_wait(rho, 20.0))


def _open_drawn_rows(rng: np.random.Generator) -> Iterator[Row]:
    """Exponential service by a plain queue: the engine's holds are constants of their kind."""
    for rho in WAITS_US:
        means = []
        for _ in range(REPLICATIONS):
            arrivals, departures = draws.fifo_server(rng, REQUESTS // 2, round(SERVICE_NS / rho), SERVICE_NS)
            means.append(float(np.mean((departures - arrivals)[FIRST_COUNTED // 2 :])))
        expected = queues.mm1_wait(rho, SERVICE_NS) + SERVICE_NS
        z = sample_z(means, expected)
        yield sigma(SUITE, f"O19/{rho}/drawn", "mean wait and exponential service, ns", expected, float(np.mean(means)), z)


def _open_run_rows(rng: np.random.Generator) -> Iterator[Row]:
    """Poisson requests to mmu_lock: vCPUs that fault once, at drawn times."""
    for rho in WAITS_US:
        runs = [_open_run(rng, rho, 0.0) for _ in range(REPLICATIONS)]
        yield _wait_row(f"O19-run/{rho}", "constant holds", queues.md1_wait(rho, SERVICE_NS), runs)
        square = sum(share * ns**2 for share, ns in TWO_POINTS_NS)
        mixed = queues.mg1_wait(rho / SERVICE_NS, SERVICE_NS, square)
        runs = [_open_run(rng, rho, TWO_POINTS_NS[0][0]) for _ in range(REPLICATIONS)]
        yield _wait_row(f"O19-run/{rho}", "holds of two kinds with the moments of an exponential one", mixed, runs)
    faults = _open_run(rng, 0.9, TWO_POINTS_NS[0][0])
    yield little_row("O19-run/little", faults.asked_ns, faults.set_ns, faults.wait_and_hold_ns)
    in_flight_ns = draws.in_flight_integral_ns(faults.asked_ns, faults.set_ns)
    yield little_row("O19-run/little/by events", faults.asked_ns, faults.set_ns, in_flight_ns)


def _wait_row(row_id: str, what: str, expected_ns: float, runs: list[Faults]) -> Row:
    means = [float(np.mean(faults.wait_ns[FIRST_COUNTED:])) for faults in runs]
    got = float(np.mean(means))
    return sigma(SUITE, row_id, f"mean wait for mmu_lock, {what}, ns", expected_ns, got, sample_z(means, expected_ns))


def _open_run(rng: np.random.Generator, rho: float, share_mapped: float) -> Faults:
    """Faults of an open run. share_mapped: share that map (the longer hold), the others take W back; 0: equal holds."""
    arrivals = Arrivals(np.cumsum(rng.exponential(SERVICE_NS / rho, REQUESTS)).astype(np.int64), OPEN_VCPUS)
    sptes = make_sptes(int(arrivals.pages.max()) + 1)
    sptes.spte[arrivals.pages] = np.where(rng.random(REQUESTS) < share_mapped, 0, PRESENT)
    long_ns, short_ns = (ns for _, ns in TWO_POINTS_NS)
    holds = {MAP: long_ns, WP: short_ns if share_mapped else SERVICE_NS}
    run = LockRun(sptes, exit_costs({MAP: EXCLUSIVE, WP: EXCLUSIVE}, holds), arrivals=arrivals)
    run.advance()
    return run.faults()


def _closed_form_rows() -> Iterator[Row]:
    yield exact(SUITE, "O20", "vCPUs that saturate the lock", 6.0, queues.saturation_requesters(10.0, 2.0))
    for n, (throughput, response) in CLOSED.items():
        got = queues.closed_throughput(n, 10.0, 2.0) * 1e6
        yield digits(SUITE, f"O20/{n}", "faults a second, exponential service", throughput, got)
        yield digits(SUITE, f"O20/{n}", "mean response, us", response, queues.closed_response(n, 10.0, 2.0))


def _looping(n_vcpus: int, faults_each: int, kind_mode: tuple[int, int], hold_ns: int, loops_ns: Ints) -> LockRun:
    """A run in which each vCPU faults on pages of its own, one after the other, ``faults_each`` of them."""
    first = np.arange(n_vcpus) * faults_each
    sptes = make_sptes(n_vcpus * faults_each)
    sptes.spte[:] = PRESENT
    kind, mode = kind_mode
    loops = Loops(np.zeros(n_vcpus, np.int64), first, first + faults_each, loops_ns)
    return LockRun(sptes, exit_costs({kind: mode}, {kind: hold_ns}), loops)


def _same_loops(n_vcpus: int) -> Ints:
    return np.full(n_vcpus, THINK_NS - EXIT_NS - ENTRY_NS)


def _closed_run_rows(rng: np.random.Generator) -> Iterator[Row]:
    """Closed loops at an exclusive lock: constant holds exactly, exponential ones by batch means."""
    for n in (1, *CLOSED, 6):
        run = _looping(n, 1100, (WP, EXCLUSIVE), CLOSED_SERVICE_NS, _same_loops(n))
        run.advance()
        cycle_ns = round(n / queues.closed_throughput_bound(n, THINK_NS, CLOSED_SERVICE_NS))
        # 1000 cycles from the end of the 20th on: by then the start no longer affects the queue.
        begin_ns = 20 * cycle_ns + EXIT_NS
        counted = int(np.sum((run.set_ns > begin_ns) & (run.set_ns <= begin_ns + 1000 * cycle_ns)))
        yield exact(SUITE, f"O20-run/{n}/constant", "faults in 1000 cycles of max(Z + S, N S)", 1000 * n, counted)
    for n in CLOSED:
        yield from _exponential_rows(rng, n)


def _exponential_rows(rng: np.random.Generator, n: int) -> Iterator[Row]:
    each = -(-(BATCHES * BATCH_FAULTS + LEFT_OUT) // n) * 5 // 4
    run = _looping(n, each, (WP, EXCLUSIVE), CLOSED_SERVICE_NS, _same_loops(n))
    run.advance_drawn(WP, lambda: max(1, round(rng.exponential(CLOSED_SERVICE_NS))))
    set_ns = run.set_ns[LEFT_OUT : LEFT_OUT + BATCHES * BATCH_FAULTS + 1 : BATCH_FAULTS]
    means = np.diff(set_ns) / BATCH_FAULTS
    expected = 1.0 / queues.closed_throughput(n, THINK_NS, CLOSED_SERVICE_NS)
    got = float(np.mean(means))
    yield sigma(SUITE, f"O20-run/{n}/exponential", "time from fault to fault, ns", expected, got, sample_z(means, expected))


def _reader_rows() -> Iterator[Row]:
    """O21: readers alone do not wait; their throughput is linear, above that of a spinlock."""
    for n in (1, 8, 64):
        run = _looping(n, 400, (WP, SHARED), CLOSED_SERVICE_NS, _same_loops(n))
        run.advance()
        duration_ns = int(run.set_ns[-1]) - EXIT_NS + THINK_NS
        cycles = duration_ns / (THINK_NS + CLOSED_SERVICE_NS)
        yield exact(SUITE, f"O21-run/{n}", "faults under the shared lock, N/(Z + S) of them a second", n * cycles, n * 400)
        yield exact(SUITE, f"O21-run/{n}", "waits for the shared lock, ns", 0, int(run.faults().wait_ns.sum()))
    spinlock = duration_ns * queues.closed_throughput_bound(n, THINK_NS, CLOSED_SERVICE_NS)
    yield exact(SUITE, f"O21-run/{n}", f"more faults than the {spinlock:.0f} of a spinlock", True, n * 400 > spinlock)


def _one_writer_rows(rng: np.random.Generator) -> Iterator[Row]:
    """O21: a writer shuts readers out from when it asks, for the longest residual of those inside, and for its hold."""
    faults, duration_ns = _readers_and_writers(rng)
    is_writer = faults.kind == MAP
    asked, granted, until = (times[is_writer] for times in (faults.asked_ns, faults.granted_ns, faults.set_ns))
    entered, left = (times[~is_writer] for times in (faults.granted_ns, faults.set_ns))
    seen = [int(np.max(left[(entered <= t) & (left > t)] - t, initial=0)) for t in asked.tolist()]
    waited = int((granted - asked).sum())
    yield exact(SUITE, "O21-run/writer", "waits of writers, ns: the longest residual of each", sum(seen), waited)
    let_in = sum(int(np.sum((entered > a) & (entered < u))) for a, u in zip(asked.tolist(), until.tolist(), strict=True))
    yield exact(SUITE, "O21-run/writer", "readers let in while a writer waits or holds", 0, let_in)
    cycles_ns = np.array(READER_LOOPS_NS) + EXIT_NS + ENTRY_NS + READ_NS
    expected = WRITE_NS + queues.longest_residual_mean(READ_NS, tuple(READ_NS / cycles_ns))
    closed_ns = until - asked
    z = sample_z(closed_ns, expected)
    yield sigma(SUITE, "O21-run/writer", "time shut to readers, a writer, ns", expected, float(np.mean(closed_ns)), z)
    alone = float(np.sum(duration_ns / cycles_ns))
    least = float(np.sum((duration_ns - closed_ns.sum()) / cycles_ns)) - len(cycles_ns)
    reads = int(np.sum(left <= duration_ns))
    what = f"{least:.0f} to {alone:.0f} reads: all of them less what was shut, all of them"
    yield exact(SUITE, "O21-run/writer", what, True, least <= reads <= alone)


def _readers_and_writers(rng: np.random.Generator) -> tuple[Faults, int]:
    """Readers in closed loops of different lengths; each writer faults once, at a drawn time in a gap of its own."""
    duration_ns = WRITERS * WRITER_GAP_NS
    loops = np.array(READER_LOOPS_NS)
    reads = duration_ns // (loops + EXIT_NS + ENTRY_NS + READ_NS) + 1
    end = np.cumsum(reads)
    starts = np.arange(WRITERS) * WRITER_GAP_NS + WRITER_GAP_NS // 2 + rng.integers(WRITER_GAP_NS // 4, size=WRITERS)
    sptes = make_sptes(int(end[-1]) + WRITERS)
    sptes.spte[: end[-1]] = PRESENT
    run = LockRun(
        sptes, exit_costs({WP: SHARED, MAP: EXCLUSIVE}, {WP: READ_NS, MAP: WRITE_NS}),
        Loops(rng.integers(20_000, size=len(loops)), end - reads, end, loops), Arrivals(starts, 1, int(end[-1])),
    )  # fmt: skip
    run.advance()
    return run.faults(), duration_ns


def _fair_row() -> Row:
    """O21: two writers are always at the lock, and yet a reader comes in once a round: the queue is fair."""
    each, rounds = 2000, 1000
    first = np.arange(3) * each
    sptes = make_sptes(3 * each)
    sptes.spte[:each] = PRESENT
    loops = Loops(np.zeros(3, np.int64), first, first + each, np.full(3, 1000))
    costs = exit_costs({WP: SHARED, MAP: EXCLUSIVE}, {WP: READ_NS, MAP: WRITE_NS})
    run = LockRun(sptes, costs, loops)
    round_ns = READ_NS + 2 * WRITE_NS
    run.advance((rounds + 10) * round_ns)
    reads = run.set_ns[run.faults().kind == WP]
    counted = int(np.sum((reads > 10 * round_ns) & (reads <= (rounds + 10) * round_ns)))
    return exact(SUITE, "O21-run/fair", "reads in 1000 rounds of two writers and a reader", rounds, counted)
