"""A fitted guest as the text of a scenario file, with a comment for each value: its source, and its interval."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hostsim.core.constants import PAGE_BYTES
from hostsim.fitting.fitted import GuestFit, Interval
from hostsim.scenario.toml_text import toml_text
from hostsim.verdict.words import bytes_words, count_words, pages_words, seconds_words


def guest_text(fitted: GuestFit) -> str:
    """The text of a file that ``hostsim run`` takes."""
    return "\n".join([*_head(fitted), *_vm(fitted), *_migration(fitted), *_rest(fitted)]) + "\n"


def interval_words(one: Interval, words: Any = count_words) -> str:
    """The value and the interval of ``one``, each written by ``words``: ``16.9k [16k, 18k]``."""
    if one.low is None or one.high is None:
        return str(words(one.value))
    return f"{words(one.value)} [{words(one.low)}, {words(one.high)}]"


def _head(fitted: GuestFit) -> Iterator[str]:
    yield f"# A guest fitted by hostsim fit to {', '.join(fitted.sources)}"
    yield "# Brackets hold 90 % of the guests drawn from the errors of the log's rounds."
    figures = fitted.figures
    yield f"# working set: {interval_words(figures['working_set_pages'], pages_words)}"
    for name in ("dirtied_in_0.1s_pages", "dirtied_in_1s_pages", "dirtied_in_10s_pages"):
        seconds = name.removeprefix("dirtied_in_").removesuffix("s_pages")
        yield f"# dirtied in {seconds} s: {interval_words(figures[name], pages_words)}"
    if fitted.load_end_s:
        yield f"# its load ended at about {seconds_words(fitted.load_end_s)}; here it goes on"
    table = fitted.table()
    yield f"name = {toml_text(table['name'])}"
    yield f"duration = {toml_text(table['duration'])}"


def _vm(fitted: GuestFit) -> Iterator[str]:
    vm = fitted.table()["vm"]
    yield from ("", "[vm]")
    yield f"memory = {toml_text(vm['memory'])}  # all blocks of RAM, as the log's total"
    yield f"vcpus = {vm['vcpus']}  # assumed: no log shows it"
    yield 'filled = "list"'
    if "dirty_tracking" in vm:
        yield f"dirty_tracking = {toml_text(vm['dirty_tracking'])}  # cleared by chunks: the rounds fit better with it"
    for fill in vm["fill"]:
        yield from ("", "[[vm.fill]]  # sent as whole pages in the first pass")
        yield from (f"{key} = {toml_text(value)}" for key, value in fill.items())
    for load in vm.get("workload", []):
        yield from ("", *_workload(fitted, load))


def _workload(fitted: GuestFit, load: dict[str, Any]) -> Iterator[str]:
    kind = (
        "a sweep: the rounds ask for one" if load["pattern"] == "sequential" else "pages written independently of each other"
    )
    yield f"[[vm.workload]]  # {kind}"
    pages = int(load["size"].removesuffix("KiB")) * 1024 // PAGE_BYTES
    rate = float(load["write_rate"].removesuffix("/s"))
    notes = {
        "size": f"  # {count_words(pages)} pages",
        "write_rate": f"  # each page {rate / max(pages, 1):.3g} times a second",
        "pacing": f"  # {fitted.found.pace.words}",
    }
    yield from (f"{key} = {toml_text(value)}{notes.get(key, '')}" for key, value in load.items())
    if "pacing" not in load:
        seen = "" if fitted.found.pace.is_seen else "; assumed: the log has no throttled rounds"
        yield f'pacing = "closed"  # {fitted.found.pace.words}{seen}'


def _migration(fitted: GuestFit) -> Iterator[str]:
    bottleneck, table = fitted.setting.bottleneck, fitted.table()["migration"]
    told = {
        "bandwidth": f"  # {bottleneck.source}" if bottleneck and bottleneck.kind == "max-bandwidth" else "",
        "qemu": "  # by the bytes of a window, or assumed",
        "downtime_limit": _limit_source(fitted),
        "timeout": "  # assumed: twice the time of the log" if fitted.observed else "  # assumed",
    }
    yield from ("", "[migration]")
    yield from (f"{key} = {toml_text(value)}{told.get(key, '')}" for key, value in table.items())


def _limit_source(fitted: GuestFit) -> str:
    if not fitted.observed:
        return "  # QEMU's default"
    origin = {
        "given": "as given",
        "log": "from the log's first expected-downtime",
        "behaviour": "by when QEMU synced",
        "assumed": "assumed: QEMU's default",
    }
    return f"  # {origin[fitted.observed[0].evidence.downtime_limit_from]}"


def _rest(fitted: GuestFit) -> Iterator[str]:
    bottleneck, table = fitted.setting.bottleneck, fitted.table()
    source = "  # assumed" if bottleneck is None else f"  # {bottleneck.source}" if bottleneck.kind == "link" else ""
    yield from ("", "[link]", f"bandwidth = {toml_text(table['link']['bandwidth'])}{source}")
    yield f"latency = {toml_text(table['link']['latency'])}  # in the measured bandwidth already"
    yield from ("", "[host]")
    yield from (f"{key} = {toml_text(value)}" for key, value in table["host"].items())


def size_words(pages: float) -> str:
    """Pages as bytes."""
    return bytes_words(pages * PAGE_BYTES)
