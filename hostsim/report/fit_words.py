"""A fit in sentences and as a table: the guest, figures that the log lacks, rounds measured beside rounds fitted."""

from __future__ import annotations

from collections.abc import Iterator

from hostsim.fitting.fitted import GuestFit, Interval, rows_of
from hostsim.fitting.guest_text import interval_words, size_words
from hostsim.report.columns import Column, Grid, Role, grid_of
from hostsim.verdict.words import bandwidth_words, count_words, pages_words, percent_words, seconds_words

ROWS_MAX = 14
FEW_POINTS = 4
LOOSE = 1.5
"""An interval whose ends differ by more than this factor is called wide."""


def fit_lines(fitted: GuestFit) -> list[str]:
    """The fit; the first line opens with FIT."""
    return [
        _headline(fitted),
        _guest(fitted),
        _curve(fitted),
        *_pacing(fitted),
        *_memory(fitted),
        *_bandwidth(fitted),
        *_ends(fitted),
        *_unsure(fitted),
        *(f"Note: {note}." for note in fitted.notes),
    ]


def _headline(fitted: GuestFit) -> str:
    sources, points = ", ".join(fitted.sources), fitted.found.points
    if not points:
        return f"FIT: {sources}: no page was written again after it had been sent, so the fitted guest writes no memory."
    offs = sorted(abs(row["off_share"]) for row in rows_of(fitted) if row["off_share"] is not None)
    typical = percent_words(offs[len(offs) // 2])
    rounds = sum(p.rounds for p in points)
    met = f"the fitted guest agrees with the {rounds} {'rounds of the log' if fitted.observed else 'measured points'}"
    return f"FIT: {sources}: {met} within {typical} (median), {percent_words(offs[-1])} at most."


def _guest(fitted: GuestFit) -> str:
    classes, figures = fitted.classes, fitted.figures
    rate = interval_words(figures["writes_per_s"], count_words)
    shape = f"{len(classes.pages)} class{'es' * (len(classes.pages) > 1)} of pages written independently"
    if classes.sweep:
        also = f", and {shape}" if classes.pages else ""
        period = seconds_words(1 / classes.sweep.sweeps_per_s)
        shape = f"a sweep over {pages_words(classes.sweep.pages)} in order, once each {period}{also}"
    if not fitted.found.points:
        return "Guest: no writes."
    working_set = interval_words(figures["working_set_pages"], pages_words)
    return f"Guest: {shape}; working set {working_set}, {rate} page writes a second."


def _curve(fitted: GuestFit) -> str:
    if not fitted.found.points:
        return "Dirtied: nothing."
    told = []
    for name, one in fitted.figures.items():
        if name.startswith("dirtied_in_"):
            seconds = float(name.removeprefix("dirtied_in_").removesuffix("s_pages"))
            told.append(f"{interval_words(one, size_words)} in {seconds_words(seconds)}")
    drawn = (
        f"{len(fitted.found.draws)} guests drawn from the errors of the {'rounds' if fitted.observed else 'measurements'}"
    )
    return f"Dirtied: {', '.join(told)}. Brackets hold 90 % of {drawn}."


def _pacing(fitted: GuestFit) -> Iterator[str]:
    if not fitted.found.points:
        return
    if fitted.found.pace.is_seen:
        yield f"Pacing: {fitted.found.pace.words} (seen in the throttled rounds)."
    else:
        why = ", for no round was throttled" if fitted.observed else ""
        yield f"Pacing: not seen{why}; work bound to the CPU is assumed, which auto-converge slows."
    if fitted.found.circles:
        yield (
            "Turns: rounds with many and with few dirty pages alternate, as they do where hot pages lie in a row and QEMU's "
            "cursor meets them in every other round; hostsim averages such rounds."
        )
    if fitted.found.bursts > 0.1:
        yield f"Bursts: the pages dirtied in a second vary by {percent_words(fitted.found.bursts)} more than by chance."


def _memory(fitted: GuestFit) -> Iterator[str]:
    filled, ram = fitted.figures.get("filled_pages"), fitted.figures.get("ram_pages")
    if filled and ram:
        zero = fitted.figures.get("zero_pages")
        also = f", {size_words(zero.value)} of zeros" if zero else ""
        yield f"Memory: {size_words(ram.value)}; the first pass sends {size_words(filled.value)} as whole pages{also}."


def _bandwidth(fitted: GuestFit) -> Iterator[str]:
    brake = fitted.setting.brake
    if brake is None:
        return
    name = (
        f"max-bandwidth {bandwidth_words(brake.bytes_per_s)}" if brake.kind == "max-bandwidth" else "the link, or the host"
    )
    yield f"Bandwidth: {bandwidth_words(brake.measured)} measured; limited by {name} ({brake.source})."


def _ends(fitted: GuestFit) -> Iterator[str]:
    floor, threshold = fitted.figures.get("floor_pages"), fitted.threshold_pages
    if floor is None or threshold is None or not fitted.found.points:
        return
    least, stops = interval_words(floor, size_words), size_words(threshold)
    words = {
        True: f"pre-copy ends by itself: remaining can fall to {least}, and QEMU stops the guest below {stops}",
        False: f"pre-copy does not end by itself: remaining stays above {least}; QEMU stops the guest below {stops}",
        None: f"the log does not decide whether pre-copy ends: remaining can fall to {least}, the threshold is {stops}",
    }
    yield f"Outcome: {words[fitted.ends_by_itself]}."
    if fitted.load_end_s:
        at = seconds_words(fitted.load_end_s)
        yield f"Load: the migration completed at {at}, which the fitted guest does not allow: its load ended just before."


def _unsure(fitted: GuestFit) -> Iterator[str]:
    points = fitted.found.points
    if 0 < len(points) < FEW_POINTS:
        kind, more = (
            ("rounds", "poll query-migrate over more rounds") if fitted.observed else ("measurements", "measure more")
        )
        yield f"Unsure: the dirty curve rests on {len(points)} lengths of {kind}, so the brackets are wide: {more}."
    shortest = min((p.t_s for p in points), default=0.0)
    tenth = fitted.figures.get("dirtied_in_0.1s_pages", Interval(0.0))
    if shortest > 0.1 and tenth.low is not None and tenth.high and tenth.high > LOOSE * max(tenth.low, 1.0):
        yield (
            f"Unsure: no {'round' if fitted.observed else 'measurement'} is shorter than {seconds_words(shortest)}, so the "
            "pages dirtied within 100 ms follow from the shape of the curve alone; calc-dirty-rate over "
            f"{'1 s or less' if shortest > 1 else f'less than {seconds_words(shortest)}'} would measure them."
        )
    if points and fitted.found.from_below:
        least = fitted.figures["writes_per_s"].low or fitted.figures["writes_per_s"].value
        yield (
            "Unsure: every round found about all pages that the guest writes, so its rate has only a lower bound, "
            f"{count_words(least)} page writes a second: a faster link, a longer downtime limit or calc-dirty-rate over "
            f"less than {seconds_words(shortest)} would measure it."
        )
    if any(one.evidence.downtime_limit_from == "assumed" for one in fitted.observed):
        limit = seconds_words(fitted.setting.limit_ms / 1000)
        yield f"Limit: the log does not contain the downtime limit; {limit} is assumed, --downtime-limit sets it."
    if fitted.found.by_chunks:
        yield "Log: the rounds fit better if KVM's dirty log is cleared by chunks as pages are sent; the scenario does so."


def rounds_grid(fitted: GuestFit) -> Grid:
    """Rounds measured beside fitted; of a long log some in the middle are left out."""
    columns = [
        *_length_columns(fitted),
        Column("throttle_percent", "throttle", words=lambda percent: f"{percent:.0f} %", if_any=True),
        Column("found_pages", "newly dirty" if fitted.observed else "dirty", words=count_words),
        Column("fitted_pages", "fitted", words=count_words),
        Column("off_share", "off", words=_signed),
        Column("error_share", "error", words=lambda share: f"±{100 * share:.1f} %"),
    ]
    rows = list(rows_of(fitted))
    if len(rows) > ROWS_MAX:
        half = ROWS_MAX // 2
        rows = [*rows[:half], *rows[-half:]]
    return grid_of(columns, rows, "Rounds" if fitted.observed else "Points")


def _length_columns(fitted: GuestFit) -> tuple[Column, ...]:
    """The columns that name a row: a measured curve has lengths and no rounds."""
    if not fitted.observed:
        return (Column("length_s", "after", role=Role.KEY, words=seconds_words),)
    return (
        Column("migration", "migration", role=Role.KEY, if_any=True),
        Column("end_s", "until", role=Role.KEY, words=seconds_words),
        Column("rounds", "rounds"),
        Column("length_s", "each took", words=seconds_words),
    )


def _signed(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:+.1f} %"
