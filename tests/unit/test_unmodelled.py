"""A mechanism of QEMU that hostsim does not model is named as such: in errors and on the page of limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostsim.core.errors import InputError
from hostsim.scenario import Scenario, load_scenario
from hostsim.scenario.host_schema import Migration
from hostsim.scenario.unmodelled import UNMODELLED, limit_lines, mechanism_of
from hostsim.study.compare.axes import read_axes
from hostsim.study.compare.plan import Request, make_plan

VM = {"memory": "4MiB"}
NAMES = [(name, one.name) for one in UNMODELLED for name in one.parameters]


def refusal(key: str, value: object = True) -> str:
    with pytest.raises(InputError) as error:
        Scenario.model_validate({"vm": VM, "migration": {key: value}})
    return str(error.value)


@pytest.mark.parametrize(("parameter", "mechanism"), NAMES)
@pytest.mark.parametrize("spell", [str, lambda name: name.replace("-", "_"), lambda name: name.replace("-", "").upper()])
def test_every_parameter_of_qemu_is_known_by_name(parameter: str, mechanism: str, spell: type[str]) -> None:
    told = refusal(spell(parameter))
    assert f"got {mechanism}, which is not modelled yet" in told
    assert "what is modelled: pre-copy" in told


@pytest.mark.parametrize(
    ("key", "value", "mechanism"),
    [
        ("mode", "cpr-reboot", "CPR"),
        ("comp_methods", "mt", "compression by threads"), ("compression", "qatzip", "compression by a device"),
        ("tls", True, "TLS"), ("rdma", True, "RDMA"),
    ],
)  # fmt: skip
def test_other_spellings(key: str, value: object, mechanism: str) -> None:
    assert f"got {mechanism}, which is not modelled yet" in refusal(key, value)


@pytest.mark.parametrize(
    ("key", "value", "modelled"),
    [
        ("parallel", True, "multifd"), ("parallel-connections", 4, "multifd_channels"),
        ("zero_copy", True, "zero_copy_send"),
        ("capabilities", "x-multifd", "multifd"), ("comp_methods", "zstd", "multifd_compression"),
        ("comp_xbzrle_cache", "64MiB", "xbzrle_cache_size"), ("allowPostCopy", True, "postcopy_ram"),
        ("mode", "postcopy", "postcopy_ram"), ("live_migration_permit_post_copy", True, "postcopy_ram"),
        ("comp_methods", "xbzrle", "xbzrle"),
        ("comp-zstd-level", 3, "multifd_zstd_level"),
    ],
)  # fmt: skip
def test_names_of_other_layers_point_to_the_key_that_is_modelled(key: str, value: object, modelled: str) -> None:
    assert f"got another name of '{modelled}', wanted '{modelled}'" in refusal(key, value)
    assert modelled in Migration.model_fields


def test_a_table_of_a_mechanism() -> None:
    with pytest.raises(InputError, match="got RDMA, which is not modelled yet"):
        Scenario.model_validate({"vm": VM, "rdma": {"pin": True}})


def test_a_key_that_is_only_misspelled_is_not_taken_for_a_mechanism() -> None:
    assert "'downtime_limit' (the nearest valid key)" in refusal("downtime", "1s")
    assert "'bandwidth' (the nearest valid key)" in refusal("max-bandwidth", "1GB/s")
    with pytest.raises(InputError, match=r"vm\.mmu\.mode"):
        Scenario.model_validate({"vm": VM | {"mode": "tdp"}})


def test_no_key_that_is_modelled_is_listed() -> None:
    names = {name.replace("-", "_") for one in UNMODELLED for name in (one.name, *one.parameters, *one.also)}
    assert not names & set(Migration.model_fields)
    assert mechanism_of("auto-converge") is None


def test_set_and_vary_say_so_too(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('[vm]\nmemory = "4MiB"\n[migration]\n')
    with pytest.raises(InputError, match=r"^--set: migration\.rdma: got RDMA, which is not modelled yet"):
        load_scenario(path, ["migration.rdma=true"])
    with pytest.raises(InputError, match=r"^--vary: migration\.background_snapshot: got background-snapshot, which"):
        make_plan(Request(path, read_axes(["migration.background_snapshot=true,false"])))


def test_the_limits_have_a_line_each_with_the_names_of_qemu() -> None:
    lines = list(limit_lines())
    assert len(lines) == len(UNMODELLED)
    assert "- **TLS**: the stream is encrypted (`tls-creds`, `tls-hostname`, `tls-authz`)" in lines
