"""Values of --vary: split at commas, not inside quotes and brackets; what cannot be varied is said all at once."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.core.errors import InputError
from hostsim.scenario.overrides import apply_overrides
from hostsim.study.compare.axes import Axis, read_axes, split_values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a", ["a"]),
        ("1Gbit/s, 10Gbit/s ,25Gbit/s", ["1Gbit/s", "10Gbit/s", "25Gbit/s"]),
        ('"0-3,8",all', ['"0-3,8"', "all"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ("[0,1],[2]", ["[0,1]", "[2]"]),
        ("[[0,1],[2]],3", ["[[0,1],[2]]", "3"]),
        ('{start="1s",length="2s"},{length="1s"}', ['{start="1s",length="2s"}', '{length="1s"}']),
        ('["a]","b,"],c', ['["a]","b,"]', "c"]),
        (r'"a\",b",c', [r'"a\",b"', "c"]),
        (r"'a\',b", [r"'a\'", "b"]),
        ("it's,fine", ["it's", "fine"]),
        ("a,,b", ["a", "", "b"]),
        ("", [""]),
    ],
)
def test_values_are_split_at_commas_that_are_not_enclosed(text: str, values: list[str]) -> None:
    assert split_values(text) == values


@pytest.mark.parametrize("text", ['"a,b', "'a", "[a,b", "{a=1", '["a,b]', "[[a],b"])
def test_what_is_not_closed_is_refused(text: str) -> None:
    assert split_values(text) is None
    with pytest.raises(InputError, match="every quote and bracket closed"):
        read_axes([f"a.b={text}"])


PRINTABLE = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12)


@given(st.lists(PRINTABLE, min_size=1, max_size=5, unique=True))
def test_quoted_values_come_back_whatever_they_hold(values: list[str]) -> None:
    (axis,) = read_axes([f"a.b={','.join(map(json.dumps, values))}"])
    tables = [dict[str, object]() for _ in values]
    for table, override in zip(tables, axis.overrides, strict=True):
        apply_overrides(table, [override])
    assert tables == [{"a": {"b": value}} for value in values]


def test_keys_are_written_in_one_way() -> None:
    (axis,) = read_axes(["vm.workload.0.size=1MiB,2MiB"])
    assert axis == Axis("vm.workload[0].size", ("1MiB", "2MiB"), ("1MiB", "2MiB"))
    assert axis.overrides == ("vm.workload[0].size=1MiB", "vm.workload[0].size=2MiB")


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["a.b"], "wanted KEY=VALUE,VALUE"),
        (["=1,2"], "wanted KEY=VALUE,VALUE"),
        (["a b=1"], "wanted KEY=VALUE,VALUE"),
        (["a.b="], "a.b: got an empty value"),
        (["a.b=1,,2"], "a.b: got an empty value"),
        (["a.b=1,1"], "a.b: got '1' 2 times"),
        (["a.b=1", "a.b=2"], "a.b: got the key twice"),
        (["a.0.b=1", "a[0].b=2"], "a[0].b: got the key twice"),
        (["seed=1,2"], "seed: got the seed, wanted --seeds K"),
        (["x.y=1"], "x.y: got a key that --set has too"),
    ],
)
def test_what_cannot_be_varied(texts: list[str], says: str) -> None:
    with pytest.raises(InputError) as caught:
        read_axes(texts, ["x.y=3"])
    assert says in str(caught.value)
    assert len(caught.value.problems) == 1


def test_all_is_said_at_once() -> None:
    with pytest.raises(InputError) as caught:
        read_axes(["a.b=1,1", "c", "seed=1", "d.e=[1"])
    assert len(caught.value.problems) == 4
