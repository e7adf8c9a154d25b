from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.core import units
from hostsim.core.errors import InputError, UnitError

WHOLE = st.integers(0, units.INT_MAX)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4GiB", 4 << 30), ("4GB", 4 * 10**9), ("1.5 MiB", 3 << 19), ("4096B", 4096), ("1_000kB", 10**6), ("1e3B", 1000),
        ("64TiB", 64 << 40), ("0", 0), (0, 0), ("0B", 0), ("2.4MiB", 2516582),
    ],
)  # fmt: skip
def test_bytes(text: object, value: int) -> None:
    assert units.parse_bytes(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10Gbit/s", 1_250_000_000), ("32MiB/s", 32 << 20), ("1MB/s", 10**6), ("8bit/s", 1), ("unlimited", 0),
        ("1Gibit/s", 1 << 27),
    ],
)  # fmt: skip
def test_bandwidth(text: str, value: int) -> None:
    assert units.parse_bandwidth(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("300ms", 300_000_000), ("10min", 600 * 10**9), ("1.5us", 1500), ("2h", 7200 * 10**9), ("1d", 86400 * 10**9),
     ("7ns", 7), ("3µs", 3000)],
)  # fmt: skip
def test_duration(text: str, value: int) -> None:
    assert units.parse_duration(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("50000/s", 50000), ("2.5k/s", 2500), ("0.1/s", Fraction(1, 10)), ("3M/s", 3 * 10**6), ("0", 0)],
)
def test_rate_is_exact(text: str, value: Fraction) -> None:
    assert units.parse_rate(text) == value


@pytest.mark.parametrize(("given_", "share"), [("70%", 0.7), (0.7, 0.7), ("0.7", 0.7), (1, 1.0), ("0%", 0.0)])
def test_fraction(given_: object, share: float) -> None:
    assert units.parse_fraction(given_) == share


@pytest.mark.parametrize(
    "bad",
    ["", "4", 4, 4.0, -1, True, None, [], "4GB of RAM", "-4GiB", "4gib", "4GBit", "nanGiB", "infB", "1e99TiB", "0.1B",
     "9" * 70 + "B", "1e999B", "4GiB/s", "300ms", float("nan"), "\u0661GiB"],
)  # fmt: skip
def test_what_is_not_a_size_is_refused(bad: object) -> None:
    with pytest.raises(UnitError) as caught:
        units.parse_bytes(bad)
    assert caught.value.example == "4GiB"
    assert "unit" in caught.value.wanted


@pytest.mark.parametrize("bad", [1.01, -0.1, "101%", "-1%", True, float("inf"), float("nan"), "x", None, 2**5000])
def test_what_is_not_a_share_is_refused(bad: object) -> None:
    with pytest.raises(UnitError, match="share"):
        units.parse_fraction(bad)


@pytest.mark.parametrize(
    ("value", "text"), [(4 << 30, "4GiB"), (3 << 29, "1.5GiB"), (1500, "1500B"), (0, "0B"), (4096, "4KiB")]
)
def test_bytes_are_written_short(value: int, text: str) -> None:
    assert units.format_bytes(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1_250_000_000, "10Gbit/s"), (128 << 20, "128MiB/s"), (0, "unlimited"), (1, "1B/s")]
)
def test_bandwidth_is_written_short(value: int, text: str) -> None:
    assert units.format_bandwidth(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(300_000_000, "300ms"), (600 * 10**9, "10min"), (90 * 10**9, "90s"), (0, "0s"), (1, "1ns")]
)
def test_duration_is_written_short(value: int, text: str) -> None:
    assert units.format_duration(value) == text


def test_people_get_rounded_figures() -> None:
    assert units.format_bytes(1_234_567_890, digits=3) == "1.15GiB"
    assert units.format_bandwidth(1_234_567_890, digits=3) == "9.88Gbit/s"
    assert units.format_duration(1_234_567_890, digits=3) == "1.23s"
    assert units.format_rate(Fraction(123456), digits=3) == "123k/s"
    assert units.format_bytes(1023 << 30, digits=2) == "1000GiB"


@given(WHOLE)
def test_what_is_written_parses_to_the_same(value: int) -> None:
    assert units.parse_bytes(units.format_bytes(value)) == value
    assert units.parse_bandwidth(units.format_bandwidth(value)) == value
    assert units.parse_duration(units.format_duration(value)) == value


@given(st.integers(0, 10**15), st.integers(0, 9))
def test_rates_parse_to_the_same(number: int, places: int) -> None:
    rate = Fraction(number, 10**places)
    assert units.parse_rate(units.format_rate(rate)) == rate


def outcome(parse: Callable[[object], Fraction | float], value: object) -> Fraction | float:
    """The parsed value; 0 where it is an input error."""
    try:
        return parse(value)
    except InputError:
        return 0


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.from_regex(r"[0-9.eE_]+[kMGTib/s%]*")))
def test_anything_else_is_an_input_error(value: object) -> None:
    for parse in (units.parse_bytes, units.parse_bandwidth, units.parse_duration, units.parse_rate, units.parse_fraction):
        assert 0 <= outcome(parse, value) <= units.INT_MAX
