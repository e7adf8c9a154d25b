"""Arrays by reference: compiled code reads and changes what Python has."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from hostsim.compiled.by_reference import ByReference
from hostsim.compiled.jit import jit
from hostsim.compiled.record import Record, Records, dtype_of, one, records


class Pair(NamedTuple):
    """Two arrays of bytes."""

    a: NDArray[np.uint8]
    b: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Arrays(ByReference):
    """One of each kind."""

    pair: Pair
    cube: NDArray[np.int64]
    thin: NDArray[np.float64]


@jit
def visit(arrays: Arrays) -> float:
    """Sum of all, after one is added to each of ``cube``."""
    total = 0.0
    pair, cube = arrays.pair, arrays.cube
    for i in range(cube.shape[0]):
        for j in range(cube.shape[1]):
            for n in range(cube.shape[2]):
                cube[i, j, n] += 1
                total += cube[i, j, n]
    for i in range(len(pair.a)):
        total += pair.a[i] + 1000.0 * pair.b[i]
    for i in range(arrays.thin.shape[0]):
        total += arrays.thin[i]
    return total + arrays.cube.size


def arrays_of(n: int = 4) -> Arrays:
    thin = np.linspace(0.0, 1.0, 2 * n)[::2]
    return Arrays(Pair(np.arange(n, dtype=np.uint8), np.ones(n + 1, np.uint8)[:n]), np.arange(24).reshape(2, 3, 4), thin)


def sum_of(arrays: Arrays) -> float:
    plain = arrays.cube.sum() + arrays.pair.a.sum() + 1000 * arrays.pair.b.sum() + arrays.thin.sum()
    return float(plain) + arrays.cube.size


@pytest.mark.parametrize("n", [0, 1, 4, 200])
def test_compiled_code_sees_what_python_has_and_python_what_it_changed(n: int) -> None:
    arrays = arrays_of(n)
    assert visit(arrays) == pytest.approx(sum_of(arrays))
    assert arrays.cube.ravel().tolist() == list(range(1, 25))


def test_another_array_in_the_place_of_one() -> None:
    before = arrays_of()
    after = replace(before, cube=np.zeros((1, 1, 2), np.int64))
    visit(after)
    assert after.cube.tolist() == [[[1, 1]]]
    assert before.cube[0, 0, 0] == 0
    assert after.pair is before.pair


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_knows_its_own_arrays(copied: Any) -> None:
    first = arrays_of()
    second = copied(first)
    assert visit(second) == pytest.approx(sum_of(second))
    assert (first.cube is second.cube) == (copied is copy.copy)


def test_arrays_are_not_put_for_others() -> None:
    with pytest.raises(AttributeError):
        arrays_of().cube = np.zeros((1, 1, 1), np.int64)  # type: ignore[misc]


def test_another_kind_of_array_is_another_type() -> None:
    def code(arrays: Arrays) -> str:
        return str(vars(arrays)["_numba_type_"])

    first, second = arrays_of(), replace(arrays_of(), cube=np.zeros((1, 1, 1), np.int32))
    assert code(first) == code(arrays_of(9)) != code(second)
    assert visit(second) == pytest.approx(sum_of(second))


class Place(Record):
    """A record of each kind of field."""

    start_ns: int
    share: float
    counts: Annotated[NDArray[np.int64], 3]


@dataclass(frozen=True, eq=False)
class Places(ByReference):
    """A single record and arrays of records."""

    here: Place
    row: Records[Place]
    table: Records[Place]


@jit
def move(places: Places, at: int) -> float:
    """Change a field of each; returns a sum of what was read."""
    places.here.start_ns += 5
    places.here.counts[1] += 7
    place = places.row[at]
    place.share, place.start_ns = 0.5, places.here.start_ns
    places.table[at, 1].counts[2] = len(places.row)
    return place.share + places.here.counts[1] + places.table[at, 1].counts[2]


def places_of() -> Places:
    return Places(one(Place), records(Place, 4), records(Place, 4, 2))


def test_compiled_code_reads_and_writes_records_by_name() -> None:
    places = places_of()
    assert move(places, 2) == 0.5 + 7 + 4
    assert (places.here.start_ns, places.here.counts.tolist()) == (5, [0, 7, 0])
    assert (places.row[2].share, places.row["start_ns"].tolist()) == (0.5, [0, 0, 5, 0])
    assert places.table[2, 1].counts.tolist() == [0, 0, 4]
    assert [place.start_ns for place in places.row] == [0, 0, 5, 0]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda places: pickle.loads(pickle.dumps(places))])  # noqa: S301  # its own
def test_a_copied_record_is_another_one(copied: Any) -> None:
    first = places_of()
    move(first, 0)
    second = copied(first)
    assert move(second, 0) == 0.5 + 14 + 4
    assert (first.here.start_ns, second.here.start_ns) == (5, 10)
    assert (first.here.counts[1], second.here.counts[1]) == (7, 14)


def test_records_are_aligned() -> None:
    assert dtype_of(Place).isalignedstruct, "compiled code reads the fields of others byte by byte"


def test_a_record_has_no_other_names() -> None:
    with pytest.raises(AttributeError):
        _ = one(Place).end_ns  # type: ignore[attr-defined]
