"""A study file: the plan that it describes, and all its problems at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostsim.core.errors import InputError
from hostsim.study.compare.plan import make_plan
from hostsim.study.compare.study_file import load_study, toml_text
from tests.helpers.command import QUICK

STUDY = """\
scenario = "deep/quick.toml"
replications = 3
seed = 5

[set]
vm.vcpus = 2

[vary]
migration.bandwidth = ["16MiB/s", "32MiB/s"]
"vm.workload.0.vcpus" = ["0", [0, 1]]
"""


def write(folder: Path, text: str) -> Path:
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "deep" / "quick.toml").write_text(QUICK)
    (folder / "study.toml").write_text(text)
    return folder / "study.toml"


def test_a_study_says_what_is_run(tmp_path: Path) -> None:
    plan = make_plan(load_study(write(tmp_path, STUDY)))
    assert (plan.name, plan.seeds, len(plan.runs)) == ("study", (5, 6, 7), 12)
    assert plan.combinations[:2] == (("16MiB/s", "0"), ("16MiB/s", "[0, 1]"))
    assert [run.scenario.vm.workload[0].vcpus for run in plan.runs[:6]] == [(0,)] * 3 + [(0, 1)] * 3
    assert plan.runs[0].scenario.vm.vcpus == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"), (2.5, "2.5"), (True, "true"), ("a, b", '"a, b"'), ('"', '"\\""'), ([1, "x"], '[1, "x"]'),
        ({"start": "1s", "on": False}, '{"start" = "1s", "on" = false}'),
    ],
)  # fmt: skip
def test_values_are_written_as_toml(value: object, text: str) -> None:
    assert toml_text(value) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "scenario: got nothing"),
        ("[vary", "broken TOML"),
        (STUDY.replace("replications", "replication"), "replication: got an unknown key, wanted 'replications'"),
        (STUDY.replace("= 3", '= "3"'), "replications: got '3', wanted a whole number of seeds"),
        (STUDY.replace("= 3", "= 0"), "replications: got 0"),
        (STUDY.replace("= 3", "= true"), "replications: got True"),
        (STUDY.replace('["16MiB/s", "32MiB/s"]', '"16MiB/s"'), "vary.migration.bandwidth: got '16MiB/s', wanted an array"),
        (STUDY.replace('["16MiB/s", "32MiB/s"]', "[]"), "vary.migration.bandwidth: got []"),
        (STUDY.replace('"32MiB/s"', '"16MiB/s"'), "wanted each value once"),
        (STUDY.replace("migration.bandwidth", "vm.vcpus"), "vm.vcpus: got a key that --set has too"),
        (STUDY.replace("migration.bandwidth", "seed"), "seed: got the seed"),
        (STUDY.replace("migration.bandwidth", '"no key"'), "wanted a dotted key"),
        ('scenario = "x.toml"\n[vary]\n', "vary: got no key"),
    ],
)
def test_what_is_wrong_with_a_study(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_study(path)
    assert says in str(caught.value)
    assert all(problem.file == str(path) for problem in caught.value.problems)


def test_what_is_wrong_with_its_keys_is_told_of_the_study(tmp_path: Path) -> None:
    path = write(tmp_path, STUDY.replace("bandwidth", "bandwith").replace("vm.vcpus", "vm.vcpu"))
    with pytest.raises(InputError) as caught:
        make_plan(load_study(path))
    places = {(problem.file, problem.key) for problem in caught.value.problems}
    assert {(str(path), "migration.bandwith"), (str(path), "vm.vcpu")} <= places


def test_a_study_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_study(tmp_path / "gone.toml")
