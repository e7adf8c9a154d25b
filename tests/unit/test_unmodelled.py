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
        ("multifd-frobs", 3, "multifd"), ("parallel-connections", 4, "multifd"), ("capabilities", "x-multifd", "multifd"),
        ("mode", "cpr-reboot", "CPR"), ("comp_methods", "zstd", "compression"),
        ("tls", True, "TLS"), ("rdma", True, "RDMA"),
    ],
)  # fmt: skip
def test_other_spellings(key: str, value: object, mechanism: str) -> None:
    assert f"got {mechanism}, which is not modelled yet" in refusal(key, value)


def test_a_table_of_a_mechanism() -> None:
    with pytest.raises(InputError, match="got multifd, which is not modelled yet"):
        Scenario.model_validate({"vm": VM, "multifd": {"channels": 3}})


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
    with pytest.raises(InputError, match=r"^--set: migration\.multifd: got multifd, which is not modelled yet"):
        load_scenario(path, ["migration.multifd=true"])
    with pytest.raises(InputError, match=r"^--vary: migration\.xbzrle: got XBZRLE, which is not modelled yet"):
        make_plan(Request(path, read_axes(["migration.xbzrle=true,false"])))


def test_the_limits_have_a_line_each_with_the_names_of_qemu() -> None:
    lines = list(limit_lines())
    assert len(lines) == len(UNMODELLED)
    assert "- **multifd**: several connections and threads send pages (`multifd`, `multifd-channels`" in lines[0]
