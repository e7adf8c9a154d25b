"""``hostsim validate --suite kvm --measure``: real migrations on this host, and their simulations beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from hostsim.cli.report_files import NO_REPORT, ReportFiles

if TYPE_CHECKING:
    from hostsim.measure.qemu.measure import Measurement
    from hostsim.validation.rows import Row

CASES, RATES, SHEET, ROWS = "cases.jsonl", "dirty_rate.json", "costs.toml", "rows.json"
BASE = "cascade-lake"
"""Lends to the measured sheet what cannot be measured, as ``hostsim calibrate`` does."""


@dataclass(frozen=True)
class MeasureOptions:
    """Options of --measure.

    sheet: costs of this host, "": measured first.
    repeats: of each migration.
    out: folder of the files.
    reports: files of a report that were asked for.
    busy: accept a machine on which other processes work.
    """

    sheet: str
    repeats: int
    out: Path
    busy: bool
    quiet: bool
    reports: ReportFiles = NO_REPORT


def measure_and_simulate(options: MeasureOptions) -> tuple[Measurement, list[Row], str]:
    """(the measurement, its rows, name of the sheet); each part's files are written when it is done.

    Raises KvmError and QemuError where KVM or QEMU is missing, before anything takes time.
    """
    from hostsim.measure.qemu.measure import tsc_hz_of_host
    from hostsim.measure.qemu.process import find_qemu
    from hostsim.results.aside import check_folder, write_files

    find_qemu()
    tsc_hz_of_host()
    check_folder(options.out)
    sheet = _sheet(options)
    found = _measured(options)
    rates = [rate.as_object() for rate in found.dirty_rates]
    cases = "".join(json.dumps(case) + "\n" for case in found.cases)
    write_files(options.out, {CASES: cases.encode(), RATES: _text(rates)})
    rows = _rows(found, sheet, quiet=options.quiet)
    write_files(options.out, {ROWS: _text([as_object(row) for row in rows])})
    return found, rows, sheet


def _text(told: Any) -> bytes:
    return (json.dumps(told, indent=2) + "\n").encode()


def _sheet(options: MeasureOptions) -> str:
    """The sheet that was given, or that of this host, measured now."""
    from hostsim.costs.costs import load_costs
    from hostsim.measure.calibrate.calibration import calibrate
    from hostsim.measure.calibrate.sheet_text import sheet_text
    from hostsim.measure.kvm.calibrate_kvm import calibrate_kvm, with_kvm
    from hostsim.measure.kvm.device import Kvm
    from hostsim.report.progress import work_progress
    from hostsim.results.aside import write_files

    if options.sheet:
        load_costs(options.sheet)
        return options.sheet
    with work_progress((), quiet=options.quiet), Kvm.open() as kvm:
        real = calibrate_kvm(kvm, quick=True, busy=options.busy)
        text = sheet_text(with_kvm(calibrate(BASE, quick=True), real))
    (path,) = write_files(options.out, {SHEET: text.encode()})
    return str(path)


def _measured(options: MeasureOptions) -> Measurement:
    from hostsim.measure.qemu.measure import measure, n_steps
    from hostsim.measure.qemu.plan import PLAN, RATE_MODES
    from hostsim.report.progress import steps_progress

    with steps_progress(n_steps(PLAN, options.repeats, tuple(RATE_MODES)), quiet=options.quiet) as step:
        return measure(repeats=options.repeats, busy=options.busy, progress=step)


def _rows(found: Measurement, sheet: str, *, quiet: bool) -> list[Row]:
    from hostsim.report.progress import steps_progress
    from hostsim.validation.kvm_measured import case_of, measured_rows, rate_rows

    cases = [case_of(raw) for raw in found.cases]
    with steps_progress(len(cases), quiet=quiet, kinds=("kvm",)) as step:
        return [*measured_rows(cases, sheet, step), *rate_rows(found.dirty_rates)]


def as_object(row: Row) -> dict[str, Any]:
    """A row with ``real``, ``simulated`` and their ``ratio`` in the terms of JSON."""
    from hostsim.report.beside import ratio_of

    fields = row.to_dict()
    return {"real": fields.pop("expected"), "simulated": fields.pop("got"), "ratio": ratio_of(row), **fields}


def show_rows(
    options: MeasureOptions, found: Measurement, rows: Sequence[Row], sheet: str, *, as_json: bool, wide: bool
) -> None:
    """Print JSON, or a table of real, simulated and ratio, then refusals and mechanisms that are not modelled.

    options: its reports are written first. found: cases and refusals of the measurement.
    rows: simulated beside real. sheet: name of the cost sheet. as_json: print JSON alone. wide: print all columns.
    """
    from hostsim.measure.kvm.host import read_host
    from hostsim.report.beside import beside_grid, measured_lines
    from hostsim.report.console import PLAIN_WIDTH, say, say_raw, say_wrapped, show

    about = {"rows": [as_object(row) for row in rows], "host": read_host().words, "sheet": sheet}
    page = options.reports.of_object("validate", about)
    files = [str(options.out / name) for name in (CASES, RATES, ROWS)] + [str(path) for path in page]
    if as_json:
        told = {"host": read_host().words, "sheet": sheet, "repeats": options.repeats, "foreign_share": found.foreign_share,
                "refused": found.refused, "files": files, "rows": [as_object(row) for row in rows]}  # fmt: skip
        say_raw(json.dumps(told, indent=2) + "\n")
        return
    versions = {case["inputs"]["qemu_version"] for case in found.cases}
    say_wrapped([f"real: {read_host().words}, QEMU {', '.join(sorted(versions))}", f"simulated: sheet {sheet}", ""])
    show(beside_grid(rows), wide=wide)
    lines = [*measured_lines(rows), *(f"refused here: {name}: {why}" for name, why in found.refused.items())]
    lines += _busy(found)
    say(["", *(part for line in lines for part in wrap(line, PLAIN_WIDTH, subsequent_indent="  "))])
    say(["", *(f"wrote {name}" for name in files)])


def _busy(found: Measurement) -> list[str]:
    from hostsim.measure.kvm.rules import BUSY_SHARE

    share = found.foreign_share
    return [f"the machine was busy: other processes took {share:.0%} of it; accepted"] if share > BUSY_SHARE else []
