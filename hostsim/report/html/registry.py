"""Kinds of results, each said once: the file by which its folder is known, its tables, and the maker of its page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hostsim.core.errors import InputError, Problem
from hostsim.core.user_files import read_bytes
from hostsim.report.charts.chart import Chart
from hostsim.report.charts.files import folder_pictures
from hostsim.report.drawing import has_plots
from hostsim.report.html.page import Content, Page
from hostsim.report.verdict_texts import verdict_file
from hostsim.results.encode import json_bytes
from hostsim.results.provenance import provenance
from hostsim.results.read import MALFORMED, RESULT, read_folder, read_object, read_run, read_table
from hostsim.results.tables import RunResult, Table, plain

KINDS_ROOM = "hostsim.report.html.kinds"
RUNS = "runs"
"""The folder of finished runs in that of a study."""


@dataclass(frozen=True)
class Kind:
    """A kind of result.

    page: module of hostsim.report.html.kinds and function that makes the page of a ``Content``.
    main: the file in the folder of such a result that holds the whole result; "" if no command writes a folder.
    tables: stems of CSV files that the page reads.
    listed: key of ``Content.main`` for a file whose JSON is a list.
    """

    page: str
    main: str = ""
    tables: tuple[str, ...] = ()
    listed: str = ""

    def make(self, content: Content) -> Page:
        """The page of ``content``."""
        module, _, function = self.page.partition(":")
        made: Callable[[Content], Page] = getattr(import_module(f"{KINDS_ROOM}.{module}"), function)
        return made(content)


KINDS: Mapping[str, Kind] = {
    "run": Kind("run:run_page", "run.json"),
    "compare": Kind("compare:compare_page", "compare.json"),
    "age": Kind("studies:age_page", "age.json", ("latencies",)),
    "reclaim": Kind("studies:reclaim_page", "reclaim.json", ("latencies",)),
    "debate": Kind("studies:debate_page", "debate.json", ("curves",)),
    "predict": Kind("predict:predict_page", "predict.json"),
    "whatif": Kind("predict:whatif_page", "whatif.json", ("curve",)),
    "solve": Kind("solve:solve_page", "solve.json"),
    "fit": Kind("fit:fit_page", "fit.json", ("curve",)),
    "measure-dirty": Kind("measured:measure_page", "measure-dirty.json"),
    "auto-converge": Kind("tuning:tuning_page", "auto-converge.json"),
    "selftest": Kind("beside:selftest_page", "selftest.json"),
    "chains": Kind("beside:chains_page", "real-chains.json"),
    "validate": Kind("beside:validate_page", "rows.json", listed="rows"),
    "explain": Kind("beside:explain_page"),
    "calibrate": Kind("beside:calibrate_page"),
    "unfinished": Kind("compare:unfinished_page"),
}  # fmt: skip
"""A folder is of the first kind whose file it has. A new kind is a line here and a function."""


def page_of(content: Content) -> Page:
    """The page of a result. InputError where its main part is of another form than hostsim writes."""
    try:
        return KINDS[content.kind].make(content)
    except MALFORMED as error:
        file = KINDS[content.kind].main or content.kind
        got = f"content of another form ({type(error).__name__}: {str(error)[:80]})"
        raise InputError([Problem(file, "", got, "a result as this version of hostsim writes it")]) from error


def read_content(folder: Path) -> Content:
    """The result in ``folder``, as far as it can be read. InputError if there is none."""
    files = read_folder(folder)
    name = next((name for name, kind in KINDS.items() if kind.main in files), "")
    if name and name != "run":
        return _study(name, files, folder)
    if name == "run" or {"series.csv", "rounds.csv", "memory_series.csv"} & files.keys():
        return _run(files)
    if (folder / RUNS).is_dir() and (found := _finished(folder / RUNS)):
        return Content("unfinished", {"runs": found}, notes=("The study was interrupted before its results were written.",))
    known = ", ".join(kind.main for kind in KINDS.values() if kind.main)
    got = f"no result ({', '.join(sorted(files)[:4]) or 'no file of hostsim'})"
    raise InputError([Problem(str(folder), "", got, f"a folder with one of {known}", RESULT.example)])


def run_content(result: RunResult, verdicts: Sequence[str]) -> Content:
    """The content of a run that is in memory; verdicts: as verdict.txt has them. Keys stand in the order of JSON files."""
    text = "".join(content.decode() for content in verdict_file(verdicts).values())
    return Content("run", {}, texts={"verdict.txt": text}, origin=json.loads(json_bytes(provenance(result))),
                   result=replace(result, scenario=json.loads(json_bytes(plain(result.scenario)))))  # fmt: skip


def folder_content(
    kind: str, told: Mapping[str, Any], origin: Mapping[str, Any], tables: Mapping[str, Table] = MappingProxyType({})
) -> Content:  # fmt: skip
    """The content of a study that is in memory, as ``read_content`` reads it from the files that the command writes.

    told: content of its main file. origin: content of provenance.json. tables: by name.
    """
    main, read = (json.loads(json_bytes(plain(one))) for one in (told, origin))
    return Content(kind, main, tables, origin=read)


def charts_of(content: Content) -> list[Chart]:
    """Every chart of the report on ``content``."""
    return page_of(content).charts


def _run(files: Mapping[str, bytes]) -> Content:
    result, notes = read_run(files)
    if not result.migrations and not result.scenario and result.host is None:
        raise InputError([Problem("run.json", "", "; ".join(notes), "the result of a run", RESULT.example)])
    return Content("run", {}, texts=_texts(files), notes=tuple(notes), origin=_origin(files), result=result)


def _texts(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: content.decode("utf-8", "replace") for name, content in files.items() if name.endswith((".txt", ".toml"))}


def _origin(files: Mapping[str, bytes]) -> dict[str, Any]:
    return read_object(files, "provenance.json", [])


def _study(name: str, files: Mapping[str, bytes], folder: Path) -> Content:
    kind, notes = KINDS[name], list[str]()
    try:
        main = json.loads(files[kind.main])
    except (ValueError, RecursionError) as error:
        wanted = "the JSON that hostsim wrote; the command that wrote it goes on with its finished runs"
        raise InputError([Problem(str(folder / kind.main), "", f"broken JSON: {error}", wanted)]) from error
    tables = {stem: table for stem in kind.tables if (table := read_table(files, stem, notes)) is not None}
    notes += [f"{stem}.csv is missing" for stem in kind.tables if stem not in tables]
    content = {kind.listed: main} if kind.listed else main
    return Content(name, content, tables, _texts(files), tuple(notes), _origin(files))


def _finished(folder: Path) -> list[dict[str, Any]]:
    """Key and figures of each finished run."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            told = json.loads(read_bytes(path, RESULT))
            found.append({"key": path.stem, **told["figures"]})
        except MALFORMED:
            continue
    return found


def pictures_of(content: Content, first: str = "") -> dict[str, bytes]:
    """PNG and SVG of each chart of the report on ``content``; nothing without matplotlib.

    first: the stem of the first chart's files, which then begins the stems of the others; "": each has its chart's name.
    """
    if not has_plots():
        return {}
    page = page_of(content)
    return folder_pictures(page.charts, page.title, first)
