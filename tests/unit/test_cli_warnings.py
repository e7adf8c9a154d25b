"""Warnings as users see them: after the headline, by themselves without a migration, and in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hostsim.cli.run_scenario import Options, run_scenario

TOO_FAST = "vCPU 0 of vm touches 1T pages/s, but a core touches at most 125M pages/s"
GUEST = '[vm]\nmemory = "16MiB"\n[[vm.workload]]\npattern = "uniform"\nsize = "4MiB"\nwrite_rate = "1000G/s"\n'
MIGRATION = '[migration]\nprofile = "libvirt"\n[link]\nbandwidth = "100Gbit/s"\n'


def told(path: Path, text: str, capsys: pytest.CaptureFixture[str], *, as_json: bool = False) -> str:
    file = path / "fast.toml"
    file.write_text(f'duration = "300ms"\n{text}')
    assert run_scenario(Options(file, as_json=as_json, write_files=False, quiet=True)) == 0
    return capsys.readouterr().out


def test_a_run_without_migration_opens_with_its_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(tmp_path, GUEST, capsys).splitlines()
    assert lines[0].startswith(f"Warning: {TOO_FAST}")
    assert sum(line.startswith("Warning:") for line in lines) == 1


def test_a_verdict_has_each_warning_after_its_headline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(tmp_path, GUEST + MIGRATION, capsys).splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["VERDICT", "Warning", "Warning"]
    assert lines[1].startswith(f"Warning: {TOO_FAST}")
    assert "one stream sends up to 15.8 Gbit/s here" in lines[2]


def test_json_has_the_same_warnings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = json.loads(told(tmp_path, GUEST + MIGRATION, capsys, as_json=True))["warnings"]
    assert first.startswith(TOO_FAST)
    assert second.endswith("the answer rests on host.page_send_ns = 2080")
    ordinary = GUEST.replace("1000G/s", "1000/s")
    assert json.loads(told(tmp_path, ordinary, capsys, as_json=True))["warnings"] == []
