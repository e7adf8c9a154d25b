"""Pictures of real KVM beside the simulation, from recorded measurements: no KVM is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hostsim.kvm.tally import Tally
from hostsim.measure.kvm.beside import Pair, as_row
from hostsim.measure.kvm.chain_costs import CHAINS, WORKS, ChainCosts
from hostsim.measure.kvm.host import KvmHost
from hostsim.measure.kvm.real_selftest import RealPhase, _median_of
from hostsim.measure.selftest.dirty_log_perf_test import CLEAR, DIRTY_MEMORY, ENABLE, Phase
from hostsim.report.real_plot import around, draw_chains, draw_phases, write_real

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
            _median_of([RealPhase(name, iteration, PAGES, ns, {"pf_taken": PAGES}) for ns in runs]),
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


def test_bars_reach_to_the_ends_and_never_backwards() -> None:
    assert around([5, 5], [4, 6], [9, 5]) == [[1, 0], [4, 0]]


def test_phases_are_drawn_with_both_sides_and_their_spread() -> None:
    (axes,) = draw_phases(pairs(), HOST.told).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["enable logging", "dirty memory 1", "clear dirty log 1"]
    real, simulated = (axes.get_legend_handles_labels()[0][i] for i in (1, 0))
    assert list(simulated.get_xdata()) == pytest.approx([ns / PAGES for _, ns in RECORDED.values()])
    (whiskers,) = real.lines[2]
    ends = [segment[:, 0].tolist() for segment in whiskers.get_segments()]
    assert ends[1] == pytest.approx([39_700_000 / PAGES, 41_020_000 / PAGES])


def test_chains_are_drawn_a_panel_a_work() -> None:
    figure = draw_chains(costs())
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["enabling a log", "GET that protects", "unmapping"]
    modelled = next(line for line in figure.axes[0].lines if line.get_label() == "modelled rmap")
    assert list(modelled.get_xdata()) == [*CHAINS]
    assert list(modelled.get_ydata()) == [30.0 * k for k in CHAINS]


def test_a_host_without_chains_has_an_empty_picture() -> None:
    assert draw_chains(ChainCosts(HOST, {}, {}, {}, {})).axes[0].lines[:] == []


def test_the_table_has_the_middle_half() -> None:
    row = next(iter(costs().table().rows()))
    assert (row["work"], row["sptes_a_page"], row["real_ns"]) == ("enable", 1, 42.41)
    assert (row["low_ns"], row["high_ns"]) == (38.17, 50.89)


def test_pictures_stand_beside_the_json(tmp_path: Path) -> None:
    paths = write_real(tmp_path / "mine", "selftest", {"host": HOST.told}, lambda: draw_phases(pairs(), HOST.told))
    assert sorted(path.name for path in paths) == ["selftest.json", "selftest.png", "selftest.svg"]
    assert json.loads((tmp_path / "mine" / "selftest.json").read_text()) == {"host": HOST.told}
    assert (tmp_path / "mine" / "selftest.png").read_bytes()[:4] == b"\x89PNG"
    again = write_real(tmp_path / "again", "selftest", {"host": HOST.told}, lambda: draw_phases(pairs(), HOST.told))
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]
