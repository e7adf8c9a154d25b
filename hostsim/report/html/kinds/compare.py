"""The page of a comparison or a sweep: best figures, small multiples, heat maps, differences from the first row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hostsim.report.charts.chart import words
from hostsim.report.charts.compare import compare_chart, ended, figures_shown, heat_maps, quantity_of
from hostsim.report.columns import Column, Grid, Role
from hostsim.report.compare_words import TITLES, figure_words
from hostsim.report.html.kinds.parts import command_words, lines_card, noted, origin_of, sections_of
from hostsim.report.html.page import Content, Drawn, Page, Section, Tabled, Tile, Tone
from hostsim.report.tables import NONE
from hostsim.study.compare.modes import KEY

ROWS_MAX = 200
NO_CONVERGING = "ran"


def compare_page(content: Content) -> Page:
    """The page of compare.json."""
    main, notes = content.main, list[str]()
    lines = list(main.get("verdict") or ())
    combinations = main["combinations"]
    good = sum(bool(one["converges"]) for one in combinations)
    tone: Tone = "good" if good == len(combinations) else "open" if good else "bad"
    return Page(
        title=f"{main['name']}: {' and '.join(axis['key'] for axis in main['axes'])}",
        kicker=f"hostsim comparison, {len(combinations)} combinations, {_seeds(main)}",
        cards=(lines_card(lines, tone, f"{good} of {len(combinations)} converge" if _migrates(main) else "ran"),),
        tiles=tuple(_tiles(main)),
        sections=sections_of(
            notes,
            ("Figures", lambda: Section("Figures side by side", (Drawn(compare_chart(main)),))),
            ("Maps", lambda: Section("Maps", tuple(Drawn(chart) for chart in heat_maps(main)))),
            ("Differences", lambda: _differences(main)),
            ("Runs", lambda: Section("Runs", (Tabled(runs_grid(main), "Every run with its seed and figures"),))),
        ),
        origin=origin_of({**content.origin, "seeds": main.get("seeds")}),
        command=_command(content),
        notes=noted(content, notes),
    )


def _migrates(main: Mapping[str, Any]) -> bool:
    return any(status != NO_CONVERGING for one in main["combinations"] for status in one["statuses"])


def _seeds(main: Mapping[str, Any]) -> str:
    seeds: list[int] = main.get("seeds") or []
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds"


def _tiles(main: Mapping[str, Any]) -> Iterator[Tile]:
    for best in main.get("best") or ():
        settings = ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in best["settings"].items())
        noise = len(best.get("within_noise") or ())
        aside = f"with {settings}{f'; {noise} more within noise' if noise else ''}"
        yield Tile(f"least {TITLES.get(best['figure'], best['figure'])}", figure_words(best["figure"], best["value"]), aside)


def _differences(main: Mapping[str, Any]) -> Section:
    """A line a combination: each figure, its ratio to the first row that has it, and whether chance may explain it."""
    keys, names = [axis["key"] for axis in main["axes"]], figures_shown(main)
    heads = [*keys, "converges", *(head for name in names for head in (TITLES[name], "against the first"))]
    rows = [
        (*(one["settings"][key] for key in keys), ended(one), *(cell for name in names for cell in _cells(one, name)))
        for one in main["combinations"][:ROWS_MAX]
    ]
    roles = [Role.KEY] * len(keys) + [Role.FIGURE] * (len(heads) - len(keys))
    columns = tuple(Column(f"{place}", head, role=role) for place, (head, role) in enumerate(zip(heads, roles, strict=True)))
    lead = "Differences of paired runs with equal seeds. Within noise: the interval of the differences contains 0."
    return Section("Differences", (Tabled(Grid(columns, tuple(rows)), "Differences", folded=False),), lead)


def _cells(one: Mapping[str, Any], name: str) -> tuple[str, str]:
    spread = one["figures"].get(name)
    if spread is None:
        return NONE, NONE
    factor, quantity = quantity_of(name)
    against = spread.get("against_baseline") or {}
    ratio = against.get("ratio")
    if ratio is None:
        return words(factor * spread["mean"], quantity), NONE
    effect = "within noise" if against["effect"] == "within noise" else against["effect"]
    return words(factor * spread["mean"], quantity), f"{ratio:.3g}x, {effect}"


def runs_grid(main: Mapping[str, Any]) -> Grid:
    """A line a run with its seed and figures."""
    keys, names = [axis["key"] for axis in main["axes"]], figures_shown(main)
    columns = tuple(Column(head, head) for head in (*keys, "seed", "ended", *(TITLES[name] for name in names)))
    rows = []
    for run in main["runs"][:ROWS_MAX]:
        figures = run.get("figures") or {"status": "failed"}
        told = (NONE if figures.get(name) is None else figure_words(name, figures[name]) for name in names)
        rows.append((*(run["settings"][key] for key in keys), str(run["seed"]), str(figures["status"]), *told))
    left_out = len(main["runs"]) - len(rows)
    return Grid(columns, tuple(rows), f"Runs ({left_out} more are in runs.csv)" if left_out else "Runs")


def _command(content: Content) -> str:
    """The command that repeats the study, from provenance.json; of a sweep the comparison that the sweep expands to."""
    origin = content.origin
    if "vary" not in origin or "file" not in origin:
        return ""
    command = ["hostsim", "compare", origin["file"]]
    for key, values in origin["vary"].items():
        listed = ",".join(map(_value, values))
        command += ["--modes", listed] if key == KEY else ["--vary", f"{key}={listed}"]
    for text in origin.get("set") or ():
        command += ["--set", text]
    seeds = origin.get("seeds") or [1]
    command += ["--seed", str(seeds[0])] if seeds[0] != 1 else []
    return command_words(command + (["--seeds", str(len(seeds))] if len(seeds) > 1 else []))


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def unfinished_page(content: Content) -> Page:
    """The page of a comparison that was interrupted: the runs that are finished."""
    runs = content.main["runs"]
    names = [name for name in TITLES if any(run.get(name) is not None for run in runs)]
    columns = tuple(Column(head, head) for head in ("run", "ended", *(TITLES[name] for name in names)))
    rows = tuple(
        (run["key"], str(run.get("status")),
         *(NONE if run.get(name) is None else figure_words(name, run[name]) for name in names)) for run in runs
    )  # fmt: skip
    head = f"this study is not finished: {len(runs)} runs of it are"
    advice = "The command that began it goes on from there; then the report has verdict and figures."
    return Page(
        title="An unfinished study", kicker="hostsim comparison", cards=(lines_card([head, advice], "open", "interrupted"),),
        sections=(Section("Finished runs", (Tabled(Grid(columns, rows), "Finished runs", folded=False),)),),
        notes=content.notes,
    )  # fmt: skip
