"""Field types of a scenario: texts with units outside, integers inside; pydantic collects the refusals of units.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

from hostsim.core import units
from hostsim.core.constants import NS_PER_S, PAGE_BYTES
from hostsim.core.errors import UnitError
from hostsim.core.units import shown

CONSTANT_MAX = 60 * NS_PER_S
"""Of a constant of a machine."""
VCPUS_MAX = 4096
RATE_MAX_PER_S = 10**12
"""A touch a picosecond: beyond any machine."""
NAME_MAX = 100


def refused(got: str, wanted: str, example: str = "") -> PydanticCustomError:
    """The error that a validator raises: pydantic collects it, hostsim.scenario.problems turns it into a Problem.

    got: the value as it stands in the file. wanted: the rule, in words. example: a right value, "": none.
    """
    context = {"got": got, "wanted": wanted, "example": example}
    return PydanticCustomError("refused", "got {got}, wanted {wanted}", context)


def _from(parse: Callable[[object], Any]) -> BeforeValidator:
    def read(value: object) -> Any:
        try:
            return parse(value)
        except UnitError as error:
            raise refused(error.got, error.wanted, f'"{error.example}"') from None

    return BeforeValidator(read)


def _text(description: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "description": description, "examples": list(examples)})


def _worded(
    word: str, parse: Callable[[object], int], write: Callable[[int], str], kind: str, example: str
) -> tuple[BeforeValidator, PlainSerializer, WithJsonSchema]:
    """Validator, serializer and schema of a quantity whose 0 is written as ``word`` in the file; a figure 0 is refused."""
    return (
        _from(lambda value: units.parse_word(value, word, parse)),
        PlainSerializer(lambda value: write(value) if value else word),
        _text(f'{kind}, or "{word}"', example, word),
    )


def _whole_pages(value: int) -> int:
    if value % PAGE_BYTES:
        raise refused(units.format_bytes(value), "a multiple of 4KiB", '"4GiB"')
    return value


def _read_rate(value: object) -> Fraction:
    rate = units.parse_rate(value)
    if rate > RATE_MAX_PER_S:
        raise UnitError(shown(value), "a rate of at most 1000G/s", units.RATE_WANTED[1])
    return rate


Bytes = Annotated[int, _from(units.parse_bytes), PlainSerializer(units.format_bytes), _text("size", "4GiB")]
PageBytes = Annotated[
    int,
    _from(lambda value: _whole_pages(units.parse_bytes(value))),
    PlainSerializer(units.format_bytes),
    _text("size, a multiple of 4KiB", "4GiB"),
]
Bandwidth = Annotated[int, *_worded(units.UNLIMITED, units.parse_speed, units.format_bandwidth, "bandwidth", "10Gbit/s")]
BandwidthOrMeasured = Annotated[
    int, *_worded("measured", units.parse_speed, units.format_bandwidth, "bandwidth", "1GB/s")
]
Duration = Annotated[
    int, _from(units.parse_duration), PlainSerializer(units.format_duration), _text("duration", "300ms", "10min")
]
DurationOrNever = Annotated[int, *_worded("never", units.parse_duration, units.format_duration, "duration", "10min")]
DurationOrOff = Annotated[int, *_worded("off", units.parse_duration, units.format_duration, "duration", "100ms")]
Rate = Annotated[
    Fraction, _from(_read_rate), PlainSerializer(units.format_rate), _text("rate per second", "50000/s")
]
_share_schema = WithJsonSchema({"type": ["string", "number"], "description": "share", "examples": ["70%", 0.7]})
Share = Annotated[
    float, _from(units.parse_fraction), _share_schema
]
MIB_PER_S_WANTED = ("a whole number of MiB/s, as QEMU takes it", "5MiB/s")


def _read_mib_per_s(value: object) -> int:
    """5 of 5, QEMU's own form, and of "5MiB/s"."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        mib, rest = divmod(units.parse_speed(value), 1 << 20)
    except UnitError:
        rest = 1
    if rest:
        raise UnitError(shown(value), *MIB_PER_S_WANTED)
    return mib


MibPerS = Annotated[
    int, _from(_read_mib_per_s),
    WithJsonSchema({"type": ["integer", "string"], "description": MIB_PER_S_WANTED[0], "examples": [5, "5MiB/s"]}),
]  # fmt: skip
Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Name = Annotated[str, Strict(), Field(min_length=1, max_length=NAME_MAX, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""Names become file names and keys of random streams."""
Text = Annotated[str, Strict(), Field(max_length=1000)]

Options = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "description": "a table of the plug-in's own keys"})]

VCPUS_WANTED = ('"all", a list of vCPU numbers, or ranges in a text', 'vcpus = "0-3"')


def read_vcpus(value: object) -> Literal["all"] | tuple[int, ...]:
    """"all", or the numbers of "0-3,8" or [0, 1], ascending, each once."""
    if value == "all":
        return "all"
    numbers = _ranges(value) if isinstance(value, str) else value
    if not isinstance(numbers, Sequence) or isinstance(numbers, str) or not numbers:
        raise refused(shown(value), *VCPUS_WANTED)
    if not all(type(number) is int and 0 <= number < VCPUS_MAX for number in numbers):
        raise refused(shown(value), f"vCPU numbers from 0 to {VCPUS_MAX - 1}", VCPUS_WANTED[1])
    if len(set(numbers)) != len(numbers):
        raise refused(shown(value), "each vCPU once", VCPUS_WANTED[1])
    return tuple(sorted(numbers))


def _ranges(text: str) -> list[int]:
    """Numbers of "0-3,8"; empty if it does not read so."""
    numbers: list[int] = []
    for part in text.split(","):
        ends = [end.strip() for end in part.split("-")]
        if len(ends) > 2 or not all(end.isascii() and end.isdigit() and len(end) <= 4 for end in ends):
            return []
        first, last = int(ends[0]), int(ends[-1])
        if first > last:
            return []
        numbers.extend(range(first, last + 1))
    return numbers


Vcpus = Annotated[
    Literal["all"] | tuple[int, ...],
    PlainValidator(read_vcpus),
    PlainSerializer(lambda value: value if value == "all" else list(value)),
    WithJsonSchema(
        {
            "description": "text or list of vCPU numbers",
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}],
            "examples": ["all", "0-3", [0, 1]],
        }
    ),
]


def constant(description: str, least: int = 0) -> Any:
    """A key of [host] that replaces the constant of its name in the host sheet; least: the smallest value."""
    return Field(default=None, ge=least, le=CONSTANT_MAX, description=f"{description}; default from the sheet")
