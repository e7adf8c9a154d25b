"""Charts of real KVM beside the simulation, from recorded measurements: no KVM is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hostsim.kvm.tally import Tally
from hostsim.measure.kvm.beside import Pair, as_row, sheet_line, verdict
from hostsim.measure.kvm.chain_costs import CHAINS, WORKS, ChainCosts
from hostsim.measure.kvm.host import KvmHost
from hostsim.measure.kvm.real_selftest import RealPhase, _median_of
from hostsim.measure.selftest.dirty_log_perf_test import CLEAR, DIRTY_MEMORY, ENABLE, Phase
from hostsim.report.beside import write_real
from hostsim.report.charts.chart import Bars, Panel
from hostsim.report.html.kinds.beside import chains_chart, phases_chart, simulated_phases_chart

pytestmark = pytest.mark.quick
HOST = KvmHost("shadow", pml=False, release="6.18.44-amd64", title="AMD EPYC, in a virtual machine", n_cpus=2)
PAGES = 16_384
RECORDED = {
    (ENABLE, 0): ((649_000, 640_100, 702_300), 531_620),
    (DIRTY_MEMORY, 1): ((39_860_000, 39_700_000, 41_020_000), 39_995_000),
    (CLEAR, 1): ((398_000, 392_000, 455_000), 394_040),
}
"""Three runs [ns] on a Zen 4 host with Linux 6.18, and the simulated phase."""
REAL_NS = {
    ("enable", 1): 42.41, ("enable", 2): 78.05, ("enable", 8): 215.9, ("enable", 16): 447.8, ("get", 1): 25.37,
    ("get", 2): 44.3, ("get", 8): 78.16, ("get", 16): 214.1, ("unmap", 1): 368.8, ("unmap", 2): 506.5, ("unmap", 8): 551.6,
    ("unmap", 16): 897.0,
}  # fmt: skip


def pairs() -> list[Pair]:
    return [
        Pair(
            _median_of([RealPhase(name, iteration, PAGES, ns, {"pf_taken": PAGES}) for ns in runs], 0),
            Phase(name, iteration, PAGES, Tally(now_ns=simulated)),
        )
        for (name, iteration), (runs, simulated) in RECORDED.items()
    ]  # fmt: skip


def costs() -> ChainCosts:
    modelled = {(work, k): 30.0 * k for work in WORKS for k in CHAINS}
    spread = {key: (0.9 * ns, 1.2 * ns) for key, ns in REAL_NS.items()}
    return ChainCosts(HOST, REAL_NS, spread, modelled, dict(modelled))


def test_a_phase_keeps_its_median_and_its_ends() -> None:
    found = pairs()[0].real
    assert (found.least_ns, found.ns, found.most_ns) == (640_100, 649_000, 702_300)
    assert as_row(pairs()[0])["real_most_ms"] == 0.7023


def test_a_phase_is_of_runs_on_cores_of_their_own_if_there_are_any() -> None:
    runs = [(30, 150), (31, 140), (24, 101)]
    shared = [RealPhase("clear dirty log", 1, PAGES, ns, {}, pace_ticks=ticks) for ns, ticks in runs]
    assert _median_of(shared, 100).ns == 24
    assert _median_of(shared[:2], 100).ns == 30.5


def test_the_verdict_names_phases_far_apart_and_phases_without_a_price() -> None:
    far = RealPhase(CLEAR, 2, PAGES, 8_000_000, {})
    free = RealPhase("disable logging", 0, PAGES, 1_900_000, {})
    simulated = (Phase(CLEAR, 2, PAGES, Tally(now_ns=4_000_000)), Phase("disable logging", 0, PAGES, Tally(now_ns=1)))
    told = list(verdict([*pairs(), *map(Pair, (far, free), simulated)]))
    assert told[1].startswith("further apart, simulated over real: clear dirty log 2 (0.50)")
    assert told[-1] == "without a price in the sheet: disable logging"
    assert len(list(verdict(pairs()))) == 1, "all agree, and everything has a price"


def test_a_sheet_of_another_machine_says_how_to_measure_this_one() -> None:
    (line,) = sheet_line("cascade-lake")
    assert "hostsim calibrate --kvm --out host.toml" in line
    assert list(sheet_line("host.toml")) == []


def phases() -> list[dict[str, Any]]:
    return [as_row(pair) for pair in pairs()]


def test_phases_are_drawn_with_both_sides_and_their_spread() -> None:
    chart = phases_chart(phases(), HOST.words)
    (bars,) = chart.panels
    assert isinstance(bars, Bars)
    assert bars.rows == ("enable logging", "dirty memory 1", "clear dirty log 1")
    (real_name, real), (simulated_name, simulated) = bars.groups
    assert (real_name, simulated_name) == ("real", "simulated")
    assert [bar.value for bar in simulated] == pytest.approx([ns / PAGES for _, ns in RECORDED.values()], rel=1e-3)
    assert (real[1].low, real[1].high) == pytest.approx((39_700_000 / PAGES, 41_020_000 / PAGES), rel=1e-3)
    assert HOST.words in chart.lead


def test_phases_that_were_only_simulated_are_drawn_too() -> None:
    rows = [{"phase": "dirty memory", "iteration": 2, "pages": 100, "duration_ns": 5000}, {"phase": "x", "duration_ns": 7}]
    (bars,) = simulated_phases_chart(rows).panels
    assert isinstance(bars, Bars)
    assert bars.rows == ("dirty memory 2", "x")
    assert [bar.value for bar in bars.groups[0][1]] == [50.0, 7.0]


def test_chains_are_drawn_a_panel_a_work() -> None:
    chart = chains_chart(list(costs().table().rows()), HOST.words)
    assert chart is not None
    assert [panel.title for panel in chart.panels] == ["enabling a log", "GET that protects", "unmapping"]
    first = chart.panels[0]
    assert isinstance(first, Panel)
    modelled = next(line for line in first.lines if line.name == "modelled rmap")
    assert modelled.x.tolist() == [*CHAINS]
    assert modelled.y.tolist() == [30.0 * k for k in CHAINS]


def test_a_host_without_chains_has_no_picture() -> None:
    assert chains_chart(list(ChainCosts(HOST, {}, {}, {}, {}).table().rows())) is None


def test_the_table_has_the_middle_half() -> None:
    row = next(iter(costs().table().rows()))
    assert (row["work"], row["sptes_a_page"], row["real_ns"]) == ("enable", 1, 42.41)
    assert (row["low_ns"], row["high_ns"]) == (38.17, 50.89)


def test_pictures_stand_beside_the_json(tmp_path: Path) -> None:
    told = {"host": HOST.words, "phases": phases(), "options": {}}
    paths = write_real(tmp_path / "mine", "selftest", "selftest", told)
    assert sorted(path.name for path in paths) == ["selftest.json", "selftest.png", "selftest.svg"]
    assert json.loads((tmp_path / "mine" / "selftest.json").read_text()) == told
    assert (tmp_path / "mine" / "selftest.png").read_bytes()[:4] == b"\x89PNG"
    again = write_real(tmp_path / "again", "selftest", "selftest", told)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]
