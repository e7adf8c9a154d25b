"""Tables, pictures and sentences on KVM's dirty logging."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hostsim.report.charts.migration import dirty_log
from hostsim.report.charts.pictures import figure_of
from hostsim.report.html.registry import charts_of, run_content
from hostsim.report.tables import kvm_table, migration_tables
from hostsim.results import store
from hostsim.results.columns import names
from hostsim.results.kvm import KVM_ROUNDS
from hostsim.results.rounds import ROUNDS
from hostsim.verdict import diagnose, evidence_from_result, render
from hostsim.verdict.evidence import LoggingCost
from tests.helpers.kvm_synthetic import N_BUSY, WP_NS, kvm_migration
from tests.helpers.synthetic import migration, run_result
from tests.unit.test_report_tables import text_of


def test_what_the_rounds_cost_adds_up() -> None:
    found = kvm_migration()
    assert found.kvm is not None
    for column in KVM_ROUNDS:
        if column.dtype == "int64":
            assert found.rounds[column.name].sum() == found.kvm.logged[column.name]
    assert found.kvm.before["map_faults"] == 1000
    assert found.kvm.logged["map_faults"] == 0
    assert found.rounds["wp_faults"].tolist() == [100_000] * 10
    spans_ns = found.rounds["end_ns"] - found.rounds["start_ns"]
    assert found.rounds["stall_share"] == pytest.approx(100_000 * WP_NS / (spans_ns * N_BUSY))


def test_run_json_has_them_under_a_key_of_its_own() -> None:
    content = run_result(kvm_migration(), migration()).to_dict()
    assert [set(row) for row in content["rounds"][0]] == [set(names(ROUNDS))] * 10
    assert [row["round"] for row in content["kvm"][0]["rounds"]] == list(range(1, 11))
    assert set(content["kvm"][0]["rounds"][0]) == {"round", *names(KVM_ROUNDS)}
    assert content["kvm"][1] is None


def test_without_kvm_nothing_is_added() -> None:
    assert "kvm" not in run_result(migration()).to_dict()
    assert [chart.name for chart in charts_of(run_content(run_result(migration()), []))] == ["migration"]


def test_tables_of_files_have_them(tmp_path: Path) -> None:
    store.write_run(run_result(kvm_migration()), tmp_path / "out")
    head = (tmp_path / "out" / "rounds.csv").read_text().splitlines()[0]
    assert head.split(",") == names((*ROUNDS, *KVM_ROUNDS))
    assert (tmp_path / "out" / "series.csv").read_text().splitlines()[0].endswith(",guest_speed,guest_slowdown")


def test_the_table_shows_what_happened_alone() -> None:
    text = text_of(kvm_table(kvm_migration().rounds))
    head = text.splitlines()[1]
    assert head.split() == ["round", "wp", "flushes", "syncs", "host", "hold", "lock", "wait", "guest", "lost"]
    assert sum("100k" in line for line in text.splitlines()) == 10
    assert len(migration_tables(migration())) == 1
    assert len(migration_tables(kvm_migration())) == 2


def test_many_rounds_are_cut() -> None:
    assert "(12 of 50)" in text_of(kvm_table(kvm_migration(rounds=50).rounds))


def test_the_picture_names_what_it_draws() -> None:
    axes = figure_of(dirty_log(kvm_migration())).axes
    names = [{text.get_text() for text in one.get_legend().get_texts()} for one in axes]  # type: ignore[union-attr]
    assert names[0] >= {"work not done", "lost to exits"}
    assert names[1] == {"write protection"}
    assert names[2] == {"sync"}


def told(**options: int) -> str:
    return render(diagnose(evidence_from_result(run_result(kvm_migration(**options)))))


def test_the_verdict_tells_a_slowdown_that_matters() -> None:
    logging = told(wp_faults=1_000_000, sync_ns=1000).splitlines()[-1]
    spent = kvm_migration(wp_faults=1_000_000).kvm
    assert spent is not None
    percent = f"{100 * spent.logged['stall_share']:.2g} %"
    assert logging == f"Logging: the guest lost {percent} of its time to 10M write-protection faults."


def test_the_verdict_tells_syncs_that_take_long() -> None:
    logging = told(wp_faults=0, sync_ns=100_000_000).splitlines()[-1]
    assert logging.startswith("Logging: syncs and CLEARs took 1 s of the migration's ")


def test_what_is_not_worth_a_word_is_not_told() -> None:
    assert "Logging" not in told(wp_faults=100, sync_ns=1000)


def test_a_guest_that_loses_time_dirties_as_much_in_longer_time() -> None:
    found = kvm_migration(wp_faults=1_000_000)
    assert found.kvm is not None
    speed = 1 - found.kvm.logged["stall_share"]
    slowed = evidence_from_result(run_result(found)).curve
    nominal = evidence_from_result(run_result(replace(found, kvm=None))).curve
    assert slowed is not None
    assert nominal is not None
    assert speed < 0.9
    assert slowed(1.0) == pytest.approx(nominal(speed))


def test_waits_for_the_lock_are_named_where_they_are_much() -> None:
    evidence = evidence_from_result(run_result(kvm_migration()))
    cost = LoggingCost(10.0, 4.0, 0.2, 3.0, 0.0, {"wp_faults": 1, "split_faults": 200_000, "map_faults": 5_000_000})
    text = render(diagnose(replace(evidence, logging=cost)))
    assert "lost 20 % of its time to 5M map faults and 200k faults that split a large page, 75 % of it waiting" in text


def test_full_rings_are_named_however_few() -> None:
    evidence = evidence_from_result(run_result(kvm_migration()))
    cost = LoggingCost(10.0, 4.0, 0.2, 0.0, 0.0, {"wp_faults": 1_000_000, "ring_full": 12})
    text = render(diagnose(replace(evidence, logging=cost)))
    assert text.endswith("lost 20 % of its time to 1M write-protection faults and 12 full rings.")


@pytest.mark.parametrize("status", ["completed", "cancelled"])
def test_a_verdict_stays_within_eight_lines(status: str) -> None:
    result = run_result(kvm_migration(status=status, wp_faults=1_000_000, shrink=0.99))
    assert len(render(diagnose(evidence_from_result(result))).splitlines()) <= 8
